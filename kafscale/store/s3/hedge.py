"""
Asking a second time before the first answer is there.

Most answers of an object store come in some ten milliseconds, a few in a
second. Who asks again when the answer is late, and takes whichever comes
first, has nearly always the short time, for a few requests more. Only reads
are asked twice, and only so many that a store which is slow for everybody is
not made slower.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")

#: The share of requests that may be asked twice, and how many in a row.
SHARE, MOST = 0.05, 10.0

#: Seconds after which an answer is late: as long as 95 of 100 answers took
#: recently, within these bounds.
SOONEST, LATEST = 0.02, 2.0

#: How many answers "recently" means, and how many are enough to know.
RECENT, ENOUGH = 128, 16


class Hedge:
    """
    Asks twice where that is worth it.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._took: deque[float] = deque(maxlen=RECENT)
        self._budget = MOST

    @property
    def late(self) -> float:
        """
        Seconds after which an answer is late.
        """
        if len(self._took) < ENOUGH:
            return LATEST
        usual = sorted(self._took)[int(len(self._took) * 0.95)]
        return min(max(usual, SOONEST), LATEST)

    def call(self, ask: Callable[[], Awaitable[T]]) -> Deferred[T]:
        """
        What C{ask} answers, first or second.
        """
        self._budget = min(self._budget + SHARE, MOST)
        return _Race(self, ask).result

    def take(self) -> bool:
        """
        Whether one more may be asked twice now.
        """
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def note(self, seconds: float) -> None:
        """
        An answer took so long.
        """
        self._took.append(seconds)

    @property
    def clock(self) -> IReactorTime:
        """
        By which it waits.
        """
        return self._clock


class _Race(Generic[T]):
    """
    One question, asked once or twice.
    """

    def __init__(self, hedge: Hedge, ask: Callable[[], Awaitable[T]]) -> None:
        self._hedge = hedge
        self._ask = ask
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
            return await self._ask()

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
        if not self._running and not self._decided:  # else the other one may answer yet
            self._decide()
            self.result.errback(failure)

    def _decide(self) -> None:
        """
        Nobody waits for what is under way any more.
        """
        self._decided = True
        if self._second is not None:
            self._second.cancel()
            self._second = None
        for attempt in list(self._running):
            attempt.cancel()

    def _cancelled(self, result: Deferred[T]) -> None:
        self._decide()
