"""
What the log promises: appends, reads, and the limits of memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from kafscale.interfaces.stores import Compare


@attrs.define(slots=True)
class Append:
    """
    A batch that has its offset, and may not be durable yet.

    @ivar base_offset: Of its first record.
    @ivar append_time: The broker's time in ms if the topic's timestamp type is
        LogAppendTime, else -1.
    @ivar settled: Has the batch's `wait`; None when it is durable already (a
        duplicate of an old batch).
    """

    base_offset: int
    append_time: int
    settled: ISettlement | None


class ISettlement(Interface):
    """
    The fate of what was appended together: all durable, or all refused.
    """

    number = Attribute("""Settlements come in the order of these: waiting for
        the one with the largest number is waiting for all.""")

    def wait() -> Deferred[None]:
        """
        Fires when it is durable and visible; a new Deferred for each caller.

        Fails with a `kafscale.errors.KafkaError` (NOT_LEADER_OR_FOLLOWER)
        when the broker was fenced.
        """


@attrs.frozen
class AppendRules:
    """
    What a topic's configuration says of a batch.

    @ivar max_bytes: ``max.message.bytes``.
    @ivar log_append_time: ``message.timestamp.type=LogAppendTime``.
    @ivar before_ms: ``message.timestamp.before.max.ms``.
    @ivar after_ms: ``message.timestamp.after.max.ms``.
    @ivar compacted: ``cleanup.policy`` has compact: every record has a key.
    """

    max_bytes: int = 1048588
    log_append_time: bool = False
    before_ms: int = 2**63 - 1
    after_ms: int = 3_600_000
    compacted: bool = False


@attrs.frozen
class LogRules:
    """
    What a topic's configuration says of segments: when one is made, and when
    it goes. Without any nothing is asked for: the broker's own bounds hold.

    @ivar retention_ms: ``retention.ms``; -1 for no limit.
    @ivar retention_bytes: ``retention.bytes``; -1 for no limit.
    @ivar segment_bytes: ``segment.bytes``.
    @ivar segment_ms: ``segment.ms``.
    @ivar delete: ``cleanup.policy`` has delete: what is too old or too much
        goes.
    """

    retention_ms: int = -1
    retention_bytes: int = -1
    segment_bytes: int = 2**31 - 1
    segment_ms: int = 2**63 - 1
    delete: bool = True


@attrs.frozen
class Fetched:
    """
    Whole batches, in order.

    @ivar pieces: Their bytes, to be sent one after the other.
    @ivar size: The length of all pieces in bytes.
    """

    pieces: list[bytes] | tuple[bytes, ...] = ()
    size: int = 0


class Watcher(Protocol):
    """
    Who waits for something to change in a partition.
    """

    def wake(self) -> None:
        """
        It has.
        """


class IReadable(Interface):
    """
    One partition, as its readers have it.
    """

    topic_id = Attribute("C{UUID} of the topic.")
    index = Attribute("Number of the partition in the topic.")
    leader_epoch = Attribute("The epoch of its leader.")
    log_start = Attribute("Offset of the first record that can be read.")
    high_watermark = Attribute("Offset after the last durable record. Never goes back.")
    next_offset = Attribute("Offset that the next record will get.")
    dropped = Attribute("Whether it cannot be read here any more.")

    def available(offset: int) -> int:
        """
        How many bytes of durable batches stand at and after C{offset}: a
        quick estimate, 0 only if there are none.
        """

    def read(offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        Durable batches from the one that contains C{offset}, at most
        C{max_bytes} of them, or one larger batch with C{at_least_one}; at
        once from memory. None: they must be had with L{load}.

        @raise OffsetOutOfRange: below the log start or above the next offset.
        """

    def load(offset: int, max_bytes: int, at_least_one: bool) -> Awaitable[Fetched]:
        """
        As L{read}, from the object store.
        """

    def watch(watcher: Watcher) -> None:
        """
        Wake C{watcher} once, when the high watermark or the log start next
        moves, or the partition is dropped or deleted; never, when nobody else
        refers to it any more.
        """

    def end_of_epoch(epoch: int) -> tuple[int, int]:
        """
        (epoch, end offset) for the largest epoch at or below C{epoch}:
        (-1, -1) when C{epoch} is unknown (KIP-101, KIP-279).
        """

    def confirm() -> Awaitable[None]:
        """
        Return if nobody else knows more of it, as far as can be found out.

        @raise NotLeaderOrFollower: somebody else leads it.
        """


class IPartition(IReadable):
    """
    One partition that this broker leads.
    """

    is_open = Attribute("Whether L{append} may be called at once.")

    def opened() -> Deferred[None]:
        """
        Fires when the partition's producer states are loaded; those who wait
        are called in the order in which they came.
        """

    def append(batch: memoryview, rules: AppendRules) -> Append:
        """
        Check one record batch (as it came in a produce request: it is copied)
        and give it its offset. At once: the order of calls is the order of
        the log.

        @raise KafkaError: CORRUPT_MESSAGE, INVALID_RECORD, MESSAGE_TOO_LARGE,
            INVALID_TIMESTAMP, OUT_OF_ORDER_SEQUENCE_NUMBER,
            INVALID_PRODUCER_EPOCH, NOT_LEADER_OR_FOLLOWER and others.
        """

    def offset_at(timestamp: int) -> Awaitable[tuple[int, int] | None]:
        """
        (timestamp, offset) of the first durable record at or after
        C{timestamp} (ms), found by record; None when there is none.
        """

    def latest_timestamp() -> Awaitable[tuple[int, int] | None]:
        """
        (timestamp, offset) of the first record with the largest timestamp.
        """

    def epoch_at(offset: int) -> int:
        """
        The leader epoch in which the record at C{offset} was appended; -1 if
        unknown.
        """

    def delete_before(offset: int) -> Awaitable[int]:
        """
        Move the log start to C{offset} (-1: the high watermark), durably;
        return the new log start.

        @raise OffsetOutOfRange: past the high watermark or below the start.
        """

    def producers() -> Sequence[Any]:
        """
        The producers' states, for DescribeProducers: objects with
        C{producer_id}, C{producer_epoch}, C{last_sequence},
        C{last_timestamp}.
        """

    def size() -> int:
        """
        Bytes stored of the partition.
        """


class IPartitions(Interface):
    """
    Where partitions are found.
    """

    def partition(topic_id: UUID, index: int) -> IReadable:
        """
        @raise NotLeaderOrFollower: it is not to be had here.
        """


class ILog(IPartitions):
    """
    The partitions that this broker leads.
    """

    def partition(topic_id: UUID, index: int) -> IPartition:
        """
        @raise NotLeaderOrFollower: this broker does not lead it.
        """

    def leads(where: tuple[UUID, int]) -> bool:
        """
        Whether this broker leads it.
        """

    def recorded(where: tuple[UUID, int], leader_epoch: int) -> None:
        """
        The partition's record has this leader epoch. Whoever leads it with an
        earlier one, and has not just released it, was replaced, and is fenced.
        """

    def led() -> Sequence[tuple[UUID, int]]:
        """
        All that this broker leads.
        """

    def recover(
        wanted: Iterable[tuple[UUID, int]],
        is_gone: Callable[[int, int], Awaitable[bool]],
        guard_of: Callable[[UUID], Compare | None],
    ) -> Awaitable[None]:
        """
        Stop this broker's former incarnations for good, then L{claim}.
        """

    def claim(
        wanted: Iterable[tuple[UUID, int]],
        is_gone: Callable[[int, int], Awaitable[bool]],
        guard_of: Callable[[UUID], Compare | None],
    ) -> Awaitable[None]:
        """
        Lead those of these partitions that were released, or never led, or
        whose leaders are gone, which are stopped for good.

        @param is_gone: Whether an incarnation of a broker (its id, its number)
            is not alive, as far as anybody can tell.
        @param guard_of: What holds in the metadata store while a topic is
            there: nothing of a deleted one is claimed anew.
        """

    def release(wanted: Iterable[tuple[UUID, int]]) -> Awaitable[None]:
        """
        Lead these no more, so that others may: all that was appended is
        settled, and in segments, when it answers. What is appended meanwhile
        is refused.
        """

    def clear_up(is_gone: Callable[[int, int], Awaitable[bool]]) -> Awaitable[None]:
        """
        Stop all incarnations of other brokers that are gone, whatever they led, and remove what
        nobody needs of them.

        @param is_gone: See L{claim}.
        """

    def configured(topic_id: UUID, partitions: int, rules: LogRules) -> None:
        """
        Follow a topic's configuration as it is now, from this call on.

        @param partitions: How many the topic has.
        """

    def drop(topic_id: UUID) -> Awaitable[None]:
        """
        A topic is deleted: lead nothing of it any more.
        """

    def delete(topic_id: UUID) -> Awaitable[None]:
        """
        Remove all that the log has of a topic, records and objects. To be
        repeated as a whole if it does not come to its end.
        """


class IReplicas(IPartitions):
    """
    The partitions that other brokers lead, for readers who are nearer to this
    broker.
    """

    def partition(topic_id: UUID, index: int) -> IReadable:
        """
        One of them, of which only what a reader asks for can be asked:
        everything below the leader's high watermark, as far as it is known
        here.
        """


class IPressure(Interface):
    """
    Whether the broker has room for more.
    """

    def spent() -> bool:
        """
        True while so much waits for the store that clients must be slowed.
        """

    def relieved() -> Deferred[None]:
        """
        Fires when it is not spent any more; a new Deferred for each caller.
        """

    def hold(size: int) -> None:
        """
        So many bytes more wait in memory to be appended; below 0, less.
        """
