"""
C{__consumer_offsets}, the topic that monitors of consumer lag read in Kafka.

Here committed offsets are in the metadata store, and this topic is a view of what
was committed lately. Partition i, below the number of shards, has the commits of
shard i, and is read from the broker that owns the shard; other partitions are
empty. A monitor assigns groups to no partition itself, so it does not matter that
Kafka would do so by another hash.

The offset of a record is the shard's sequence times L{PER_COMMIT} plus the place of
the record in the commit. The sequence is durable and only grows (`kafscale.group.shard`),
so offsets do, over moves and restarts, with gaps as in a compacted topic. Each owner
has in memory what it has committed itself, within bounds, and the log start is the
first of that. Records are encoded when they are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from struct import pack
from typing import TypeAlias
from uuid import UUID

import attrs
from zope.interface import implementer

from kafscale.concurrency.watchers import Watchers
from kafscale.errors import InvalidTopicException, NotLeaderOrFollower, OffsetOutOfRange
from kafscale.format import metadata_keys
from kafscale.interfaces import OFFSETS_PARTITIONS, Delete, Fetched, IReadable, Put, Watcher
from kafscale.wire.batches import Record
from kafscale.wire.building import build_batch
from kafscale.wire.messages.offsets_topic import OffsetCommitKey, OffsetCommitValue

PER_COMMIT = 128
"""The distance of the offsets of two commits: more than a commit has operations."""

MAX_BYTES = 1 << 20
"""About how many bytes of records are kept for a shard."""

MAX_ENCODED = 1000
"""How many records are encoded for one read at most, which takes a few milliseconds,
unless the first commit has more."""

_KEY, _VALUE = 1, 3
"""The versions of keys and values. All monitors know them; Kafka itself writes them
for offsets that do not expire."""

_RECORD_BYTES = 150
"""Bytes of a record, besides the consumer's metadata, estimated."""

_EPOCH = 0
"""The only leader epoch: what an owner has acknowledged is never truncated."""


_Placed: TypeAlias = tuple[int, Put | Delete]
"""An operation and its offset in the topic."""

_NameOf: TypeAlias = Callable[[UUID], str | None]


@attrs.define(eq=False)
class _Commit:
    """
    The operations of one commit, which become a batch when they are read.

    @ivar before: Bytes of all earlier commits of the partition, estimated.
    @ivar at_ms: When it became durable.
    @ivar batch: Its encoding, once it was read; empty if all its topics are deleted.
    """

    operations: Sequence[_Placed]
    before: int
    at_ms: int
    batch: bytes | None = None

    def encode(self, name_of: _NameOf) -> bytes:
        """
        Encode the batch if it is not encoded yet.

        @param name_of: See L{OffsetsTopic}.
        """
        if self.batch is None:
            records = []
            for offset, operation in self.operations:
                group, (topic_id, index) = metadata_keys.offset_of(operation.key)
                topic = name_of(topic_id)
                if topic is not None:  # a deleted topic has no name any more
                    key = OffsetCommitKey(group=group, topic=topic, partition=index)
                    packed = pack(">h", _KEY) + b"".join(key.encode(_KEY))
                    records.append(Record(offset, self.at_ms, packed, _value(operation)))
            self.batch = build_batch(records, leader_epoch=_EPOCH) if records else b""
        return self.batch


def _value(operation: Put | Delete) -> bytes | None:
    if isinstance(operation, Delete):
        return None
    stored = operation.value
    value = OffsetCommitValue(
        offset=stored["offset"],
        leader_epoch=stored["epoch"],
        metadata=stored["metadata"],
        commit_timestamp=stored["at_ms"],
    )
    return pack(">h", _VALUE) + b"".join(value.encode(_VALUE))


def _size(operation: Put | Delete) -> int:
    return _RECORD_BYTES + (len(operation.value["metadata"]) if isinstance(operation, Put) else 0)


@implementer(IReadable)
class OffsetsPartition:
    """
    A partition of the topic, as long as this broker owns its shard.
    """

    leader_epoch = _EPOCH

    def __init__(self, topic_id: UUID, index: int, name_of: _NameOf, sequence: int = 0) -> None:
        """
        @param name_of: See L{OffsetsTopic}.
        @param sequence: Of the shard, as this broker has taken it: above that of all commits
            of the owner before.
        """
        self.topic_id = topic_id
        self.index = index
        self.dropped = False
        self.log_start = self.next_offset = sequence * PER_COMMIT
        self._name_of = name_of
        self._sequence = sequence
        self._commits: list[_Commit] = []
        self._ends: list[int] = []  # the last offset of each
        self._bytes = 0  # of all commits that were ever here, estimated
        self._watchers = Watchers()

    @property
    def high_watermark(self) -> int:
        """
        All records are durable.
        """
        return self.next_offset

    @property
    def last_stable_offset(self) -> int:
        """
        No record is part of a transaction.
        """
        return self.next_offset

    @property
    def committed(self) -> OffsetsPartition:
        """
        See L{IReadable}.
        """
        return self

    def append(self, sequence: int, operations: Sequence[Put | Delete], at_ms: int) -> None:
        """
        Show a commit. What it does to groups is not shown.

        @param sequence: Of the shard, since this commit.
        """
        if sequence <= self._sequence:
            return  # of an earlier time as the owner
        self._sequence = sequence
        placed = [
            each
            for each in enumerate(operations, sequence * PER_COMMIT)
            if each[1].key.startswith(metadata_keys.OFFSETS)
        ]
        if not placed:
            return
        self._commits.append(_Commit(placed, self._bytes, at_ms))
        self._ends.append(placed[-1][0])
        self._bytes += sum(_size(operation) for _, operation in placed)
        self.next_offset = placed[-1][0] + 1
        kept = bisect_left(self._commits, self._bytes - MAX_BYTES, key=lambda each: each.before)
        kept = min(kept, len(self._commits) - 1)
        if kept:
            del self._commits[:kept], self._ends[:kept]
            self.log_start = self._commits[0].operations[0][0]
        self._watchers.wake()

    def drop(self) -> None:
        """
        Another broker owns the shard.
        """
        self.dropped = True
        self._watchers.wake()

    # -- reading ---------------------------------------------------------------

    def available(self, offset: int) -> int:
        """
        See L{IReadable.available}.
        """
        at = bisect_left(self._ends, offset)
        return self._bytes - self._commits[at].before if at < len(self._ends) else 0

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        See L{IReadable.read}. It may read less than there is, see L{MAX_ENCODED}.
        """
        if self.dropped:
            raise NotLeaderOrFollower
        if not self.log_start <= offset <= self.next_offset:
            raise OffsetOutOfRange
        pieces: list[bytes] = []
        size = encoded = 0
        at = bisect_left(self._ends, offset)
        while at < len(self._commits):
            commit = self._commits[at]
            if commit.batch is None:
                encoded += len(commit.operations)
                if encoded > MAX_ENCODED and pieces:
                    break
            batch = commit.encode(self._name_of)
            if not batch:
                del self._commits[at], self._ends[at]
                continue
            if size + len(batch) > max_bytes and (pieces or not at_least_one):
                break
            pieces.append(batch)
            size += len(batch)
            at += 1
        return Fetched(pieces, size)

    async def load(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        See L{IReadable.load}.
        """
        return self.read(offset, max_bytes, at_least_one)

    def watch(self, watcher: Watcher) -> None:
        """
        See L{IReadable.watch}.
        """
        self._watchers.add(watcher)

    async def confirm(self) -> None:
        """
        See L{IReadable.confirm}. Nothing here can be lost by a broker that was replaced.
        """
        if self.dropped:
            raise NotLeaderOrFollower

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """
        See L{IReadable.end_of_epoch}.
        """
        return (-1, -1) if epoch < _EPOCH else (_EPOCH, self.next_offset)

    def epoch_at(self, offset: int) -> int:
        """
        See L{IPartition.epoch_at}.
        """
        return _EPOCH

    async def offset_at(self, timestamp: int) -> tuple[int, int] | None:
        """
        See L{IPartition.offset_at}.
        """
        for commit in self._commits:
            if commit.at_ms >= timestamp:
                return commit.at_ms, commit.operations[0][0]
        return None

    async def latest_timestamp(self) -> tuple[int, int] | None:
        """
        See L{IPartition.latest_timestamp}.
        """
        latest = max(self._commits, key=lambda each: each.at_ms, default=None)
        return None if latest is None else (latest.at_ms, latest.operations[0][0])

    async def delete_before(self, offset: int) -> int:
        """
        Refuse: clients cannot change this topic.

        @raise InvalidTopicException: always.
        """
        raise InvalidTopicException

    def producers(self) -> Sequence[object]:
        """
        See L{IPartition.producers}: there are none.
        """
        return ()

    def size(self) -> int:
        """
        See L{IPartition.size}: nothing of it is stored.
        """
        return 0


class OffsetsTopic:
    """
    The partitions that this broker leads: those of the shards that it owns.
    """

    def __init__(
        self,
        topic_id: UUID,
        name_of: _NameOf,
        seconds: Callable[[], float],
    ) -> None:
        """
        @param topic_id: Of the topic.
        @param name_of: Returns the name of a topic; None if it does not exist.
        @param seconds: The time, in seconds since 1970.
        """
        self._topic_id = topic_id
        self._name_of = name_of
        self._seconds = seconds
        self._partitions: dict[int, OffsetsPartition] = {}

    def partition(self, topic_id: UUID, index: int) -> OffsetsPartition:
        """
        See L{IPartitions.partition}.

        @raise NotLeaderOrFollower: it is another topic's, or another broker owns the shard.
        """
        partition = self._partitions.get(index) if topic_id == self._topic_id else None
        if partition is None:
            raise NotLeaderOrFollower
        return partition

    def begin(self, shard: int, sequence: int) -> None:
        """
        This broker owns a shard, since a commit with this sequence.
        """
        for index in range(shard, OFFSETS_PARTITIONS, metadata_keys.SHARDS):
            first = sequence if index == shard else 0
            self._partitions[index] = OffsetsPartition(
                self._topic_id, index, self._name_of, first
            )

    def end(self, shard: int) -> None:
        """
        This broker owns a shard no longer.
        """
        for index in range(shard, OFFSETS_PARTITIONS, metadata_keys.SHARDS):
            partition = self._partitions.pop(index, None)
            if partition is not None:
                partition.drop()

    def committed(self, shard: int, sequence: int, operations: Sequence[Put | Delete]) -> None:
        """
        A commit to a shard is durable.
        """
        partition = self._partitions.get(shard)
        if partition is not None:
            partition.append(sequence, operations, int(self._seconds() * 1000))
