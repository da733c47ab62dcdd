"""
A log in memory, controlled by a test. It keeps the contracts of L{tests.log.contract}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakSet

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from kafscale.errors import NotLeaderOrFollower, OffsetOutOfRange
from kafscale.format.partition import TopicIdPartition
from kafscale.format.segment import AbortedTransaction
from kafscale.interfaces import (
    Append,
    AppendRules,
    Compare,
    Fetched,
    ILog,
    IPartition,
    ISettlement,
    LogRules,
    ProducerTransactions,
    Watcher,
)
from kafscale.wire.batches import BatchHeader
from kafscale.wire.control_batches import Marker

R = TypeVar("R")


@implementer(ISettlement)
class FakeSettlement:
    """
    A settlement that a test settles.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: list[Deferred[None]] = []
        self.ends: dict[FakePartition, int] = {}
        self.waits = 0
        self.fate: Exception | bool = False

    def wait(self) -> Deferred[None]:
        """
        See L{ISettlement.wait}.
        """
        self.waits += 1
        waiter: Deferred[None] = Deferred()
        self.waiting.append(waiter)
        if self.fate:
            self.settle(self.fate)
        return waiter

    def covers(self, partition: FakePartition, end: int) -> None:
        """
        Add the records of a partition before C{end}.
        """
        self.ends[partition] = end

    def settle(self, fate: Exception | bool = True) -> None:
        """
        Let everything be durable, or refused with this error.
        """
        self.fate = fate
        for partition, end in self.ends.items():
            if fate is True and end > partition.high_watermark:
                partition.show(end)
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            if isinstance(fate, Exception):
                waiter.errback(fate)
            else:
                waiter.callback(None)


@attrs.define
class Batch:
    """
    A batch in the fake log: one record at C{offset}, of any bytes.
    """

    offset: int
    data: bytes
    timestamp: int = 0
    epoch: int = 2


@implementer(IPartition)
class FakePartition:
    """
    Batches of one record each, which are durable when the test settles them.

    @ivar cold: Whether reading needs a load from the store.
    @ivar replaced: Whether another broker leads the partition, which L{confirm}
        finds out.
    @ivar error: Raised by the next calls, if set.
    @ivar refusals: The headers of the batches that were refused for good.
    @ivar states: The states of its producers.
    @ivar stable: The last stable offset; None if that is the high watermark.
    @ivar aborted: The aborted transactions among its records.
    @ivar settlements: What it appends is settled by the last of these.
    """

    def __init__(self, topic_id: UUID, index: int, settlements: list[FakeSettlement]) -> None:
        self.topic_id = topic_id
        self.index = index
        self.leader_epoch = 3
        self.log_start = 0
        self.high_watermark = 0
        self.stable: int | None = None
        self.aborted: Sequence[AbortedTransaction] = ()
        self.committed: Any = self
        self.next_offset = 0
        self.is_open = True
        self.dropped = False
        self.cold = False
        self.replaced = False
        self.error: Exception | None = None
        self.batches: list[Batch] = []
        self.rules: list[AppendRules] = []
        self.refusals: list[BatchHeader] = []
        self.states: list[Any] = []
        self.watches: WeakSet[Watcher] = WeakSet()
        self.opening: list[Deferred[None]] = []
        self.loading: list[Deferred[None]] = []
        self.epochs: dict[int, tuple[int, int]] = {}
        self.durable_at_once = False
        self.reads: list[tuple[int, int, bool]] = []
        self.settlements = settlements

    def opened(self) -> Deferred[None]:
        """
        See L{IPartition.opened}.
        """
        waiter: Deferred[None] = Deferred()
        self.opening.append(waiter)
        return waiter

    def open(self) -> None:
        """
        Open the partition.
        """
        self.is_open = True
        opening, self.opening = self.opening, []
        for waiter in opening:
            waiter.callback(None)

    @property
    def last_stable_offset(self) -> int:
        """
        See L{IReadable}.
        """
        return self.high_watermark if self.stable is None else self.stable

    def begins_transaction(self, header: BatchHeader) -> bool:
        """
        See L{IPartition.begins_transaction}.
        """
        return True

    def append_marker(self, marker: Marker, by_coordinator: bool = True) -> ISettlement | None:
        """
        See L{IPartition.append_marker}; nothing is open, and the marker is forgotten.
        """
        self._check()
        return None

    def transactions_of(self, producer_id: int) -> ProducerTransactions | None:
        """
        See L{IPartition.transactions_of}.
        """
        return None

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
        self._check()
        offset = self.next_offset
        self.next_offset += 1
        self.batches.append(Batch(offset, bytes(batch), epoch=self.leader_epoch))
        self.rules.append(rules)
        time = 1234 if rules.log_append_time else -1
        if self.durable_at_once:
            self.show(self.next_offset)
            return Append(offset, time, None)
        self.settlements[-1].covers(self, self.next_offset)
        return Append(offset, time, self.settlements[-1])

    def refused(self, header: BatchHeader) -> None:
        """
        See L{IPartition.refused}.
        """
        self.refusals.append(header)

    def put(self, *data: bytes, timestamp: int = 0) -> None:
        """
        Append records that are durable at once, and wake the watchers.
        """
        for each in data:
            self.batches.append(Batch(self.next_offset, each, timestamp))
            self.next_offset += 1
        self.show(self.next_offset)

    def show(self, high_watermark: int) -> None:
        """
        Move the high watermark.
        """
        self.high_watermark = high_watermark
        self.wake()

    def wake(self) -> None:
        """
        Wake all watchers.
        """
        watches, self.watches = list(self.watches), WeakSet()
        for watcher in watches:
            watcher.wake()

    def drop(self) -> None:
        """
        Stop leading the partition.
        """
        self.dropped = True
        self.wake()

    def _check(self) -> None:
        if self.dropped:
            raise NotLeaderOrFollower
        if self.error is not None:
            raise self.error

    def _from(self, offset: int) -> list[Batch]:
        first = max(offset, self.log_start)
        return [each for each in self.batches if first <= each.offset < self.high_watermark]

    def available(self, offset: int) -> int:
        """
        See L{IPartition.available}.
        """
        return sum(len(each.data) for each in self._from(offset))

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        See L{IPartition.read}.
        """
        self.reads.append((offset, max_bytes, at_least_one))
        self._check_offset(offset)
        return None if self.cold else self._fetched(offset, max_bytes, at_least_one)

    def _check_offset(self, offset: int) -> None:
        self._check()
        if not self.log_start <= offset <= self.next_offset:
            raise OffsetOutOfRange

    def _fetched(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        self._check_offset(offset)
        pieces: list[bytes] = []
        size = 0
        for batch in self._from(offset):
            if size + len(batch.data) > max_bytes and not (at_least_one and not pieces):
                break
            pieces.append(batch.data)
            size += len(batch.data)
        return Fetched(tuple(pieces), size, self.aborted)

    async def load(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        See L{IPartition.load}; waits for the test.
        """
        waiter: Deferred[None] = Deferred()
        self.loading.append(waiter)
        await waiter
        return self._fetched(offset, max_bytes, at_least_one)

    def watch(self, watcher: Watcher) -> None:
        """
        See L{IPartition.watch}.
        """
        self.watches.add(watcher)

    async def offset_at(self, timestamp: int) -> tuple[int, int] | None:
        """
        See L{IPartition.offset_at}.
        """
        if self.error is not None:
            raise self.error
        found = [each for each in self._from(0) if each.timestamp >= timestamp]
        return (found[0].timestamp, found[0].offset) if found else None

    async def latest_timestamp(self) -> tuple[int, int] | None:
        """
        See L{IPartition.latest_timestamp}.
        """
        durable = self._from(0)
        if not durable:
            return None
        newest = max(durable, key=lambda each: (each.timestamp, -each.offset))
        return newest.timestamp, newest.offset

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """
        See L{IPartition.end_of_epoch}.
        """
        ends = {self.leader_epoch: (self.leader_epoch, self.high_watermark)} | self.epochs
        return ends.get(epoch, (-1, -1))

    def epoch_at(self, offset: int) -> int:
        """
        See L{IPartition.epoch_at}.
        """
        if offset >= self.next_offset:
            return -1
        return next((each.epoch for each in reversed(self.batches) if each.offset <= offset), -1)

    async def confirm(self) -> None:
        """
        See L{IReadable.confirm}.
        """
        if self.replaced:
            raise NotLeaderOrFollower

    async def delete_before(self, offset: int) -> int:
        """
        See L{IPartition.delete_before}.
        """
        if self.error is not None:
            raise self.error
        to = self.high_watermark if offset == -1 else offset
        if to > self.high_watermark:
            raise OffsetOutOfRange
        if to > self.log_start:
            self.log_start = to
            self.wake()
        return self.log_start

    def producers(self) -> Sequence[Any]:
        """
        See L{IPartition.producers}.
        """
        return self.states

    def size(self) -> int:
        """
        See L{IPartition.size}.
        """
        return sum(len(each.data) for each in self.batches)


Gone = Callable[[int, int], Awaitable[bool]]
GuardOf = Callable[[UUID], Compare | None]


@implementer(ILog)
class FakeLog:
    """
    A log that leads every partition but those in C{elsewhere}. A partition
    comes into being when it is first claimed or asked for.

    @ivar partitions: Those that came into being and are led.
    """

    def __init__(self) -> None:
        self.settlements = [FakeSettlement(1)]
        self.elsewhere: set[TopicIdPartition] = set()
        self.partitions: dict[TopicIdPartition, FakePartition] = {}

    def partition(self, topic_id: UUID, index: int) -> FakePartition:
        """
        See L{ILog.partition}.
        """
        where = (topic_id, index)
        if where in self.elsewhere:
            raise NotLeaderOrFollower
        if where not in self.partitions:
            self.partitions[where] = FakePartition(topic_id, index, self.settlements)
        return self.partitions[where]

    def takes_transactions(self) -> bool:
        """
        See L{ILog.takes_transactions}.
        """
        return True

    def leads(self, where: TopicIdPartition) -> bool:
        """
        See L{ILog.leads}.
        """
        return where not in self.elsewhere

    def recorded(self, where: TopicIdPartition, leader_epoch: int) -> None:
        """
        See L{ILog.recorded}.
        """

    def led(self) -> Sequence[TopicIdPartition]:
        """
        See L{ILog.led}.
        """
        return tuple(self.partitions)

    async def release(self, wanted: Iterable[TopicIdPartition]) -> None:
        """
        See L{ILog.release}; no other broker takes them.
        """
        for where in wanted:
            self.elsewhere.add(where)
            if where in self.partitions:
                self.partitions.pop(where).drop()

    async def clear_up(self, is_gone: Gone) -> None:
        """
        See L{ILog.clear_up}; there is nothing.
        """

    async def drop(self, topic_ids: Collection[UUID]) -> None:
        """
        See L{ILog.drop}.
        """
        await self.release([where for where in self.partitions if where[0] in topic_ids])

    async def recover(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf
    ) -> None:
        """
        See L{ILog.recover}; there are no earlier incarnations.
        """
        await self.claim(wanted, is_gone, guard_of)

    async def claim(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf
    ) -> None:
        """
        See L{ILog.claim}; no other broker leads them.
        """
        for where in wanted:
            self.elsewhere.discard(where)
            self.partition(*where)

    def configured(self, topic_id: UUID, partitions: int, rules: LogRules) -> None:
        """
        See L{ILog.configured}; nothing depends on it.
        """

    async def delete(self, topic_ids: Collection[UUID]) -> None:
        """
        See L{ILog.delete}; nothing is kept.
        """

    def next_settlement(self) -> FakeSettlement:
        """
        Let later appends have a settlement of their own.
        """
        self.settlements.append(FakeSettlement(len(self.settlements) + 1))
        return self.settlements[-1]
