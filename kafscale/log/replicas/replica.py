"""
A partition that another broker leads, to be read here.

What is in segments is read from the object store, as its leader does. What is
not comes from the leader, in the protocol that consumers speak: so nothing is
shown here that the leader does not show, which is what is below its high
watermark (rule 23). It is kept in memory for as long as there are readers
for it, and room.
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
from kafscale.wire.records import iterate

AHEAD_SECONDS: Final = 2.0
"""How long a reader may be ahead of what is known here. One who comes from the
leader is for a moment; who stays so is to ask the leader whether there is such
an offset."""

_MOST_AHEAD = 100
_SOMETHING = 1 << 20  # bytes, where nobody knows how many
_END: Final = 2**63 - 1


class LeaderReads(Protocol):
    """
    Reads from the leaders of partitions, for replicas.
    """

    def want(self, replica: Replica) -> None:
        """
        Follow a replica's leader from now on: it has readers for records that
        are in no segment.
        """

    async def fetch(self, replica: Replica, offset: int, max_bytes: int) -> bytes:
        """
        Read batches from the leader, from the one that contains C{offset}, at
        least one.

        @raise KafkaError: the leader does not have them, or cannot be reached.
        """

    def grew(self, size: int) -> None:
        """
        Count so many bytes of records more in memory; below 0, less.
        """


@implementer(IReadable)
class Replica:
    """
    See L{IReadable}. A replica for reading (KIP-392): it is no member of a set
    of in-sync replicas, and no record depends on it.

    @ivar record: As last seen; None until it is.
    @ivar tail: What came from the leader and is still in memory; None before.
    @ivar wanted: Whether there are readers for what is in no segment.
    @ivar silent: Whether nothing can be learnt about it, for too long.
    @ivar read_at: When a reader last asked for it, in seconds.
    @ivar wanted_at: When one last asked for what is in no segment.
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
        @param segments: Of a record that is not known yet.
        @param counts: Of the topic.
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
        self._told = UNKNOWN  # the high watermark, by a leader that is followed now
        self._least = 0  # what it was at least, ever
        self._begin = 0  # where the tail is to begin
        self._front = 0  # where the foremost reader is
        self._watchers = Watchers()
        self._ahead: dict[int, float] = {}  # offsets that are not known of, since when
        self._recheck: IDelayedCall | None = None

    # -- what is known of it -----------------------------------------------

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
        See L{IReadable}. -1 while it is being asked for: who is told a lower
        one takes its end for the partition's.
        """
        if self._told != UNKNOWN:
            return self._told
        return UNKNOWN if self.wanted or self.record is None else self._least

    @property
    def next_offset(self) -> int:
        """
        See L{IReadable}. Only the leader knows: here any may come.
        """
        return _END

    @property
    def position(self) -> int:
        """
        What of the tail is to come next.
        """
        return self._begin if self.tail is None else self.tail.end

    @property
    def size(self) -> int:
        """
        Bytes in memory.
        """
        return 0 if self.tail is None else self.tail.size

    @property
    def unread(self) -> int:
        """
        How many of them no reader has come to yet.
        """
        return 0 if self.tail is None else self.tail.available(self._front)

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """
        See L{IReadable.end_of_epoch}.

        @raise UnknownLeaderEpoch: this broker is behind.
        """
        if self.record is None:
            return epoch, _END
        epochs = Epochs(self.record.epochs)
        end = epochs.end_of(epoch, self.leader_epoch, _END)
        if end[0] == UNKNOWN:
            raise UnknownLeaderEpoch
        return end

    # -- following ----------------------------------------------------------

    def follow(self, record: PartitionRecord, revision: int) -> None:
        """
        This is the partition's record, as committed at that revision.
        """
        if revision <= self._revision:
            return  # a later one was seen already
        if self.record is None:
            self.silent = False
        self._revision = revision
        self.record = record
        self._segments.follow(record)
        self._rolled_to = record.rolled_to
        self._log_start = max(self._log_start, record.log_start)
        self._least = max(self._least, record.rolled_to)
        if self._told != UNKNOWN:
            self._told = max(self._told, record.rolled_to)
        if self.wanted and self.position < record.rolled_to:
            self._restart(record.rolled_to)
        self.wake()

    def fed(
        self, position: int, high_watermark: int, log_start: int, records: bytes | memoryview
    ) -> int:
        """
        The leader's answer to what was asked at C{position}: how many bytes of
        records were new.
        """
        if not self.wanted:
            return 0
        size = 0
        if position == self.position:  # else it began anew meanwhile
            for at, header in iterate(records):
                if self.tail is None:
                    self.tail = Tail(header.base_offset)
                batch = bytes(records[at : at + header.size])
                self.tail.append(batch, header.base_offset, header.next_offset)
                size += len(batch)
            if self.tail is not None:
                self.tail.show(self.tail.end)
                self._leader.grew(size)
        self.heard(max(high_watermark, self.position if size else 0), log_start)
        self.silent = False
        self.wake()
        return size

    def heard(self, high_watermark: int, log_start: int) -> None:
        """
        The leader has told this.
        """
        self._least = max(self._least, high_watermark)
        if self.wanted:
            self._told = max(self._told, self._least)
        self._log_start = max(self._log_start, log_start)
        self._ahead = {each: at for each, at in self._ahead.items() if each > self._told}

    def missed(self) -> None:
        """
        The leader does not have what was to come next.
        """
        self._restart(max(self._rolled_to, self._log_start))

    def keep(self, size: int) -> None:
        """
        Let the oldest go, until so many bytes are left, or those that no
        reader has come to.
        """
        if self.tail is not None and self.tail.size > size:
            self._leader.grew(-self.tail.keep(max(size, self.unread)))

    def fell_silent(self) -> None:
        """
        Nothing can be learnt about it, for too long: readers had better ask
        its leader themselves.
        """
        self.silent = True
        self.wake()

    def unwanted(self) -> None:
        """
        There are no readers any more for what is in no segment.
        """
        self.wanted = self.silent = False
        self._told = UNKNOWN
        self._clear()

    def drop(self) -> None:
        """
        It is not read here any more.
        """
        self.dropped = True
        self._clear()
        if self._recheck is not None:
            self._recheck.cancel()
            self._recheck = None
        self.wake()

    def wake(self) -> None:
        """
        Let all readers that wait look again.
        """
        self._watchers.wake()

    def _restart(self, begin: int) -> None:
        self._clear()
        self._begin = begin

    def _clear(self) -> None:
        if self.tail is not None:
            self._begin = self.tail.end
            self._leader.grew(-self.tail.size)
            self.tail = None

    # -- reading ------------------------------------------------------------

    def available(self, offset: int) -> int:
        """
        See L{IReadable.available}.

        @raise NotLeaderOrFollower: nothing can be learnt about it.
        @raise OffsetNotAvailable: nothing is known of that offset.
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
            self._front = offset
            self._leader.want(self)
        if self._told == UNKNOWN:
            self._check_silence()
            return 0
        if offset > self._told:
            self._check_ahead(offset)
            return 0
        self._front = max(self._front, offset)
        if self._is_elsewhere(offset):
            return _SOMETHING
        available = 0 if self.tail is None else self.tail.available(offset)
        if not available:
            self._check_silence()
        return available

    def _is_elsewhere(self, offset: int) -> bool:
        """
        Whether the record at C{offset}, which is in no segment, is not in
        memory, nor the next to come.
        """
        start = self._begin if self.tail is None else self.tail.start
        return offset < self._told and not start <= offset <= self.position

    def _check_silence(self) -> None:
        if self.silent:
            raise NotLeaderOrFollower("nothing is heard of the leader here")

    def _check_ahead(self, offset: int) -> None:
        if len(self._ahead) > _MOST_AHEAD:
            self._ahead.clear()
        since = self._ahead.setdefault(offset, self.read_at)
        if self.read_at - since >= AHEAD_SECONDS:
            raise OffsetNotAvailable("The leader has told nothing of such an offset")
        if self._recheck is None:
            self._recheck = self._clock.callLater(AHEAD_SECONDS, self._look_ahead_again)

    def _look_ahead_again(self) -> None:
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
        if offset < self._rolled_to or self._is_elsewhere(offset):
            return None
        return Fetched()

    async def confirm(self) -> None:
        """
        See L{IReadable.confirm}. What it knows it has from the leader.
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
