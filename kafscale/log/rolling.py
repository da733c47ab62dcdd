"""
How records get from the journal into segments.

A partition is rolled when it has enough for a segment; when all partitions
together hold more memory than they may (the largest first); and when it is
what keeps the journal's oldest slot from going: because that slot is old, or
because recovery would have to read too many. Its topic may ask for smaller and
younger segments than the broker would make. So the tail that a successor has
to read is bounded, whatever the traffic looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from kafscale.counts import LogCounts
from kafscale.errors import NotLeaderOrFollower, ObjectExists
from kafscale.interfaces import IObjectStore
from kafscale.log.agenda import Agenda
from kafscale.log.changes import RecordChanges
from kafscale.log.clearing import Clearing
from kafscale.log.fencing import Fence
from kafscale.log.flush import Slot
from kafscale.log.journal import Journal
from kafscale.log.partition import Partition
from kafscale.log.producers import ProducerStates
from kafscale.log.retention import Retention
from kafscale.log.segment import Footer, write_footer
from kafscale.log.settings import LogSettings

LOOK = 10.0
"""Seconds between two looks at the age of the oldest slot."""

AGAIN = 1.0
"""Seconds after which what failed is tried again."""


class Roller:
    """
    Rolls the partitions of one incarnation.
    """

    _log = Logger()

    def __init__(
        self,
        objects: IObjectStore,
        changes: RecordChanges,
        clock: IReactorTime,
        journal: Journal,
        fence: Fence,
        clearing: Clearing,
        incarnation: int,
        settings: LogSettings,
        counts: LogCounts,
        held_bytes: Callable[[], int],
        retention: Retention,
    ) -> None:
        """
        @param held_bytes: How much all partitions have in memory now.
        @param retention: Is told of partitions that have something to expire.
        """
        self._objects = objects
        self._changes = changes
        self._clock = clock
        self._journal = journal
        self._fence = fence
        self._clearing = clearing
        self._incarnation = incarnation
        self._settings = settings
        self._counts = counts
        self._retention = retention
        self._held: dict[Partition, float] = {}  # those with records in memory, since when
        # Those whose topics want them rolled earlier than the oldest slot is.
        self._ages: Agenda[Partition] = Agenda(clock, clock.seconds, self._aged)
        self._urgent: dict[Partition, None] = {}  # to be rolled whatever their size
        self._rolling: dict[Partition, Deferred[None]] = {}
        self._starting = False
        self._retry: IDelayedCall | None = None
        self._stopped = False
        self._held_bytes = held_bytes
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._looking.start(LOOK, now=False)

    # -- what is to be rolled ---------------------------------------------

    def settled(self, slot: Slot) -> None:
        """
        The records of a slot are durable, and may be rolled.
        """
        for partition in slot.shares:
            assert isinstance(partition, Partition)
            if partition not in self._held:
                self._hold(partition)
                self._retention.appended(partition)
            if self._is_urgent(partition):
                self._urgent[partition] = None
        self._start()

    def inherited(self, partition: Partition) -> None:
        """
        A partition begins with records from a predecessor's journal, which can
        go when these are rolled.
        """
        self._hold(partition)
        self._urgent[partition] = None
        self._start()

    def configured(self, partition: Partition) -> None:
        """
        Its topic's configuration was changed.
        """
        since = self._held.get(partition)
        if since is None:
            return
        self._hold(partition, since)
        if self._is_urgent(partition):
            self._urgent[partition] = None
            self._start()

    def _hold(self, partition: Partition, since: float | None = None) -> None:
        """
        @param since: When it got the oldest of the records that it has in
            memory; None for now.
        """
        begun = self._clock.seconds() if since is None else since
        self._held[partition] = begun
        seconds = partition.rules.segment_ms / 1000
        if seconds < self._settings.segment_seconds:
            self._ages.put(partition, begun + seconds)
        else:
            self._ages.remove(partition)

    def _release(self, partition: Partition) -> None:
        """
        It has nothing in memory that could be rolled.
        """
        self._held.pop(partition, None)
        self._ages.remove(partition)

    def _aged(self, partition: Partition) -> None:
        if partition in self._held and not partition.dropped:
            self._urgent[partition] = None
            self._start()

    def _segment_bytes(self, partition: Partition) -> int:
        return min(self._settings.segment_bytes, partition.rules.segment_bytes)

    def _look(self) -> None:
        oldest = self._journal.oldest()
        if oldest is None:
            return
        age = self._clock.seconds() - oldest.begun
        if age >= self._settings.segment_seconds:
            self._hurry(oldest)
            self._start()

    def _hurry(self, slot: Slot) -> None:
        for partition in slot.shares:
            assert isinstance(partition, Partition)
            self._urgent[partition] = None

    def _start(self) -> None:
        """
        Begin as many rolls as may be under way and are due.
        """
        if self._starting:
            return  # a roll that came to its end at once: the loop goes on
        self._starting = True
        try:
            while len(self._rolling) < self._settings.rolls:
                partition = None if self._stopped or self._retry is not None else self._next()
                if partition is None:
                    return
                rolling = Deferred.fromCoroutine(
                    self.roll(partition, self._segment_bytes(partition))
                )
                if not rolling.called:
                    self._rolling[partition] = rolling
                rolling.addBoth(self._rolled, partition)
        finally:
            self._starting = False

    def _next(self) -> Partition | None:
        if self._journal.span > self._settings.journal_slots and not self._urgent:
            oldest = self._journal.oldest()
            if oldest is not None:
                self._hurry(oldest)
        for partition in self._urgent:
            if partition not in self._rolling:
                return partition
        free = {partition for partition in self._held if partition not in self._rolling}
        if not free:
            return None
        under_way = sum(partition.tail.size for partition in self._rolling)
        if self._held_bytes() - under_way <= self._settings.unrolled_bytes:
            return None
        return max(free, key=lambda partition: partition.tail.visible_size)

    def _rolled(self, result: object, partition: Partition) -> None:
        self._rolling.pop(partition, None)
        if result is None or partition.dropped:
            if not self._is_urgent(partition):
                self._urgent.pop(partition, None)
            if partition.dropped or not partition.tail.visible_size:
                self._release(partition)
            else:
                self._hold(partition)
            self._start()
        elif not self._stopped and self._retry is None:
            self._log.error("rolling {partition} failed: {why}", partition=partition, why=result)
            self._retry = self._clock.callLater(AGAIN, self._start_again)

    def _is_urgent(self, partition: Partition) -> bool:
        """
        Whether it is to be rolled once more, whatever the memory. What is not
        yet durable cannot be, and counts when it is.
        """
        return not partition.dropped and (
            partition.tail.visible_size >= self._segment_bytes(partition)
            or partition.record.rolled_to < partition.inherited_end
        )

    def _start_again(self) -> None:
        self._retry = None
        self._start()

    # -- rolling ----------------------------------------------------------

    async def roll(self, partition: Partition, max_bytes: int | None = None) -> None:
        """
        Put durable records of a partition, at most C{max_bytes} of them, into
        its next segment.

        @raise NotLeaderOrFollower: it was lost meanwhile.
        """
        await partition.opened()
        async with partition.lock:
            if partition.dropped:
                return
            # Only records below the high watermark are rolled (log-rules, 14).
            batches, end = partition.tail.visible_batches(max_bytes)
            if not batches:
                return
            record = partition.record
            base = record.rolled_to
            producers = partition.producers_after(batches)
            pieces = [*batches, write_footer(batches, partition.epochs, producers)]
            maker = self._fence.maker(partition.leader_epoch)
            makers = partition.segments.makers = record.made(maker)
            try:
                adopted = await self._make(partition, base, pieces)
            except Exception:
                # Under a key that a create may replace, the next attempt would
                # have to send the same bytes: it is made in another epoch.
                if maker >= 0:
                    self._journal.fence()
                raise
            size = sum(map(len, pieces))
            if adopted is not None:
                existing, size = adopted
                end = existing.end_offset
                producers = ProducerStates()
                producers.restore(existing.producers)
            journals = record.journals
            if end >= partition.inherited_end:
                journals = ((self._incarnation, partition.leader_epoch),)
            rolled = attrs.evolve(
                record,
                rolled_to=end,
                first_segment=base if record.first_segment is None else record.first_segment,
                last_segment=base,
                stored_bytes=record.stored_bytes + size,
                journals=journals,
                makers=makers,
            )
            # After the segment exists, never before (log-rules, 16).
            revision = await self._changes.commit(partition, rolled)
            partition.segments.add(base)
            partition.rolled(rolled, revision, producers)
            self._counts.segments += 1
            self._counts.segment_bytes += size
            if not partition.tail.visible_size:
                self._release(partition)
        self._retention.rolled(partition)
        self._clearing.begin()

    async def _make(
        self, partition: Partition, base: int, pieces: Sequence[bytes]
    ) -> tuple[Footer, int] | None:
        """
        Make the segment that begins at C{base}; or adopt the one that is there:
        its footer, and its size.

        @raise NotLeaderOrFollower: that is a successor's.
        """
        try:
            await self._objects.create(partition.segments.key(base), pieces)
        except ObjectExists:
            # An attempt of ours whose answer was lost, or a predecessor's that
            # was never committed: the chain goes on from its end (log-rules,
            # 15).
            adopted = await partition.segments.footer(base)
            if adopted[0].end_offset > partition.high_watermark:
                self._journal.fence()
                raise NotLeaderOrFollower from None
            return adopted
        return None

    # -- ending -----------------------------------------------------------

    def abandon(self) -> None:
        """
        Begin nothing more.
        """
        self._stopped = True
        self._ages.stop()
        if self._looking.running:
            self._looking.stop()
        self._clearing.abandon()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    async def stop(self) -> None:
        """
        Begin nothing more, and let what is under way come to its end.
        """
        self.abandon()
        await DeferredList(list(self._rolling.values()), consumeErrors=True)
        await self._clearing.ended()
