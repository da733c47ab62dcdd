"""
A time-out for exchanges that take as long as they need while they progress.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class StallTimeout:
    """
    Cancels an exchange that makes no progress for a while, or that has not
    ended after a limit.

    @ivar verdict: Why the exchange was cancelled; empty if it was not.
    """

    def __init__(self, clock: IReactorTime, stall_seconds: float, limit: float) -> None:
        """
        @param stall_seconds: How long the exchange may make no progress.
        @param limit: Seconds that the exchange may take, progress or not.
        """
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._limit = limit
        self._begun = self._progress = clock.seconds()
        self._waiting: Deferred[Any] | None = None
        self._due: IDelayedCall | None = clock.callLater(stall_seconds, self._check)
        self.verdict = ""

    def guard(self, waiting: Deferred[Any]) -> None:
        """
        Cancel this Deferred, instead of the one before, when the time is up.
        """
        self._waiting = waiting

    def progressed(self) -> None:
        """
        Something was sent or received.
        """
        self._progress = self._clock.seconds()

    def extend(self, limit: float) -> None:
        """
        Raise the limit to so many seconds from the beginning; never lower it.
        """
        self._limit = max(self._limit, limit)

    def end(self) -> None:
        """
        The exchange has ended: cancel nothing any more.
        """
        self._waiting = None
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _check(self) -> None:
        self._due = None
        now = self._clock.seconds()
        stalled, took = now - self._progress, now - self._begun
        if stalled >= self._stall_seconds:
            self.verdict = f"no progress for {stalled:.0f} s"
        elif took >= self._limit:
            self.verdict = f"not done after {took:.0f} s"
        else:
            left = min(self._stall_seconds - stalled, self._limit - took)
            self._due = self._clock.callLater(max(left, 0.1), self._check)
            return
        if self._waiting is not None:
            self._waiting.cancel()
