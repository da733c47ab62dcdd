"""
Fetches that wait for records (Kafka's C{DelayedFetch}).

A waiting fetch is not polled: its partitions wake it, and a coarse timer ends its
wait. Until then it costs memory only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from kafscale.concurrency.coarse_timers import CoarseTimers
from kafscale.services.records.partition_reads import PartitionRead


class DelayedFetch:
    """
    Waits until the partitions together have enough bytes, one of them has an
    error or diverges, or the time is over.

    Only one may wait with the same reads.

    @ivar done: Fires then. If it is cancelled, no timer is left. (The partitions
        stay watched: a fetch that is repeated goes on with them.)
    """

    __slots__ = (
        "_check",
        "_clock",
        "_missing",
        "_reads",
        "_soon",
        "_tick",
        "_timers",
        "done",
    )

    def __init__(
        self,
        clock: IReactorTime,
        timers: CoarseTimers,
        reads: Iterable[PartitionRead],
        missing: int,
        seconds: float,
        check: Callable[[PartitionRead], None],
    ) -> None:
        """
        @param clock: Delays the response to the end of the reactor's turn.
        @param timers: For C{seconds}.
        @param reads: The reads of the fetch.
        @param missing: How many more bytes are needed.
        @param seconds: How long to wait at most.
        @param check: Called with a read whose partition has changed, to check it.
        """
        self.done: Deferred[None] = Deferred(self._cancelled)
        self._reads = reads
        self._missing = missing
        self._check = check
        self._clock = clock
        self._timers = timers
        self._tick = timers.call_later(seconds, self._expire)
        self._soon: IDelayedCall | None = None
        woken = self._woken
        for read in reads:
            read.woken = woken
            if not read.watched:
                read.watch()

    def _woken(self, read: PartitionRead) -> None:
        if self._missing <= 0:
            return
        watched = read.partition
        before = read.available
        self._check(read)
        if read.is_due or read.partition is not watched:
            self._missing = 0
        else:
            self._missing -= read.available - before
        if self._missing > 0:
            read.watch()
        else:
            # Not at once: an event that wakes this partition often wakes others in
            # the same turn, and then they are in the same response.
            self._timers.cancel(self._tick, self._expire)
            self._soon = self._clock.callLater(0, self._expire)

    def _expire(self) -> None:
        self._end()
        self.done.callback(None)

    def _cancelled(self, _: Deferred[None]) -> None:
        if self._soon is not None:
            self._soon.cancel()
        else:
            self._timers.cancel(self._tick, self._expire)
        self._end()

    def _end(self) -> None:
        for read in self._reads:
            read.woken = None
        self._missing = 0
        # Timer and fetch refer to each other, which only the collector would free.
        self._soon = None
