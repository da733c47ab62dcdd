"""
Answers that are given when the state has changed, and not while it does.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred


class Answers:
    """
    What is owed to those who wait. Who is answered may ask the next thing
    before the next one is answered.
    """

    def __init__(self) -> None:
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
