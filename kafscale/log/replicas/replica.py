"""
A partition that another broker leads, read here.

Its segments are read from the object store, as the leader does. What is in no
segment comes from the leader, through the protocol that consumers speak. So
nothing is visible here that is not visible on the leader, which is what is
below the high watermark (rule 23). It stays in memory while it has consumers
and there is room.
"""

from __future__ import annotations

from typing import Final, Protocol
from uuid import UUID

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from kafscale.concurrency.watchers import Watchers
from kafscale.counts import TopicCounts
from kafscale.errors import (
    NotLeaderOrFollower,
    OffsetNotAvailable,
    OffsetOutOfRange,
    UnknownLeaderEpoch,
)
from kafscale.format.epochs import UNKNOWN, Epochs
from kafscale.format.partition import PartitionRecord
from kafscale.interfaces import Fetched, IImage, IReadable, Watcher
from kafscale.log.partition.tail import Tail
from kafscale.log.reading.segments import ReplicaSegments
from kafscale.log.replicas.committed_replica import CommittedReplica
from kafscale.wire.records import iterate

AHEAD_SECONDS: Final = 2.0
"""Seconds that a consumer may be ahead of the end known here. One that has just
read from the leader is ahead for a moment; one that stays ahead is sent to the
leader, to ask whether there is such an offset."""

_MAX_AHEAD = 100
_UNKNOWN_SIZE = 1 << 20  # in place of a number of bytes that is not known
_NO_LIMIT: Final = 2**63 - 1


class LeaderReads(Protocol):
    """
    Reads from the leaders of partitions, for replicas.
    """

    def want(self, replica: Replica) -> None:
        """
        Follow the replica's leader from now on: the replica has consumers for
        records that are in no segment.
        """

    async def fetch(self, replica: Replica, offset: int, max_bytes: int) -> bytes:
        """
        Read batches from the leader, from the one that contains C{offset} on,
        at least one.

        @raise KafkaError: the leader does not have them, or cannot be reached.
        """

    def grew(self, size: int) -> None:
        """
        Count C{size} more bytes of records in memory; fewer if it is negative.
        """


@implementer(IReadable)
class Replica:
    """
    See L{IReadable}. This is a replica for reading (KIP-392): it is not a
    member of a set of in-sync replicas, and no record depends on it.

    @ivar record: The partition's record as last seen; None before that.
    @ivar tail: The records in memory, which came from the leader; None if
        there are none.
    @ivar dropped: Whether it cannot be read here any more.
    @ivar committed: See L{IReadable}.
    @ivar wanted: Whether it has consumers for records that are in no segment.
    @ivar silent: Whether nothing was heard of the partition for too long.
    @ivar read_at: When a consumer last asked for it, in seconds.
    @ivar wanted_at: When one last asked for records that are in no segment.
    """

    def __init__(
        self,
        topic_id: UUID,
        index: int,
        image: IImage,
        segments: ReplicaSegments,
        counts: TopicCounts,
        clock: IReactorTime,
        leader: LeaderReads,
    ) -> None:
        """
        @param image: Knows the partition's leader.
        @param segments: The segments, of a record that is not known yet.
        @param counts: The counters of the topic.
        @param leader: Reads from the partition's leader.
        """
        self.topic_id = topic_id
        self.index = index
        self.record: PartitionRecord | None = None
        self.tail: Tail | None = None
        self.dropped = False
        self.wanted = False
        self.silent = False
        self.read_at = self.wanted_at = clock.seconds()
        self._image = image
        self._segments = segments
        self._counts = counts
        self._clock = clock
        self._leader = leader
        self._revision = 0
        self._rolled_to = 0
        self._log_start = 0
        self._high_watermark = UNKNOWN  # as the leader that is followed now has answered
        self._known_end = 0  # the high watermark is not below this
        self._next_position = 0  # where the tail is to begin, while there is none
        self._foremost = 0  # the offset of the foremost consumer
        self._watchers = Watchers()
        self.committed = CommittedReplica(self)
        # Offsets of consumers past the high watermark, since when.
        self._ahead: dict[int, float] = {}
        self._recheck: IDelayedCall | None = None

    # -- state -----------------------------------------------------------------

    @property
    def leader_epoch(self) -> int:
        """
        See L{IReadable}.
        """
        return self._image.leadership(self.topic_id, self.index).leader_epoch

    @property
    def log_start(self) -> int:
        """
        See L{IReadable}.
        """
        return self._log_start

    @property
    def high_watermark(self) -> int:
        """
        See L{IReadable}. -1 while the leader has not answered yet: a consumer
        would take a lower one for the partition's end.
        """
        if self._high_watermark != UNKNOWN:
            return self._high_watermark
        return UNKNOWN if self.wanted or self.record is None else self._known_end

    @property
    def last_stable_offset(self) -> int:
        """
        See L{IReadable}. Where there are transactions consumers of committed records read
        from the leader, see L{committed}; elsewhere all that is durable is stable.
        """
        return self.high_watermark

    @property
    def next_offset(self) -> int:
        """
        See L{IReadable}. Only the leader knows it, so no offset is too large
        here.
        """
        return _NO_LIMIT

    @property
    def position(self) -> int:
        """
        The offset that the next record from the leader will have.
        """
        return self._next_position if self.tail is None else self.tail.end

    @property
    def size(self) -> int:
        """
        Bytes of records in memory.
        """
        return 0 if self.tail is None else self.tail.size

    @property
    def unread(self) -> int:
        """
        Bytes of records in memory to which no consumer has come yet.
        """
        return 0 if self.tail is None else self.tail.available(self._foremost)

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """
        See L{IReadable.end_of_epoch}.

        @raise UnknownLeaderEpoch: this broker's metadata is behind.
        """
        if self.record is None:
            return epoch, _NO_LIMIT
        epochs = Epochs(self.record.epochs)
        end = epochs.end_of(epoch, self.leader_epoch, _NO_LIMIT)
        if end[0] == UNKNOWN:
            raise UnknownLeaderEpoch
        return end

    # -- updates ---------------------------------------------------------------

    def apply(self, record: PartitionRecord, revision: int) -> None:
        """
        Apply the partition's record, as committed at C{revision}.
        """
        if revision <= self._revision:
            return  # a later one was seen already
        if self.record is None:
            self.silent = False
        self._revision = revision
        self.record = record
        self._segments.apply(record)
        self._rolled_to = record.rolled_to
        self._log_start = max(self._log_start, record.log_start)
        self._known_end = max(self._known_end, record.rolled_to)
        if self._high_watermark != UNKNOWN:
            self._high_watermark = max(self._high_watermark, record.rolled_to)
        if self.wanted and self.position < record.rolled_to:
            self._restart(record.rolled_to)
        self.wake()

    def take_fetched(
        self, position: int, high_watermark: int, log_start: int, records: bytes | memoryview
    ) -> int:
        """
        Append what the leader has answered.

        @param position: The offset that it was asked for.
        @param records: Whole batches from there on.
        @return: How many bytes of records were new.
        """
        if not self.wanted:
            return 0
        size = 0
        if position == self.position:  # else the tail was begun anew meanwhile
            for at, header in iterate(records):
                if self.tail is None:
                    self.tail = Tail(header.base_offset)
                batch = bytes(records[at : at + header.size])
                self.tail.append(batch, header.base_offset, header.next_offset)
                size += len(batch)
            if self.tail is not None:
                self.tail.show(self.tail.end)
                self._leader.grew(size)
        self.take_bounds(max(high_watermark, self.position if size else 0), log_start)
        self.silent = False
        self.wake()
        return size

    def take_bounds(self, high_watermark: int, log_start: int) -> None:
        """
        Apply the bounds of the partition as the leader has answered them.
        """
        self._known_end = max(self._known_end, high_watermark)
        if self.wanted:
            self._high_watermark = max(self._high_watermark, self._known_end)
        self._log_start = max(self._log_start, log_start)
        self._ahead = {each: at for each, at in self._ahead.items() if each > self._high_watermark}

    def lose_position(self) -> None:
        """
        Begin the tail anew, because the leader does not have L{position}.
        """
        self._restart(max(self._rolled_to, self._log_start))

    def shrink(self, size: int) -> None:
        """
        Drop the oldest records until C{size} bytes are left, but none to which
        no consumer has come yet.
        """
        if self.tail is not None and self.tail.size > size:
            self._leader.grew(-self.tail.shrink_to(max(size, self.unread)))

    def fell_silent(self) -> None:
        """
        Send waiting consumers to the leader, because nothing was heard of the
        partition for too long.
        """
        self.silent = True
        self.wake()

    def unwanted(self) -> None:
        """
        Drop the records in memory: there are no consumers for them any more.
        """
        self.wanted = self.silent = False
        self._high_watermark = UNKNOWN
        self._clear()

    def drop(self) -> None:
        """
        Make the partition unreadable here.
        """
        self.dropped = True
        self._clear()
        if self._recheck is not None:
            self._recheck.cancel()
            self._recheck = None
        self.wake()

    def wake(self) -> None:
        """
        Wake all consumers that wait, so that they ask again.
        """
        self._watchers.wake()

    def _restart(self, begin: int) -> None:
        self._clear()
        self._next_position = begin

    def _clear(self) -> None:
        if self.tail is not None:
            self._next_position = self.tail.end
            self._leader.grew(-self.tail.size)
            self.tail = None

    # -- reading ---------------------------------------------------------------

    def available(self, offset: int) -> int:
        """
        See L{IReadable.available}.

        @raise NotLeaderOrFollower: nothing was heard of the partition for too
            long.
        @raise OffsetNotAvailable: the offset has been past the high watermark
            for too long.
        """
        self.read_at = self._clock.seconds()
        if self.record is None:
            self._check_silence()
            return 0
        if offset >= self._rolled_to:
            return self._available_in_tail(offset)
        if self.tail is not None and self.tail.start <= offset < self.tail.end:
            return self.tail.available(offset)
        rolled = max(1, self._rolled_to - self.log_start)
        return max(1, self.record.stored_bytes * (self._rolled_to - offset) // rolled)

    def _available_in_tail(self, offset: int) -> int:
        self.wanted_at = self.read_at
        if not self.wanted:
            self.wanted = True
            self._restart(offset)
            self._foremost = offset
            self._leader.want(self)
        if self._high_watermark == UNKNOWN:
            self._check_silence()
            return 0
        if offset > self._high_watermark:
            self._check_ahead(offset)
            return 0
        self._foremost = max(self._foremost, offset)
        if self._needs_leader(offset):
            return _UNKNOWN_SIZE
        available = 0 if self.tail is None else self.tail.available(offset)
        if not available:
            self._check_silence()
        return available

    def _needs_leader(self, offset: int) -> bool:
        """
        Return whether the record at C{offset} is in no segment, not in memory,
        and not the next to come either.
        """
        start = self._next_position if self.tail is None else self.tail.start
        return offset < self._high_watermark and not start <= offset <= self.position

    def _check_silence(self) -> None:
        if self.silent:
            raise NotLeaderOrFollower("the leader of the partition has not answered for too long")

    def _check_ahead(self, offset: int) -> None:
        if len(self._ahead) > _MAX_AHEAD:
            self._ahead.clear()
        since = self._ahead.setdefault(offset, self.read_at)
        if self.read_at - since >= AHEAD_SECONDS:
            raise OffsetNotAvailable("the offset is past the high watermark known here")
        if self._recheck is None:
            self._recheck = self._clock.callLater(AHEAD_SECONDS, self._recheck_ahead)

    def _recheck_ahead(self) -> None:
        self._recheck = None
        if self._ahead:
            self.wake()

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        See L{IReadable.read}.
        """
        if self.dropped:
            raise NotLeaderOrFollower
        if offset < self.log_start:
            raise OffsetOutOfRange
        tail = self.tail
        if tail is not None and tail.start <= offset < tail.end:
            fetched = tail.read(offset, max_bytes, at_least_one)
            self._counts.bytes_out += fetched.size
            return fetched
        if offset < self._rolled_to or self._needs_leader(offset):
            return None
        return Fetched()

    async def confirm(self) -> None:
        """
        See L{IReadable.confirm}. What a replica knows it has from the leader.
        """

    async def load(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        See L{IReadable.load}.
        """
        found = self.read(offset, max_bytes, at_least_one)
        if found is not None:
            return found  # it has come meanwhile
        if offset < self._rolled_to:
            fetched = await self._segments.read(offset, max_bytes, at_least_one)
        else:
            batches = await self._leader.fetch(self, offset, max_bytes)
            if len(batches) > max_bytes and not at_least_one:
                return Fetched()
            fetched = Fetched([batches], len(batches)) if batches else Fetched()
        self._counts.bytes_out += fetched.size
        return fetched

    def watch(self, watcher: Watcher) -> None:
        """
        See L{IReadable.watch}.
        """
        self._watchers.add(watcher)
