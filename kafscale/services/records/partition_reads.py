"""
Reading the partitions of a fetch, within its limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred

from kafscale.concurrency.byte_budget import ByteBudget
from kafscale.concurrency.gathering import all_settled
from kafscale.errors import NotLeaderOrFollower, OffsetOutOfRange
from kafscale.interfaces import Fetched, IPartitions, IReadable, ITopicLookup
from kafscale.services.location import check_epoch, find_partition
from kafscale.services.records.fetch_sessions import RequestedPartition

_NOTHING = Fetched()


class PartitionRead:
    """
    What a fetch reads from one partition.

    @ivar requested: What the consumer requests of it.
    @ivar topic_id: The id of the topic, once it is found.
    @ivar partition: The partition; not to be used after an error.
    @ivar error: Why it cannot be read; None if it can.
    @ivar diverging: Epoch and end offset up to which the consumer has read what
        is in this log; None if that is all that it has read.
    @ivar available: How many bytes can be read, at most what is requested.
    @ivar fetched: The result of the read.
    @ivar watched: Whether nothing that L{PartitionReader.check} depends on has
        changed since the last check, and the partition will call L{wake} when it
        does.
    @ivar woken: Called with this object then; None while no fetch waits.
    """

    __slots__ = (
        "__weakref__",
        "available",
        "diverging",
        "error",
        "fetched",
        "partition",
        "requested",
        "topic_changes",
        "topic_id",
        "watched",
        "woken",
    )

    partition: IReadable
    topic_id: UUID
    topic_changes: int  # L{ITopicLookup.topic_changes} at the last check

    def __init__(self, requested: RequestedPartition) -> None:
        self.requested = requested
        self.error: Exception | None = None
        self.diverging: tuple[int, int] | None = None
        self.available = 0
        self.fetched = _NOTHING
        self.watched = False
        self.woken: Callable[[PartitionRead], None] | None = None

    def watch(self) -> None:
        """
        Let the partition call L{wake} at its next change.
        """
        self.partition.watch(self)
        self.watched = True

    def wake(self) -> None:
        """
        The partition has changed.
        """
        self.watched = False
        if self.woken is not None:
            self.woken(self)

    @property
    def is_due(self) -> bool:
        """
        Whether the response must not wait for records: there is an error, or the
        logs diverge.
        """
        return self.error is not None or self.diverging is not None


class PartitionReader:
    """
    Finds partitions, and reads from them.
    """

    def __init__(
        self,
        topics: ITopicLookup,
        log: IPartitions,
        budget: ByteBudget,
        committed: bool = False,
    ) -> None:
        """
        @param topics: Knows the topics that exist.
        @param log: Has the partitions.
        @param budget: Bounds what is read from the object store at one time.
        @param committed: Whether to read committed records only.
        """
        self._topics = topics
        self._log = log
        self._budget = budget
        self._committed = committed

    def permitted(self, topics: ITopicLookup) -> PartitionReader:
        """
        The same, but for these topics only.
        """
        return PartitionReader(topics, self._log, self._budget, self._committed)

    def check_changed(self, reads: Iterable[PartitionRead]) -> bool:
        """
        L{check} those reads whose partition or topic may have changed since their
        last check.

        @return: Whether there were any.
        """
        topic_changes = self._topics.topic_changes
        changed = False
        for read in reads:
            if not read.watched or read.topic_changes != topic_changes:
                changed = True
                self.check(read)
        return changed

    def check(self, read: PartitionRead) -> None:
        """
        Find out whether the partition can be read, and how many bytes are
        available. Nothing is read.
        """
        requested = read.requested
        read.error = read.diverging = None
        read.available = 0
        read.topic_changes = self._topics.topic_changes
        try:
            if requested.by_id:
                topic = self._topics.topic_by_id(requested.topic_id)
            else:
                topic = self._topics.topic(requested.name)
            read.topic_id = topic.topic_id
            partition = find_partition(self._log, topic, requested.index)
            if self._committed:
                partition = partition.committed
            read.partition = partition
            if partition.dropped:
                raise NotLeaderOrFollower
            if requested.leader_epoch != -1:
                check_epoch(partition, requested.leader_epoch)
            if requested.last_epoch != -1:
                read.diverging = _diverging(partition, requested)
                if read.diverging is not None:
                    return
            if not partition.log_start <= requested.offset <= partition.next_offset:
                raise OffsetOutOfRange
            available = partition.available(requested.offset)
            if available:
                read.available = min(available, max(1, requested.max_bytes))
        except Exception as error:
            read.error = error

    def read(
        self, reads: Iterable[PartitionRead], max_bytes: int, every: bool = False
    ) -> Deferred[None] | None:
        """
        Read the partitions in their order, at most C{max_bytes} in all; but at
        least one batch of the first partition that has records, so that a batch
        larger than the limit does not block its consumers.

        @param every: Whether to read at least one batch of each partition while
            C{max_bytes} are not reached.
        @return: None if everything was in memory; else fires when the rest was
            loaded from the object store.
        """
        left = max_bytes
        first = True
        loads: list[Deferred[None]] = []
        for read in reads:
            if not read.available:
                if read.error is not None and _is_ahead(read):
                    loads.append(Deferred.fromCoroutine(self._confirm(read)))
                continue
            if left <= 0 and not first:
                break
            most = max(0, min(read.requested.max_bytes, left))
            if not most and not first:
                continue
            try:
                fetched = read.partition.read(read.requested.offset, most, first)
            except Exception as error:
                read.error = error
                continue
            if fetched is None:
                # The size is not known yet. It is counted as the largest that it
                # may be, so that all together stay within the limit.
                size = min(read.available, max(1, most))
                loads.append(Deferred.fromCoroutine(self._load(read, most, first)))
            else:
                read.fetched = fetched
                size = fetched.size
            if size:
                left -= size
                first = every and left > 0
        if not loads:
            return None
        # A load keeps its error with its read.
        return all_settled(loads).addCallback(lambda _: None)

    async def _confirm(self, read: PartitionRead) -> None:
        try:
            await read.partition.confirm()
        except CancelledError:
            raise
        except Exception as error:
            read.error = error

    async def _load(self, read: PartitionRead, most: int, at_least_one: bool) -> None:
        taken = await self._budget.acquire(most)
        try:
            read.fetched = await read.partition.load(read.requested.offset, most, at_least_one)
        except CancelledError:
            raise
        except Exception as error:
            read.error = error
        finally:
            self._budget.release(taken)


def _is_ahead(read: PartitionRead) -> bool:
    """
    Whether the consumer requests an offset past the end of the log. Either the
    consumer is wrong, or this broker was replaced and does not know it yet. That
    must be known before the answer, because many consumers restart from the
    earliest offset after OFFSET_OUT_OF_RANGE.
    """
    requested = read.requested
    return (
        isinstance(read.error, OffsetOutOfRange) and requested.offset >= read.partition.log_start
    )


def _diverging(partition: IReadable, requested: RequestedPartition) -> tuple[int, int] | None:
    """
    The epoch and offset at which this log diverges from that of a consumer that
    has read up to C{requested.offset}, the last record in
    C{requested.last_epoch} (KIP-595); None if it does not.

    @raise OffsetOutOfRange: the offset, or the epoch, is no longer in the log.
    """
    epoch, end = partition.end_of_epoch(requested.last_epoch)
    if epoch == -1 or requested.offset < partition.log_start:
        raise OffsetOutOfRange
    if epoch < requested.last_epoch or end < requested.offset:
        return epoch, end
    return None
