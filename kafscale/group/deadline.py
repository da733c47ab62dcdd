"""
The end of a wait.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from kafscale.group.answers import Answers
from kafscale.group.settings import LATE_SECONDS


class Deadline:
    """
    A group waits for one thing at a time: for joins, or for syncs.
    """

    def __init__(self, clock: IReactorTime, answers: Answers) -> None:
        self._clock = clock
        self._answers = answers
        self._call: IDelayedCall | None = None

    @property
    def is_set(self) -> bool:
        """
        Whether there is a wait.
        """
        return self._call is not None

    def set(self, seconds: float, then: Callable[[], None]) -> None:
        """
        Wait for so long, instead of any wait before.
        """
        self.clear()
        self._call = self._answers.later(seconds, self._over, then)

    def clear(self) -> None:
        """
        The wait is over.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _over(self, then: Callable[[], None]) -> None:
        """
        If this itself is late, the broker was stopped: what members have sent
        meanwhile is heard first.
        """
        assert self._call is not None
        late = self._clock.seconds() - self._call.getTime()
        self._call = None
        if late > LATE_SECONDS:
            self._call = self._answers.later(LATE_SECONDS, self._over, then)
        else:
            then()
