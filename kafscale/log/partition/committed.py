"""
A partition as consumers with C{isolation.level=read_committed} read it.

They get no record at or past the last stable offset, and with what they get the
transactions in it that were aborted, whose records they leave out. Everything else is
as for other consumers.
"""

from __future__ import annotations

from typing import Protocol

from zope.interface import implementer

from kafscale.counts import TopicCounts
from kafscale.errors import NotLeaderOrFollower, OffsetOutOfRange
from kafscale.interfaces import Fetched, IPartition, IReadable
from kafscale.log.partition.tail import Tail
from kafscale.log.partition.transactions import Transactions
from kafscale.log.reading.committed_view import CommittedView
from kafscale.log.reading.segments import Segments


class LedPartition(Protocol):
    """
    What is needed of a partition beside L{IPartition}.

    @ivar transactions: What is open, and what was aborted.
    @ivar counts: The counters of the topic.
    """

    tail: Tail
    segments: Segments
    transactions: Transactions
    counts: TopicCounts


@implementer(IReadable)
class CommittedPartition(CommittedView):
    """
    A partition that this broker leads; see L{IReadable.committed}.
    """

    def __init__(self, partition: IPartition, parts: LedPartition) -> None:
        """
        @param partition: The partition.
        @param parts: The same.
        """
        super().__init__(partition)
        self._partition = partition
        self._parts = parts

    def available(self, offset: int) -> int:
        """
        See L{IReadable.available}. Until it is known which transactions are open, there
        may be something: L{load} finds out (rule T39).
        """
        partition = self._partition
        if not partition.is_open:
            return max(1, partition.available(offset))
        stable: int = partition.last_stable_offset
        if stable == partition.high_watermark:
            return partition.available(offset)
        if offset >= stable:
            return 0
        tail = self._parts.tail
        if offset >= tail.start:
            return tail.available(offset, stable)
        # More than there is, if a part of the segments is not stable.
        return partition.available(offset)

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        See L{IReadable.read}.
        """
        partition, tail = self._partition, self._parts.tail
        if partition.dropped:
            raise NotLeaderOrFollower
        if offset < partition.log_start:
            raise OffsetOutOfRange
        if not partition.is_open or offset < tail.start:
            return None
        if offset > tail.end:
            raise OffsetOutOfRange
        stable = partition.last_stable_offset
        if offset >= stable:
            return Fetched()
        fetched = tail.read(offset, max_bytes, at_least_one, stable)
        self._parts.counts.bytes_out += fetched.size
        aborted = self._parts.transactions.aborted(offset, stable)
        return Fetched(fetched.pieces, fetched.size, aborted) if aborted else fetched

    async def load(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        See L{IReadable.load}.
        """
        partition = self._partition
        if not partition.is_open:
            await partition.opened()
        found = self.read(offset, max_bytes, at_least_one)
        if found is not None:
            return found
        stable = partition.last_stable_offset
        if offset >= stable:
            return Fetched()
        # Before anything is awaited: what is rolled meanwhile is in the footers, too.
        in_tail = self._parts.transactions.aborted(offset, stable)
        fetched = await self._parts.segments.read_committed(
            offset, max_bytes, at_least_one, stable, in_tail
        )
        self._parts.counts.bytes_out += fetched.size
        return fetched
