"""
Answers that are given when the state has changed, and not while it does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Answers:
    """
    What is owed to those who wait. Who is answered may ask the next thing
    before the next one is answered.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._owed: deque[tuple[Deferred[Any], object]] = deque()

    def owe(self, waiting: Deferred[Any] | None, answer: object) -> None:
        """
        This one is to get that answer, or that exception; None: nobody waits.
        """
        if waiting is not None:
            self._owed.append((waiting, answer))

    def give(self) -> None:
        """
        Answer all, in the order in which it came to be owed.
        """
        while self._owed:
            waiting, answer = self._owed.popleft()
            if isinstance(answer, BaseException):
                waiting.errback(answer)
            else:
                waiting.callback(answer)

    def later(self, seconds: float, do: Callable[..., None], *args: Any) -> IDelayedCall:
        """
        Do this in so many seconds, and give the answers that it owes.
        """

        def now() -> None:
            do(*args)
            self.give()

        return self._clock.callLater(seconds, now)
