"""
How long an exchange with S3 may take.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds without any progress after which an exchange is given up.
STALL_SECONDS = 10.0

#: Seconds that any exchange has, and the least bytes in a second after that: a
#: body that drips does progress, and would take a place for ever.
GRACE_SECONDS = 30.0
LEAST_RATE = 64 * 1024


class Vigil:
    """
    Gives up what makes no progress, or too little.

    @ivar verdict: Why it was given up; empty while it was not.
    """

    def __init__(self, clock: IReactorTime, size: int) -> None:
        """
        @param size: Bytes of the larger body, as far as it is known.
        """
        self._clock = clock
        self._begun = self._progress = clock.seconds()
        self._limit = GRACE_SECONDS + size / LEAST_RATE
        self._waiting: Deferred[Any] | None = None
        self._due: IDelayedCall | None = clock.callLater(STALL_SECONDS, self._look)
        self.verdict = ""

    def guard(self, waiting: Deferred[Any]) -> None:
        """
        What is cancelled when it is given up.
        """
        self._waiting = waiting

    def progressed(self) -> None:
        """
        Something was sent, or came.
        """
        self._progress = self._clock.seconds()

    def grow(self, size: int) -> None:
        """
        The answer's body has so many bytes.
        """
        self._limit = max(self._limit, GRACE_SECONDS + size / LEAST_RATE)

    def end(self) -> None:
        """
        It is over.
        """
        self._waiting = None
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _look(self) -> None:
        self._due = None
        now = self._clock.seconds()
        stalled, took = now - self._progress, now - self._begun
        if stalled >= STALL_SECONDS:
            self.verdict = f"no progress for {stalled:.0f} s"
        elif took >= self._limit:
            self.verdict = f"not done after {took:.0f} s"
        else:
            left = min(STALL_SECONDS - stalled, self._limit - took)
            self._due = self._clock.callLater(max(left, 0.1), self._look)
            return
        if self._waiting is not None:
            self._waiting.cancel()
