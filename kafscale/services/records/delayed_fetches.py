"""
A fetch that waits for data.

It is never polled: each partition wakes it, and a tick that it shares with
others ends it. Between the two it costs its memory and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from kafscale.concurrency.coarse_timers import CoarseTimers
from kafscale.services.records.partition_reads import Part


class Parked:
    """
    Waits until the partitions together have enough, one of them has something
    else to tell, or the time is up.

    Only one may wait with the same parts.

    @ivar done: Fires then. To cancel it leaves no timer behind. (Its parts stay
        watched: a fetch that is repeated begins with them.)
    """

    __slots__ = (
        "_clock",
        "_look",
        "_missing",
        "_parts",
        "_soon",
        "_tick",
        "_timers",
        "done",
    )

    def __init__(
        self,
        clock: IReactorTime,
        timers: CoarseTimers,
        parts: Iterable[Part],
        missing: int,
        seconds: float,
        look: Callable[[Part], None],
    ) -> None:
        """
        @param missing: How many more bytes are needed.
        @param look: Brings a part up to date.
        """
        self.done: Deferred[None] = Deferred(self._cancelled)
        self._parts = parts
        self._missing = missing
        self._look = look
        self._clock = clock
        self._timers = timers
        self._tick = timers.call_later(seconds, self._time_up)
        self._soon: IDelayedCall | None = None
        woken = self._woken
        for part in parts:
            part.woken = woken
            if not part.watched:
                part.watch()

    def _woken(self, part: Part) -> None:
        if self._missing <= 0:
            return
        watched = part.partition
        before = part.available
        self._look(part)
        if part.tells or part.partition is not watched:
            self._missing = 0
        else:
            self._missing -= part.available - before
        if self._missing > 0:
            part.watch()
        else:
            # Not at once: what wakes this partition often wakes its neighbours
            # in the same breath, and then they go into the same answer.
            self._timers.cancel(self._tick, self._time_up)
            self._soon = self._clock.callLater(0, self._time_up)

    def _time_up(self) -> None:
        self._end()
        self.done.callback(None)

    def _cancelled(self, _: Deferred[None]) -> None:
        if self._soon is not None:
            self._soon.cancel()
        else:
            self._timers.cancel(self._tick, self._time_up)
        self._end()

    def _end(self) -> None:
        for part in self._parts:
            part.woken = None
        self._missing = 0
        # The timer knows us, and we it: garbage that only the collector finds.
        self._soon = None
