"""
Reading what a fetch asks for, within its limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred

from kafscale.concurrency.byte_budget import ByteBudget
from kafscale.concurrency.gathering import all_settled
from kafscale.errors import NotLeaderOrFollower, OffsetOutOfRange
from kafscale.interfaces import Fetched, IImage, IPartitions, IReadable
from kafscale.services.location import check_epoch, find_partition
from kafscale.services.records.fetch_sessions import Asked

_NOTHING = Fetched()


class Part:
    """
    What a fetch gets from one partition.

    @ivar asked: What the consumer asks of it.
    @ivar topic_id: The topic's id, once it is found.
    @ivar partition: Where it is read; meaningless after an error.
    @ivar error: Why it cannot be read; None when it can.
    @ivar diverging: Epoch and end offset up to which the consumer's log is
        this one's; None when all of it is.
    @ivar available: How many bytes there are to be had, at most what is asked.
    @ivar fetched: What was read.
    @ivar watched: Whether nothing that a look may find has changed since the
        last look, and the partition tells when it does.
    @ivar woken: Called with the part when it does; None while nobody waits.
    """

    __slots__ = (
        "__weakref__",
        "asked",
        "available",
        "diverging",
        "error",
        "fetched",
        "partition",
        "topic_changes",
        "topic_id",
        "watched",
        "woken",
    )

    partition: IReadable
    topic_id: UUID
    topic_changes: int  # as many as the last look knew of

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.error: Exception | None = None
        self.diverging: tuple[int, int] | None = None
        self.available = 0
        self.fetched = _NOTHING
        self.watched = False
        self.woken: Callable[[Part], None] | None = None

    def watch(self) -> None:
        """
        Be told of the next change.
        """
        self.partition.watch(self)
        self.watched = True

    def wake(self) -> None:
        """
        Something has changed.
        """
        self.watched = False
        if self.woken is not None:
            self.woken(self)

    @property
    def tells(self) -> bool:
        """
        Whether there is something to tell at once that is no records.
        """
        return self.error is not None or self.diverging is not None


class Reader:
    """
    Finds partitions and reads from them.
    """

    def __init__(self, image: IImage, log: IPartitions, budget: ByteBudget) -> None:
        """
        @param log: Where partitions are found.
        @param budget: For what is read from the object store.
        """
        self._image = image
        self._log = log
        self._budget = budget

    def look_again(self, parts: Iterable[Part]) -> bool:
        """
        Look at those parts of which a look may find something else than the
        last one did: whether there were any.
        """
        topic_changes = self._image.topic_changes
        changed = False
        for part in parts:
            if not part.watched or part.topic_changes != topic_changes:
                changed = True
                self.look(part)
        return changed

    def look(self, part: Part) -> None:
        """
        Find out what there is for a part now, without reading.
        """
        asked = part.asked
        part.error = part.diverging = None
        part.available = 0
        part.topic_changes = self._image.topic_changes
        try:
            if asked.by_id:
                topic = self._image.topic_by_id(asked.topic_id)
            else:
                topic = self._image.topic(asked.name)
            part.topic_id = topic.topic_id
            partition = part.partition = find_partition(self._log, topic, asked.index)
            if partition.dropped:
                raise NotLeaderOrFollower
            if asked.leader_epoch != -1:
                check_epoch(partition, asked.leader_epoch)
            if asked.last_epoch != -1:
                part.diverging = _diverging(partition, asked)
                if part.diverging is not None:
                    return
            if not partition.log_start <= asked.offset <= partition.next_offset:
                raise OffsetOutOfRange
            available = partition.available(asked.offset)
            if available:
                part.available = min(available, max(1, asked.max_bytes))
        except Exception as error:
            part.error = error

    def read(
        self, parts: Iterable[Part], max_bytes: int, every: bool = False
    ) -> Deferred[None] | None:
        """
        Read for the parts, in their order, at most C{max_bytes}; but at least
        one batch of the first part that has any, so that a batch larger than
        any limit does not stop its consumers for ever.

        @param every: At least one batch of each part, while C{max_bytes} are
            not reached.
        @return: None if all of it was in memory; else what fires when the rest
            is there.
        """
        left = max_bytes
        first = True
        loads: list[Deferred[None]] = []
        for part in parts:
            if not part.available:
                if part.error is not None and _is_ahead(part):
                    loads.append(Deferred.fromCoroutine(self._confirm(part)))
                continue
            if left <= 0 and not first:
                break
            most = max(0, min(part.asked.max_bytes, left))
            try:
                fetched = part.partition.read(part.asked.offset, most, first)
            except Exception as error:
                part.error = error
                continue
            if fetched is None:
                # How much it will be is not known yet. It counts as what it may
                # be, so that all together do not pass the limit.
                size = min(part.available, most)
                loads.append(Deferred.fromCoroutine(self._load(part, most, first)))
            else:
                part.fetched = fetched
                size = fetched.size
            if size:
                left -= size
                first = every and left > 0
        if not loads:
            return None
        # A load keeps its error with its part.
        return all_settled(loads).addCallback(lambda _: None)

    async def _confirm(self, part: Part) -> None:
        try:
            await part.partition.confirm()
        except CancelledError:
            raise
        except Exception as error:
            part.error = error

    async def _load(self, part: Part, most: int, at_least_one: bool) -> None:
        taken = await self._budget.acquire(most)
        try:
            part.fetched = await part.partition.load(part.asked.offset, most, at_least_one)
        except CancelledError:
            raise
        except Exception as error:
            part.error = error
        finally:
            self._budget.release(taken)


def _is_ahead(part: Part) -> bool:
    """
    Whether the consumer asks for more than there is. Either it is wrong, or
    this broker was replaced and does not know it yet; many a consumer would
    begin from the start if it were told the former.
    """
    return (
        isinstance(part.error, OffsetOutOfRange) and part.asked.offset >= part.partition.log_start
    )


def _diverging(partition: IReadable, asked: Asked) -> tuple[int, int] | None:
    """
    Where the log of a consumer that read up to C{asked.offset}, the last
    record in C{asked.last_epoch}, leaves this one (KIP-595).
    """
    epoch, end = partition.end_of_epoch(asked.last_epoch)
    if epoch == -1 or asked.offset < partition.log_start:
        raise OffsetOutOfRange
    if epoch < asked.last_epoch or end < asked.offset:
        return epoch, end
    return None
