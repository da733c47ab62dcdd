"""
How records get from the journal into segments.

A partition is rolled when it has enough for a segment; when all partitions
together hold more memory than they may (the largest first); and when it is
what keeps the journal's oldest slot from going: because that slot is old, or
because recovery would have to read too many. So the tail that a successor has
to read is bounded, whatever the traffic looks like.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from kafscale.counts import LogCounts
from kafscale.errors import (
    CommitConflict,
    KafkaStorageError,
    NotLeaderOrFollower,
    ObjectExists,
    StoreUnavailable,
)
from kafscale.interfaces import Compare, IMetadataStore, IObjectStore
from kafscale.log import keys
from kafscale.log.clearing import Clearing
from kafscale.log.commit import settle
from kafscale.log.flush import Slot
from kafscale.log.journal import Journal
from kafscale.log.partition import Partition
from kafscale.log.producers import ProducerStates
from kafscale.log.segment import write_footer
from kafscale.log.settings import LogSettings

AT_ONCE = 2
"""How many segments are made at the same time."""

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
        metadata: IMetadataStore,
        clock: IReactorTime,
        journal: Journal,
        clearing: Clearing,
        incarnation: int,
        settings: LogSettings,
        counts: LogCounts,
        held_bytes: Callable[[], int],
    ) -> None:
        """
        @param held_bytes: How much all partitions have in memory now.
        """
        self._objects = objects
        self._metadata = metadata
        self._clock = clock
        self._journal = journal
        self._clearing = clearing
        self._incarnation = incarnation
        self._settings = settings
        self._counts = counts
        self._alive = Compare(keys.seal_record(incarnation), 0)
        self._held: dict[Partition, None] = {}  # those with records in memory
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
            self._held[partition] = None
            if self._is_urgent(partition):
                self._urgent[partition] = None
        self._start()

    def inherited(self, partition: Partition) -> None:
        """
        A partition begins with records from a predecessor's journal, which can
        go when these are rolled.
        """
        self._held[partition] = None
        self._urgent[partition] = None
        self._start()

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
            while len(self._rolling) < AT_ONCE and not self._stopped and self._retry is None:
                partition = self._next()
                if partition is None:
                    return
                rolling = Deferred.fromCoroutine(self.roll(partition, self._settings.segment_bytes))
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
                self._held.pop(partition, None)
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
            partition.tail.visible_size >= self._settings.segment_bytes
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
            footer = write_footer(batches, partition.epochs, producers)
            size = sum(map(len, batches)) + len(footer)
            try:
                await self._objects.create(partition.segments.key(base), [*batches, footer])
            except ObjectExists:
                # An attempt of ours whose answer was lost, or a predecessor's
                # that was never committed: the chain goes on from its end
                # (log-rules, 15).
                existing, size = await partition.segments.footer(base)
                end = existing.end_offset
                if end > partition.high_watermark:
                    self._journal.fence()
                    raise NotLeaderOrFollower from None
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
            )
            # After the segment exists, never before (log-rules, 16).
            revision = await self._commit(partition, rolled.to_json())
            partition.segments.add(base)
            partition.rolled(rolled, revision, producers)
            self._counts.segments += 1
            self._counts.segment_bytes += size
        self._clearing.begin()

    async def _commit(self, partition: Partition, value: object) -> int:
        """
        Commit a partition's record; its new revision (log-rules, 11).

        @raise NotLeaderOrFollower: the partition is deleted, or somebody
            else's: it is dropped.
        """
        key = keys.partition_record(partition.topic_id, partition.index)
        try:
            return await settle(self._metadata, key, partition.revision, value, (self._alive,))
        except CommitConflict:
            pass
        if await self._metadata.get(key) is not None:
            self._journal.fence()
        partition.drop()
        raise NotLeaderOrFollower

    async def _check_record(self, partition: Partition) -> None:
        """
        What the record names is not there.

        @raise NotLeaderOrFollower: somebody else has changed the record since.
        """
        key = keys.partition_record(partition.topic_id, partition.index)
        entry = await self._metadata.get(key)
        if entry is not None and entry.revision == partition.revision:
            return
        if entry is not None:
            self._journal.fence()
        partition.drop()
        raise NotLeaderOrFollower

    async def move_start(self, partition: Partition, offset: int) -> None:
        """
        Move a partition's log start up to C{offset}, which is not above the
        high watermark; delete the segments that only hold what is before it.
        """
        # The log start never passes rolled_to (log-rules, 20).
        while partition.record.rolled_to < offset:
            await self.roll(partition)
            if partition.dropped:
                raise NotLeaderOrFollower
        async with partition.lock:
            if partition.dropped:
                raise NotLeaderOrFollower
            record = partition.record
            if offset <= record.log_start:
                return
            # The newest segment stays even when none of its records is alive:
            # it carries the end offset and the producers' states (21).
            try:
                first = await partition.segments.base_of(offset)
            except KafkaStorageError:
                await self._check_record(partition)
                raise
            gone = await partition.segments.before(first)
            epochs = partition.epochs.truncate(offset)
            moved = attrs.evolve(
                record,
                log_start=offset,
                first_segment=first,
                stored_bytes=record.stored_bytes - sum(
                    info.size
                    for info in gone
                    # What is before it was to be deleted earlier, and does not count.
                    if keys.segment_base(info.key) >= (record.first_segment or 0)
                ),
                epochs=epochs.entries,
            )
            # Committed before anything is deleted, answered after (19).
            revision = await self._commit(partition, moved.to_json())
            partition.started(moved, revision, epochs)
            partition.segments.forget([info.key for info in gone], first)
        garbage = [info.key for info in gone]
        try:
            for at in range(0, len(garbage), 1000):
                await self._objects.delete(garbage[at : at + 1000])
        except StoreUnavailable as why:
            # The log start has moved all the same; the next move deletes them.
            self._log.warn("segments before the log start stay for now: {why}", why=why)

    # -- ending -----------------------------------------------------------

    def abandon(self) -> None:
        """
        Begin nothing more.
        """
        self._stopped = True
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
