"""
A partition that this broker leads.

It owns the partition's offsets: the next one to assign, the high watermark, up
to which records are durable and visible, and the log start. Records are
appended to a tail in memory, become durable through the journal, and are later
moved into segments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Protocol
from uuid import UUID

from twisted.internet.defer import Deferred, DeferredLock
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.concurrency.watchers import Watchers
from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import TopicCounts
from kafscale.errors import (
    InvalidRecord,
    NotEnoughReplicas,
    NotLeaderOrFollower,
    OffsetOutOfRange,
)
from kafscale.format.cluster import first_id_after
from kafscale.format.epochs import Epochs
from kafscale.format.partition import PartitionRecord
from kafscale.format.producers import ProducerState
from kafscale.format.segment import AbortedTransaction
from kafscale.interfaces import (
    Append,
    AppendRules,
    Fetched,
    IPartition,
    LogRules,
    ProducerTransactions,
    Watcher,
)
from kafscale.log.journal.journal import Journal
from kafscale.log.journal.slots import Slot
from kafscale.log.partition.committed import CommittedPartition
from kafscale.log.partition.producers import ProducerStates
from kafscale.log.partition.tail import Tail
from kafscale.log.partition.times import TimeLookUp
from kafscale.log.partition.transactions import Transactions
from kafscale.log.reading.segments import Segments
from kafscale.wire.batches import TRANSACTIONAL
from kafscale.wire.control_batches import Marker, build_marker
from kafscale.wire.records import BatchHeader, read_batch_header, stamp


class PartitionHost(Protocol):
    """
    What a partition needs from the log that it belongs to.
    """

    def now_ms(self) -> int:
        """
        Return the broker's time, in ms since 1970.
        """

    def grew(self, size: int) -> None:
        """
        Count C{size} more bytes of records in memory; fewer if it is negative.
        """

    def takes_transactions(self) -> bool:
        """
        Return whether every broker reads the formats that store transactions.
        """

    def confirm(self, partition: Partition) -> Awaitable[None]:
        """
        Check with the metadata store that this broker still leads the
        partition.

        @raise NotLeaderOrFollower: another broker has changed its record.
        """

    def move_start(self, partition: Partition, offset: int) -> Awaitable[None]:
        """
        Commit a new log start, and delete the segments before it.

        @param offset: Not above the high watermark.
        @raise NotLeaderOrFollower: this broker does not lead it any more.
        """


@implementer(IPartition)
class Partition:
    """
    See L{IPartition}.

    @ivar record: The partition's record as last committed.
    @ivar revision: The revision of that commit.
    @ivar rules: The topic's configuration, as far as it concerns segments.
    @ivar dropped: Whether this broker has stopped leading the partition.
    @ivar closed: Whether appends are refused because a release is under way.
    @ivar inherited_end: Offset after the last record that is in the journal of
        an earlier incarnation; 0 if there was none.
    @ivar true_from: Offset from which on the headers of batches in memory are
        known to state the largest timestamps of their records.
    @ivar lock: Held while the record changes.
    @ivar watchers: Those that wait for a change.
    @ivar transactions: What is open, and what was aborted, once the partition is open.
    @ivar committed: See L{IReadable<kafscale.interfaces.IReadable>}.
    @ivar counts: The counters of the topic.
    """

    def __init__(
        self,
        topic_id: UUID,
        index: int,
        record: PartitionRecord,
        revision: int,
        *,
        journal: Journal,
        segments: Segments,
        work: WorkQueue,
        host: PartitionHost,
        counts: TopicCounts,
        rules: LogRules | None = None,
    ) -> None:
        """
        @param record: As committed when this broker claimed the partition.
        @param revision: The revision of that commit.
        @param journal: The journal of the incarnation that leads the partition.
        @param segments: The segments that C{record} names.
        @param work: Looks into records.
        @param host: The log that the partition belongs to.
        @param counts: The counters of the topic.
        @param rules: See L{Partition.rules}; by default no limits.
        """
        self.topic_id = topic_id
        self.index = index
        self.record = record
        self.revision = revision
        self.leader_epoch = record.epoch
        self.segments = segments
        self.rules = LogRules() if rules is None else rules
        self.dropped = False
        self.closed = False
        self.tail = Tail(max(record.rolled_to, record.log_start))
        self.epochs = Epochs(record.epochs)
        self.inherited_end = 0
        self.true_from = 0
        self.is_open = False
        self.lock = DeferredLock()
        self._journal = journal
        self._work = work
        self._host = host
        self.counts = counts
        # Any producer that there was before the claim may have been forgotten.
        self._lenient_mark = first_id_after(revision)
        self._producers = ProducerStates(self._lenient_mark)
        # The states at rolled_to. A segment's footer must not hold states that
        # are ahead of the records before it.
        self._rolled_producers = ProducerStates(self._lenient_mark)
        self.transactions = Transactions()
        # The slots with records of this partition that are in no segment, in
        # order, each with the offset after the last of those records.
        self._slots: deque[tuple[int, Slot]] = deque()
        self.watchers = Watchers()
        self.committed = CommittedPartition(self, self)
        self._opening: list[Deferred[None]] | None = None

    # -- state -------------------------------------------------------------

    @property
    def log_start(self) -> int:
        """
        See L{IPartition}.
        """
        return self.record.log_start

    @property
    def high_watermark(self) -> int:
        """
        See L{IPartition}.
        """
        return self.tail.visible_end

    @property
    def last_stable_offset(self) -> int:
        """
        See L{IPartition}.
        """
        if not self.is_open:
            return -1
        # DeleteRecords may have passed the beginning of an open transaction (rule T43).
        return max(self.log_start, self.transactions.stable_end(self.tail.visible_end))

    @property
    def next_offset(self) -> int:
        """
        See L{IPartition}.
        """
        return self.tail.end

    def size(self) -> int:
        """
        See L{IPartition.size}.
        """
        return self.record.stored_bytes + self.tail.size

    def producers(self) -> Sequence[ProducerState]:
        """
        See L{IPartition.producers}.
        """
        return self._producers.all()

    # -- opening ----------------------------------------------------------

    def opened(self) -> Deferred[None]:
        """
        See L{IPartition.opened}.
        """
        waiter: Deferred[None] = Deferred()
        if self.is_open:
            waiter.callback(None)
            return waiter
        if self._opening is not None:
            self._opening.append(waiter)
            return waiter
        self._opening = [waiter]
        Deferred.fromCoroutine(self._open()).addBoth(self._opening_done)
        return waiter

    async def _open(self) -> None:
        footer = await self.segments.newest_footer()
        if footer is not None:
            self._rolled_producers = self.producers_in(footer.producers)
        refused = self._producers.refused
        batches = self.tail.from_offset(self.tail.start)
        self._producers = self.producers_after(batches)
        self._producers.refused = refused
        # All of it before the first append, and before anyone is told the last stable
        # offset (rule T39).
        self.transactions = Transactions(self._rolled_producers.open_from())
        self.transactions.replay(batches)
        self.transactions.show(self.tail.visible_end)
        self.is_open = True

    def _opening_done(self, result: Failure | None) -> None:
        waiting, self._opening = self._opening, None
        for waiter in waiting or ():
            if waiter.called:
                continue
            if result is None:
                waiter.callback(None)
            else:
                waiter.errback(result)

    def inherit(
        self, batches: Sequence[bytes], true_times: bool, created: int | None
    ) -> None:
        """
        Take over records from the journal of an earlier incarnation, which are
        durable. Called before the partition can be found by anyone.

        @param batches: Whole batches, in order, from the end of the segments on.
        @param true_times: Whether their headers are believed.
        @param created: The revision at which the topic was created; None if it is not
            known, or there is a segment, from which the mark of producers is read.
        """
        if created is not None:
            self._rolled_producers = ProducerStates(first_id_after(created))
        for batch in batches:
            header = read_batch_header(batch)
            self.tail.append(batch, header.base_offset, header.next_offset)
            self._host.grew(len(batch))
        self.tail.show(self.tail.end)
        self.inherited_end = self.tail.end if batches else 0
        self.true_from = 0 if true_times else self.inherited_end

    # -- appending --------------------------------------------------------

    def append(
        self,
        batch: memoryview,
        header: BatchHeader,
        rules: AppendRules,
        number: int | None = None,
    ) -> Append:
        """
        See L{IPartition.append}.
        """
        if self.dropped or self.closed:
            raise NotLeaderOrFollower
        now = self._host.now_ms()
        if header.producer_id >= 0:
            original = self._producers.check(header, now, number)
            if original is not None:
                # A retry. While the first attempt is under way the retry waits for
                # the same slot: success is never reported before it is true.
                time = original.timestamp if rules.log_append_time else -1
                return Append(original.base_offset, time, self._settlement_of(original.base_offset))
        if header.attributes & TRANSACTIONAL and (number is not None or header.producer_id < 0):
            self._check_first(header)
        base = self.tail.end
        append_time = now if rules.log_append_time else -1
        stamped = stamp(batch, header, base, self.leader_epoch, append_time)
        slot = self._journal.open_slot()
        if header.producer_id >= 0:
            if append_time >= 0:
                header = header._replace(max_timestamp=append_time)
            self._producers.append(header, base, now)
            if header.attributes & TRANSACTIONAL:
                self.transactions.appended(header.producer_id, base)
        self.counts.records_in += header.record_count
        latest = append_time if append_time >= 0 else header.max_timestamp
        self._put(stamped, base, base + header.last_offset_delta + 1, slot, latest)
        return Append(base, append_time, slot)

    def _put(self, batch: bytes, base: int, end: int, slot: Slot, max_timestamp: int) -> None:
        """
        Put a batch into the tail and into the journal's open slot.

        @param base: Offset of its first record: the end of the tail.
        @param end: Offset after its last record.
        @param max_timestamp: The largest of its records, in ms.
        """
        self.tail.append(batch, base, end)
        self._host.grew(len(batch))
        self.counts.bytes_in += len(batch)
        if self._slots and self._slots[-1][1] is slot:
            self._slots[-1] = (end, slot)
        else:
            self._slots.append((end, slot))
        # Last, because the batch may be acknowledged, and even rolled, before
        # this returns.
        self._journal.add(self, batch, base, end, max_timestamp)

    def _check_first(self, header: BatchHeader) -> None:
        """
        Check the first batch of a transaction.

        @raise InvalidRecord: the batch has no producer.
        @raise NotEnoughReplicas: a broker of the cluster does not read the formats that store
            transactions.
        """
        if header.producer_id < 0:
            raise InvalidRecord("A batch of a transaction has no producer id")
        if not self._host.takes_transactions():
            raise NotEnoughReplicas("Not all brokers of the cluster know transactions yet")

    def begins_transaction(self, header: BatchHeader) -> bool:
        """
        See L{IPartition.begins_transaction}.
        """
        return self._producers.begins(header)

    def append_marker(self, marker: Marker, by_coordinator: bool = True) -> Slot | None:
        """
        See L{IPartition.append_marker}.
        """
        if self.dropped or self.closed:
            raise NotLeaderOrFollower
        if by_coordinator and self._producers.is_late(marker):
            # The one that was appended may not be durable yet (rule T34).
            under_way = self.transactions.marker_under_way(marker.producer_id)
            return None if under_way is None else self._settlement_of(under_way)
        self._producers.check_marker(marker)
        now = self._host.now_ms()
        base = self.tail.end
        built = build_marker(marker, now)
        stamped = stamp(memoryview(built), read_batch_header(built), base, self.leader_epoch)
        slot = self._journal.open_slot()
        self._producers.end(marker, now, now)
        self.transactions.ended(marker.producer_id, base, marker.committed)
        self._put(stamped, base, base + 1, slot, now)
        return slot

    def transactions_of(self, producer_id: int) -> ProducerTransactions | None:
        """
        See L{IPartition.transactions_of}.
        """
        state = self._producers.get(producer_id)
        if state is None:
            return None
        return ProducerTransactions(state.producer_epoch, state.number, state.open_from)

    def refused(self, header: BatchHeader) -> None:
        """
        See L{IPartition.refused}.
        """
        self._producers.refuse(header)

    def _settlement_of(self, offset: int) -> Slot | None:
        """
        Return the slot that holds the record at C{offset}; None if that slot is
        settled.
        """
        if offset < self.tail.visible_end:
            return None
        return next(slot for end, slot in self._slots if offset < end)

    def acknowledge(self, end: int) -> None:
        """
        Make all records before C{end} visible. Called by the journal, slot by
        slot, in order, when they are durable.
        """
        if self.dropped:
            self._release(self.tail.end)
            return
        self.tail.show(end)
        self.transactions.show(end)
        self.watchers.wake()

    # -- reading ----------------------------------------------------------

    def available(self, offset: int) -> int:
        """
        See L{IPartition.available}.
        """
        if offset >= self.tail.start:
            return self.tail.available(offset)
        # The offset is in the segments: estimate by their size, in proportion.
        rolled = max(1, self.tail.start - self.log_start)
        part = self.record.stored_bytes * (self.tail.start - offset) // rolled
        return max(1, part) + self.tail.available(self.tail.start)

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        See L{IPartition.read}.
        """
        if self.dropped:
            raise NotLeaderOrFollower
        if offset >= self.tail.start and offset >= self.log_start:
            if offset > self.tail.end:
                raise OffsetOutOfRange
            fetched = self.tail.read(offset, max_bytes, at_least_one)
            self.counts.bytes_out += fetched.size
            return fetched
        if offset < self.log_start:
            raise OffsetOutOfRange
        return None

    async def load(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        See L{IPartition.load}.
        """
        found = self.read(offset, max_bytes, at_least_one)
        if found is not None:
            return found  # the log start has moved up to here meanwhile
        fetched = await self.segments.read(offset, max_bytes, at_least_one)
        self.counts.bytes_out += fetched.size
        return fetched

    def watch(self, watcher: Watcher) -> None:
        """
        See L{IPartition.watch}.
        """
        self.watchers.add(watcher)

    # -- looking up -------------------------------------------------------

    async def offset_at(self, timestamp: int) -> tuple[int, int] | None:
        """
        See L{IPartition.offset_at}.
        """
        return await self._look_up().first_since(timestamp, self.log_start)

    async def latest_timestamp(self) -> tuple[int, int] | None:
        """
        See L{IPartition.latest_timestamp}.
        """
        return await self._look_up().latest()

    def _look_up(self) -> TimeLookUp:
        """
        Return a look-up in the durable records: in the segments, if any live
        record is in one, and in a copy of the tail. Records that are rolled
        meanwhile are then in one of the two, and are not missed.
        """
        rolled = self.tail.start > self.log_start
        batches = self.tail.from_offset(max(self.tail.start, self.log_start))
        return TimeLookUp(self._work, self.segments if rolled else None, batches, self.true_from)

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """
        See L{IPartition.end_of_epoch}.
        """
        return self.epochs.end_of(epoch, self.leader_epoch, self.high_watermark)

    def epoch_at(self, offset: int) -> int:
        """
        See L{IPartition.epoch_at}.
        """
        return self.epochs.at(offset)

    # -- changes of the record -----------------------------------------------

    async def delete_before(self, offset: int) -> int:
        """
        See L{IPartition.delete_before}.
        """
        if offset == -1:
            offset = self.high_watermark
        if not 0 <= offset <= self.high_watermark:
            raise OffsetOutOfRange
        if offset > self.log_start:
            await self._host.move_start(self, offset)
        return self.log_start

    def rolled(self, record: PartitionRecord, revision: int, producers: ProducerStates) -> None:
        """
        Follow a commit that has put the records before C{record.rolled_to} into
        segments: drop them from memory, and let go of their slots.

        @param revision: The revision of the commit.
        @param producers: The states of producers at C{record.rolled_to}.
        """
        self.record = record
        self.revision = revision
        self.segments.apply(record)
        self._rolled_producers = producers
        self.transactions.drop_before(record.rolled_to)
        self._host.grew(-self.tail.drop_before(record.rolled_to))
        self._release(record.rolled_to)

    def aborted_before(self, end: int) -> Sequence[AbortedTransaction]:
        """
        Return the aborted transactions whose markers are in no segment yet, and before
        C{end}: for the next footer (rule T40).
        """
        return self.transactions.to_roll(end)

    def started(self, record: PartitionRecord, revision: int, epochs: Epochs) -> None:
        """
        Follow a commit that has moved the log start to C{record.log_start}.

        @param revision: The revision of the commit.
        @param epochs: The history of leader epochs from the new log start on.
        """
        self.record = record
        self.revision = revision
        self.segments.apply(record)
        self.epochs = epochs
        self.watchers.wake()

    def producers_in(self, snapshot: bytes) -> ProducerStates:
        """
        Return the states of producers in a segment's footer. If there is no mark in it,
        an earlier version has written it, and all producers that have no state are
        taken for forgotten ones.
        """
        states = ProducerStates(self._lenient_mark)
        states.restore(snapshot)
        return states

    def producers_after(self, batches: Sequence[bytes]) -> ProducerStates:
        """
        Return the states of producers after C{batches}, which are the first
        batches that are not rolled.
        """
        return self._rolled_producers.after(batches, self._host.now_ms())

    async def confirm(self) -> None:
        """
        See L{IReadable.confirm}. It asks the metadata store.
        """
        async with self.lock:
            if self.dropped:
                raise NotLeaderOrFollower
            await self._host.confirm(self)

    async def settled(self) -> None:
        """
        Return when everything that was appended is durable or refused.
        """
        while self._slots and not self._slots[-1][1].settled:
            with suppress(NotLeaderOrFollower):
                await self._slots[-1][1].wait()

    def drop(self) -> None:
        """
        Stop leading the partition: another broker leads it now, or it is
        deleted. Drop its records from memory, and wake all watchers.
        """
        if self.dropped:
            return
        self.dropped = True
        self._host.grew(-self.tail.drop_before(self.tail.end))
        self._release(self.tail.end)
        self.watchers.wake()

    def _release(self, end: int) -> None:
        """
        Notify the journal that its slots hold nothing before C{end} that this
        partition needs.
        """
        while self._slots and self._slots[0][0] <= end and self._slots[0][1].durable:
            self._journal.rolled(self, self._slots.popleft()[1])
