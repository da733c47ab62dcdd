"""
Hedged requests: a second request while the answer to the first one is late.

Most answers of an object store take some ten milliseconds, a few take a second.
To send another request when the answer is late, and to use the answer that comes
first, nearly always takes the short time, for a few requests more (Dean and
Barroso, "The Tail at Scale", 2013). Only reads are hedged, and only a share of
them: a store that is slow for all requests is not made slower.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")

SHARE, MOST = 0.05, 10.0
"""The share of requests that may be hedged, and how many of them in a row."""

SOONEST, LATEST = 0.02, 2.0
"""An answer is late after the 95th percentile of recent durations, but not before
and not after these numbers of seconds."""

RECENT, ENOUGH = 128, 16
"""How many durations are kept, and how many are needed for a percentile. With
fewer, answers are late after L{LATEST} seconds."""


class Hedge:
    """
    Makes hedged requests to one store.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """
        @param clock: Times the requests.
        """
        self._clock = clock
        self._took: deque[float] = deque(maxlen=RECENT)
        self._budget = MOST

    @property
    def late(self) -> float:
        """
        The number of seconds after which an answer is late.
        """
        if len(self._took) < ENOUGH:
            return LATEST
        usual = sorted(self._took)[int(len(self._took) * 0.95)]
        return min(max(usual, SOONEST), LATEST)

    def call(self, request: Callable[[], Awaitable[T]]) -> Deferred[T]:
        """
        Make a request, and a second one if the answer is late. Return the answer
        that comes first. If both fail, the Deferred fails with the later error.

        @param request: Makes the request.
        """
        self._budget = min(self._budget + SHARE, MOST)
        return _Race(self, request).result

    def take(self) -> bool:
        """
        Whether one more request may be hedged now. If so, it counts.
        """
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def note(self, seconds: float) -> None:
        """
        Count the duration of a request.
        """
        self._took.append(seconds)

    @property
    def clock(self) -> IReactorTime:
        """
        The clock of the requests.
        """
        return self._clock


class _Race(Generic[T]):
    """
    One request, or two of which the first answer counts.
    """

    def __init__(self, hedge: Hedge, request: Callable[[], Awaitable[T]]) -> None:
        self._hedge = hedge
        self._request = request
        self._running: list[Deferred[T]] = []
        self._second: IDelayedCall | None = None
        self._decided = False
        self.result: Deferred[T] = Deferred(self._cancelled)
        self._start()
        if not self._decided:
            self._second = hedge.clock.callLater(hedge.late, self._late)

    def _late(self) -> None:
        self._second = None
        if self._hedge.take():
            self._start()

    def _start(self) -> None:
        begun = self._hedge.clock.seconds()

        async def run() -> T:
            return await self._request()

        attempt = Deferred.fromCoroutine(run())
        self._running.append(attempt)
        attempt.addCallbacks(self._won, self._lost, (attempt, begun), {}, (attempt,))

    def _won(self, answer: T, attempt: Deferred[T], begun: float) -> None:
        self._running.remove(attempt)
        if not self._decided:
            self._hedge.note(self._hedge.clock.seconds() - begun)
            self._decide()
            self.result.callback(answer)

    def _lost(self, failure: Failure, attempt: Deferred[T]) -> None:
        self._running.remove(attempt)
        if not self._running and not self._decided:  # else the other request may succeed
            self._decide()
            self.result.errback(failure)

    def _decide(self) -> None:
        """
        Cancel the second attempt's timer and the requests that still run.
        """
        self._decided = True
        if self._second is not None:
            self._second.cancel()
            self._second = None
        for attempt in list(self._running):
            attempt.cancel()

    def _cancelled(self, result: Deferred[T]) -> None:
        self._decide()
