"""
What the log provides: appends, reads, and a bound on memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Protocol
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from kafscale.format.segment import AbortedTransaction
from kafscale.interfaces.stores import Compare
from kafscale.wire.batches import BatchHeader
from kafscale.wire.control_batches import Marker


@attrs.define(slots=True)
class Append:
    """
    A batch that has got its offset, and may not be durable yet.

    @ivar base_offset: Offset of its first record.
    @ivar append_time: The broker's time in ms if the topic's timestamp type is
        LogAppendTime, else -1.
    @ivar settled: Fires when the batch is durable or refused. None if it is
        durable already, because it is a duplicate of an old batch.
    """

    base_offset: int
    append_time: int
    settled: ISettlement | None


class ISettlement(Interface):
    """
    The outcome of appends that share one slot: all durable, or all refused.
    """

    number = Attribute("""Settlements come in the order of these: waiting for
        the one with the largest number is waiting for all.""")

    def wait() -> Deferred[None]:
        """
        Return a Deferred that fires when the appends are durable and visible; a
        new one for each caller. It fails with a L{kafscale.errors.KafkaError}
        (NOT_LEADER_OR_FOLLOWER) if the broker was fenced.
        """


MAX_INFLATED = 64 * 1024 * 1024
"""Bytes to which the records of a batch may inflate. What is larger is not appended,
because consumers of old formats and look-ups by time could not read it."""


@attrs.frozen
class AppendRules:
    """
    The topic's configuration, as far as it concerns a produced batch.

    @ivar max_bytes: ``max.message.bytes``.
    @ivar log_append_time: ``message.timestamp.type=LogAppendTime``.
    @ivar before_ms: ``message.timestamp.before.max.ms``.
    @ivar after_ms: ``message.timestamp.after.max.ms``.
    @ivar compacted: ``cleanup.policy`` has compact: every record has a key.
    @ivar max_inflated: ``max.decompressed.message.bytes``, and L{MAX_INFLATED} at
        most.
    @ivar codec: Of ``compression.type``: the codec in which batches are stored, as a
        number of L{Codec<kafscale.wire.compression.Codec>}; None: as they came.
    @ivar level: ``compression.*.level`` of that codec; None if it has none.
    """

    max_bytes: int = 1048588
    log_append_time: bool = False
    before_ms: int = 2**63 - 1
    after_ms: int = 3_600_000
    compacted: bool = False
    max_inflated: int = MAX_INFLATED
    codec: int | None = None
    level: int | None = None


@attrs.frozen
class LogRules:
    """
    The topic's configuration, as far as it concerns segments: when they are
    written and when they are deleted. The defaults set no limit, so that the
    broker's own bounds hold.

    @ivar retention_ms: ``retention.ms``; -1 for no limit.
    @ivar retention_bytes: ``retention.bytes``; -1 for no limit.
    @ivar segment_bytes: ``segment.bytes``.
    @ivar segment_ms: ``segment.ms``.
    @ivar delete: ``cleanup.policy`` has delete: records beyond the limits are
        deleted.
    """

    retention_ms: int = -1
    retention_bytes: int = -1
    segment_bytes: int = 2**31 - 1
    segment_ms: int = 2**63 - 1
    delete: bool = True


@attrs.frozen
class ProducerTransactions:
    """
    What a partition knows of the transactions of a producer.

    @ivar producer_epoch: The producer's epoch here.
    @ivar number: Of its last transaction that ended here: of the last marker. 0: none
        that is known. All markers and coordinators' answers of this number or a lower
        one are late.
    @ivar open_from: The first offset of its open transaction here; -1: none is open.
        Its number is above C{number}.
    """

    producer_epoch: int
    number: int
    open_from: int


@attrs.frozen
class Fetched:
    """
    Whole batches that were read, in order.

    @ivar pieces: Their bytes, to be sent one after the other.
    @ivar size: The length of all pieces in bytes.
    @ivar aborted: If only committed records were asked for: the aborted transactions
        among these, and perhaps later ones. Their records are to be left out.
    """

    pieces: list[bytes] | tuple[bytes, ...] = ()
    size: int = 0
    aborted: Sequence[AbortedTransaction] = ()


class Watcher(Protocol):
    """
    Waits for a change in a partition.
    """

    def wake(self) -> None:
        """
        The partition has changed.
        """


class IReadable(Interface):
    """
    A partition that can be read.
    """

    topic_id = Attribute("C{UUID} of the topic.")
    index = Attribute("Number of the partition in the topic.")
    leader_epoch = Attribute("The epoch of its leader.")
    log_start = Attribute("Offset of the first record that can be read.")
    high_watermark = Attribute("Offset after the last durable record. Never goes back.")
    last_stable_offset = Attribute("""Offset before which every record is decided: it is
        in no open transaction. At most the high watermark, at least the log start, and
        never goes back. -1 while it is not known: L{committed} finds out.""")
    committed = Attribute("""The same partition for consumers that read committed records
        only, an L{IReadable}: it shows nothing at or past the last stable offset, and
        says which transactions were aborted.""")
    next_offset = Attribute("Offset that the next record will get.")
    dropped = Attribute("Whether it cannot be read here any more.")

    def available(offset: int) -> int:
        """
        Estimate quickly how many bytes of durable batches there are from
        C{offset} on. 0 only if there are none.
        """

    def read(offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        Read durable batches from memory, from the one that contains C{offset}
        on.

        @param max_bytes: How many bytes they may have together.
        @param at_least_one: Whether the first batch may be larger than that.
        @return: None if they are not in memory, and must be read with L{load}.
        @raise OffsetOutOfRange: C{offset} is below the log start or above the
            next offset.
        @raise NotLeaderOrFollower: the partition cannot be read here any more.
        """

    def load(offset: int, max_bytes: int, at_least_one: bool) -> Awaitable[Fetched]:
        """
        Read as L{read} does, but from the object store if need be.
        """

    def watch(watcher: Watcher) -> None:
        """
        Wake C{watcher} once, when the high watermark or the log start next
        moves, or when the partition is dropped or deleted. A watcher to which
        no other reference is left is forgotten.
        """

    def end_of_epoch(epoch: int) -> tuple[int, int]:
        """
        Return the largest epoch at or below C{epoch}, and the offset where it
        ends; (-1, -1) if C{epoch} is not known (KIP-101, KIP-279).
        """

    def confirm() -> Awaitable[None]:
        """
        Check with the metadata store that this broker still leads the
        partition. A broker that does not lead it checks nothing.

        @raise NotLeaderOrFollower: another broker leads it.
        """


class IPartition(IReadable):
    """
    A partition that this broker leads.
    """

    is_open = Attribute("Whether L{append} may be called at once.")

    def opened() -> Deferred[None]:
        """
        Return a Deferred that fires when the partition's producer states are
        loaded. Deferreds fire in the order in which they were returned.
        """

    def append(
        batch: memoryview, header: BatchHeader, rules: AppendRules, number: int | None = None
    ) -> Append:
        """
        Append a copy of a record batch that was checked and looked into. The
        batch gets its offset before this returns, so the order of calls is the
        order of the log.

        @param header: The header of C{batch}.
        @param number: Of its transaction, if L{begins_transaction} has said that it is
            needed: as the coordinator has told it, once, for this batch (rule T33).
        @raise KafkaError: OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH,
            NOT_LEADER_OR_FOLLOWER and others. INVALID_TXN_STATE: the number is missing,
            or the transaction of this number has ended here. CONCURRENT_TRANSACTIONS: as
            L{begins_transaction}. NOT_ENOUGH_REPLICAS: too many producers have
            transactions here; or L{ILog.takes_transactions} is not true.
        """

    def begins_transaction(header: BatchHeader) -> bool:
        """
        Return whether a batch of a transaction would be the first of it here. Then the
        coordinator must be asked, which adds the partition or verifies that it was added,
        and L{append} gets the number that it answers (rule T32). If not, the batch is
        appended without a question: the log shows the transaction open, whoever has
        appended its beginning, or the batch is one that was appended before. Until the
        append either may change: this is to be called again after each wait.

        The partition must be open, as for L{append}.

        @raise InvalidProducerEpoch: a newer epoch of the producer is known.
        @raise ConcurrentTransactions: a transaction of an earlier epoch is open here
            (rule T35). Its marker is on its way; L{IReadable.watch} wakes when it is durable.
        """

    def append_marker(marker: Marker, by_coordinator: bool = True) -> ISettlement | None:
        """
        End the transaction of a producer here. The partition must be open, as for
        L{append}.

        A marker that comes again, or late, is not appended a second time (rule T34). From
        then on the producer has the marker's epoch (rule T35). A marker of a producer that
        has nothing open, or is not known, is appended all the same: what is late of that
        transaction must be known as late.

        @param by_coordinator: Whether the coordinator of the transaction sends it, and
            knows its number. An operator does not: a marker with the number of the last
            one ends what is open, too.
        @return: Fires when the marker, or the one in whose place it would have been, is
            durable: only then it is to be answered. None if it is durable already. It
            fails like that of an append, and then the marker is to be sent again, to the
            leader of then.
        @raise InvalidProducerEpoch: a newer epoch of the producer is known. Nothing
            of the marker's transaction is open.
        @raise TransactionCoordinatorFenced: an operator's marker has a lower number than
            the last one.
        @raise NotLeaderOrFollower: the partition is led elsewhere.
        """

    def transactions_of(producer_id: int) -> ProducerTransactions | None:
        """
        Return the state of a producer's transactions; None if the producer is unknown.
        Transaction n is open here if C{open_from} is not -1 and C{number} is below n.
        The partition must be open, as for L{append}.
        """

    def refused(header: BatchHeader) -> None:
        """
        Take note that a batch was refused for good, before L{append}. If it was the first
        of its producer, the one after it may be the first that is appended.
        """

    def offset_at(timestamp: int) -> Awaitable[tuple[int, int] | None]:
        """
        Find the first durable record at or after C{timestamp}, record by
        record.

        @param timestamp: In ms.
        @return: Its timestamp and offset; None if there is no such record.
        """

    def latest_timestamp() -> Awaitable[tuple[int, int] | None]:
        """
        Find the first of the durable records with the largest timestamp.

        @return: Its timestamp and offset; None if there are no records.
        """

    def epoch_at(offset: int) -> int:
        """
        Return the leader epoch in which the record at C{offset} was appended;
        -1 if it is not known.
        """

    def delete_before(offset: int) -> Awaitable[int]:
        """
        Commit a new log start, and delete the segments before it
        (DeleteRecords).

        @param offset: The new log start; -1 for the high watermark. Nothing happens
            if the log starts there or later.
        @return: The log start after that.
        @raise OffsetOutOfRange: C{offset} is past the high watermark, or negative.
        """

    def producers() -> Sequence[Any]:
        """
        Return the states of producers, for DescribeProducers: objects with
        C{producer_id}, C{producer_epoch}, C{last_sequence}, C{last_timestamp}, and
        C{number} and C{open_from} as L{ProducerTransactions} has them.
        """

    def size() -> int:
        """
        Return how many bytes the partition has, in segments and in memory.
        """


class IPartitions(Interface):
    """
    A collection of partitions.
    """

    def partition(topic_id: UUID, index: int) -> IReadable:
        """
        Return a partition.

        @raise NotLeaderOrFollower: it cannot be read here.
        """


class ILog(IPartitions):
    """
    The partitions that this broker leads.
    """

    def partition(topic_id: UUID, index: int) -> IPartition:
        """
        Return a partition.

        @raise NotLeaderOrFollower: this broker does not lead it.
        """

    def takes_transactions() -> bool:
        """
        Return whether transactional batches may be appended: every broker of the
        cluster reads the formats that store them.
        """

    def leads(where: tuple[UUID, int]) -> bool:
        """
        Return whether this broker leads a partition.
        """

    def recorded(where: tuple[UUID, int], leader_epoch: int) -> None:
        """
        Take note of the leader epoch in a partition's record. If this broker
        leads the partition with an earlier epoch, and is not just releasing it,
        it was replaced, and is fenced.
        """

    def led() -> Sequence[tuple[UUID, int]]:
        """
        Return all partitions that this broker leads.
        """

    def recover(
        wanted: Iterable[tuple[UUID, int]],
        is_gone: Callable[[int, int], Awaitable[bool]],
        guard_of: Callable[[UUID], Compare | None],
    ) -> Awaitable[None]:
        """
        Seal the journals of this broker's earlier incarnations, then L{claim}.
        The slots of those that hold nothing unrolled are deleted afterwards,
        which is not waited for.

        @raise Exception: acknowledged records are missing, and no other broker
            has written a journal that may hold them. If one has, the partition
            is left out, as by L{claim}.
        """

    def claim(
        wanted: Iterable[tuple[UUID, int]],
        is_gone: Callable[[int, int], Awaitable[bool]],
        guard_of: Callable[[UUID], Compare | None],
    ) -> Awaitable[None]:
        """
        Start to lead those of these partitions that have no leader, because
        they were never led, or released, or because their leader is gone. The
        journal of a leader that is gone is sealed first. When this returns the
        broker may lead fewer: others may have been faster.

        @param is_gone: Returns whether an incarnation (of a broker id, with a
            number) is not a member of the cluster any more.
        @param guard_of: Returns what holds in the metadata store while a topic
            exists, so that no partition of a deleted topic is claimed. None if
            there is no such guard.
        @raise Exception: a partition cannot be recovered.
        """

    def release(wanted: Iterable[tuple[UUID, int]]) -> Awaitable[None]:
        """
        Stop leading these partitions, so that other brokers can claim them.
        When this returns every appended record is durable or refused, and in
        a segment. Meanwhile appends are refused.

        @raise Exception: a roll failed; they are led as before.
        """

    def clear_up(is_gone: Callable[[int, int], Awaitable[bool]]) -> Awaitable[None]:
        """
        Seal the journals of all other brokers' incarnations that are gone, and
        delete the slots of those that hold nothing unrolled.

        @param is_gone: See L{claim}.
        """

    def configured(topic_id: UUID, partitions: int, rules: LogRules) -> None:
        """
        Follow a topic's configuration, from this call on.

        @param partitions: How many partitions the topic has.
        """

    def drop(topic_ids: Collection[UUID]) -> Awaitable[None]:
        """
        Stop leading the partitions of topics, which are deleted: before this
        returns. What is awaited is the end of writes of their segments.
        """

    def delete(topic_ids: Collection[UUID]) -> Awaitable[None]:
        """
        Delete the partition records and all objects of topics. After a failure
        it is to be called again.
        """


class IReplicas(IPartitions):
    """
    The partitions that other brokers lead, for consumers that are nearer to
    this broker (KIP-392).
    """

    def partition(topic_id: UUID, index: int) -> IReadable:
        """
        Return a partition, which can be read up to the leader's high watermark
        as known here.
        """


class IPressure(Interface):
    """
    The memory for records, and whether producers must wait for some of it.
    """

    def spent() -> bool:
        """
        Return whether the memory is used up, so that clients must be slowed
        down.
        """

    def relieved() -> Deferred[None]:
        """
        Return a Deferred that fires when memory is free; a new one for each
        caller.
        """

    def hold(size: int) -> None:
        """
        Count C{size} more bytes that wait in memory to be appended; fewer if it
        is negative.
        """
