"""
How records get from the journal into segments.

A partition is rolled when it has enough for a segment; when all partitions
together hold more memory than they may (the largest first); and when it is
what keeps the journal's oldest slot from going: because that slot is old, or
because recovery would have to read too many. Its topic may ask for smaller and
younger segments than the broker would make. So the tail that a successor has
to read is bounded, whatever the traffic looks like. What is small goes together
with others that are (`kafscale.log.reading.volumes`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from heapq import nlargest
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.due_queue import DueQueue
from kafscale.concurrency.gathering import map_bounded
from kafscale.concurrency.worker_pool import WorkerPool
from kafscale.errors import NotLeaderOrFollower
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.journal import Journal
from kafscale.log.journal.slots import Slot
from kafscale.log.partition.partition import Partition
from kafscale.log.reading.volumes import CHAPTER_SIZE, VOLUME_CHAPTERS, VOLUME_SIZE
from kafscale.log.retention.retention import Retention
from kafscale.log.retention.trimming import Clearing
from kafscale.log.rolling.writer import SegmentWriter

LOOK = 10.0
"""Seconds between two looks at the age of the oldest slot."""

AGAIN = 1.0
"""Seconds after which what failed is tried again."""

COMPANY = 16
"""This part of the journal is let go together, when its oldest slot has to."""

PARALLEL = 16
"""How many segments or volumes are made at once of what is handed over."""


class Roller:
    """
    Rolls the partitions of one incarnation.
    """

    _log = Logger()

    def __init__(
        self,
        environment: LogEnvironment,
        writer: SegmentWriter,
        *,
        journal: Journal,
        trimmer: Clearing,
        retention: Retention,
        held_bytes: Callable[[], int],
    ) -> None:
        """
        @param trimmer: Deletes the slots that are not needed after a roll.
        @param retention: Is told of partitions that have something to expire.
        @param held_bytes: Returns how many bytes of records all partitions have
            in memory now.
        """
        clock = environment.clock
        self._writer = writer
        self._clock = clock
        self._journal = journal
        self._trimmer = trimmer
        self._settings = environment.settings
        self._retention = retention
        self._held: dict[Partition, float] = {}  # those with records in memory, since when
        # Those whose topics want them rolled earlier than the oldest slot is.
        self._ages: DueQueue[Partition] = DueQueue(clock, clock.seconds, self._aged)
        self._urgent: dict[Partition, None] = {}  # to be rolled whatever their size
        self._rolling: set[Partition] = set()
        self._rolls = WorkerPool(clock, self._settings.rolls, self._take)
        self._held_bytes = held_bytes
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._looking.start(LOOK, now=False)

    # -- what is to be rolled ---------------------------------------------

    def settled(self, slot: Slot) -> None:
        """
        The records of a slot are durable, and may be rolled.
        """
        for partition in slot.ranges:
            assert isinstance(partition, Partition)
            if partition not in self._held:
                self._hold(partition)
                self._retention.appended(partition)
            if self._is_urgent(partition):
                self._urgent[partition] = None
        self._rolls.fill()

    def inherited(self, partitions: Iterable[Partition]) -> None:
        """
        Partitions begin with records from a predecessor's journal, which can
        go when these are rolled.
        """
        for partition in partitions:
            self._hold(partition)
            self._urgent[partition] = None
        self._rolls.fill()

    def configured(self, partition: Partition) -> None:
        """
        Its topic's configuration was changed.
        """
        since = self._held.get(partition)
        if since is None:
            return
        self._hold(partition, since)
        if self._is_urgent(partition):
            self._urgent[partition] = None
            self._rolls.fill()

    def _hold(self, partition: Partition, since: float | None = None) -> None:
        """
        @param since: When it got the oldest of the records that it has in
            memory; None for now.
        """
        begun = self._clock.seconds() if since is None else since
        self._held[partition] = begun
        seconds = partition.rules.segment_ms / 1000
        if seconds < self._settings.segment_seconds:
            self._ages.put(partition, begun + seconds)
        else:
            self._ages.remove(partition)

    def _release(self, partition: Partition) -> None:
        """
        It has nothing in memory that could be rolled.
        """
        self._held.pop(partition, None)
        self._ages.remove(partition)

    def _aged(self, partition: Partition) -> None:
        if partition in self._held and not partition.dropped:
            self._urgent[partition] = None
            self._rolls.fill()

    def _segment_bytes(self, partition: Partition) -> int:
        return min(self._settings.segment_bytes, partition.rules.segment_bytes)

    def _look(self) -> None:
        for oldest in self._journal.oldest(1):
            if self._clock.seconds() - oldest.begun >= self._settings.segment_seconds:
                self._hurry()
                self._rolls.fill()

    def _hurry(self) -> None:
        """
        Let the oldest slot go; where small segments go together, what is
        nearly as old keeps it company.
        """
        together = self._settings.journal_slots // COMPANY if self._settings.chapters else 0
        for slot in self._journal.oldest(max(1, together)):
            for partition in slot.ranges:
                assert isinstance(partition, Partition)
                self._urgent[partition] = None

    def _take(self) -> Coroutine[Any, Any, None] | None:
        chosen = self._next()
        return self._roll_chosen(chosen) if chosen else None

    def _next(self) -> list[Partition]:
        """
        What is to be rolled now, together; nothing if nothing is due.
        """
        if self._journal.span > self._settings.journal_slots and any(
            slot.ranges.keys() - self._urgent.keys() for slot in self._journal.oldest(1)
        ):
            self._hurry()
        urgent = (partition for partition in self._urgent if partition not in self._rolling)
        chosen = next(self._grouped(urgent), [])
        if chosen:
            return chosen
        free = {partition for partition in self._held if partition not in self._rolling}
        if not free:
            return []
        under_way = sum(partition.tail.size for partition in self._rolling)
        if self._held_bytes() - under_way <= self._settings.unrolled_bytes:
            return []
        return next(self._grouped(nlargest(VOLUME_CHAPTERS, free, key=_size)))

    def _grouped(self, partitions: Iterable[Partition]) -> Iterator[list[Partition]]:
        """
        All of them: those that are small in groups, each of the others alone.
        """
        group: list[Partition] = []
        size = 0
        for partition in partitions:
            if not self._is_small(partition):
                yield [partition]
                continue
            group.append(partition)
            size += _size(partition)
            if size >= VOLUME_SIZE or len(group) >= VOLUME_CHAPTERS:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _is_small(self, partition: Partition) -> bool:
        """
        Whether what it has is worth no object of its own; who is busy is
        waited for alone.
        """
        settings, chapters = self._settings, partition.record.chapters
        if len(chapters) >= settings.chapters or partition.lock.locked:
            return False
        if partition.rules.segment_ms < settings.segment_seconds * 1000:
            return False  # its topic wants segments of an age of their own
        size = _size(partition) + sum(each.size for each in chapters)
        return size < min(CHAPTER_SIZE, self._segment_bytes(partition))

    async def _roll_chosen(self, partitions: Sequence[Partition]) -> None:
        """
        Roll these, and note what is left to be rolled of them.
        """
        before = [partition.record.rolled_to for partition in partitions]
        self._rolling.update(partitions)
        failure: Exception | None = None
        try:
            await self._roll_group(partitions, self._segment_bytes(partitions[0]))
        except Exception as raised:  # noqa: BLE001 - logged below
            failure = raised
        self._rolling.difference_update(partitions)
        for partition, rolled_to in zip(partitions, before, strict=True):
            if partition.dropped or not partition.tail.visible_size:
                self._urgent.pop(partition, None)
                self._release(partition)
            elif partition.record.rolled_to > rolled_to:
                if not self._is_urgent(partition):
                    self._urgent.pop(partition, None)
                self._hold(partition)
        if failure is not None and not all(partition.dropped for partition in partitions):
            self._failed(partitions, failure)

    def _failed(self, partitions: Sequence[Partition], failure: Exception) -> None:
        if self._rolls.stopped or self._rolls.paused:
            return  # one line is enough for all that fail together
        first, others = partitions[0], len(partitions) - 1
        self._log.error(
            "rolling {first.topic_id}/{first.index}{others} failed: {why}",
            first=first,
            others=f" and {others} others" if others else "",
            why=Failure(failure),  # type: ignore[no-untyped-call]
        )
        self._rolls.pause(AGAIN)

    def _is_urgent(self, partition: Partition) -> bool:
        """
        Whether it is to be rolled once more, whatever the memory. What is not
        yet durable cannot be, and counts when it is.
        """
        return not partition.dropped and (
            partition.tail.visible_size >= self._segment_bytes(partition)
            or partition.record.rolled_to < partition.inherited_end
        )

    # -- rolling ----------------------------------------------------------

    async def roll(self, partition: Partition, max_bytes: int | None = None) -> None:
        """
        Put durable records of a partition, at most C{max_bytes} of them, into
        its next segment.

        @raise NotLeaderOrFollower: it was lost meanwhile.
        """
        await self._writer.segment(partition, max_bytes)
        self._written([partition])

    async def roll_all(self, partitions: Sequence[Partition]) -> None:
        """
        Put what these have of durable records into segments; of those that
        are busy, perhaps not yet.

        @raise Exception: what rolling raised.
        """
        left = [each for each in partitions if not each.dropped and each.tail.visible_size]
        await map_bounded(self._roll_group, list(self._grouped(left)), PARALLEL)

    async def _roll_group(
        self, partitions: Sequence[Partition], max_bytes: int | None = None
    ) -> None:
        if len(partitions) == 1:
            with suppress(NotLeaderOrFollower):  # it is lost already
                await self.roll(partitions[0], max_bytes)
        else:
            try:
                await self._writer.volume(partitions)
            finally:
                self._written(partitions)

    def _written(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            if not partition.tail.visible_size:
                self._release(partition)
            if not partition.dropped:
                self._retention.rolled(partition)
        self._trimmer.begin()

    # -- ending -----------------------------------------------------------

    def abandon(self) -> None:
        """
        Begin nothing more.
        """
        self._rolls.abandon()
        self._ages.stop()
        if self._looking.running:
            self._looking.stop()
        self._trimmer.abandon()

    async def stop(self) -> None:
        """
        Begin nothing more, and let what is under way come to its end.
        """
        self.abandon()
        await self._rolls.stop()
        await self._trimmer.ended()


def _size(partition: Partition) -> int:
    return partition.tail.visible_size
