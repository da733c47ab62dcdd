"""
When records are written from the journal into segments.

A partition is rolled when it has enough records for a segment. If all
partitions together have more records in memory than they may, the largest are
rolled. And a partition is rolled when it keeps the journal's oldest slot from
being deleted, because that slot is old, or because recovery would have to read
too many slots. A topic's configuration may ask for smaller and younger segments
than the broker would write. So the tail that a successor has to read is
bounded, whatever the traffic. Partitions with few records are rolled together,
into a volume (`kafscale.log.rolling.volumes`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from heapq import nlargest
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from kafscale.concurrency.due_queue import DueQueue
from kafscale.concurrency.gathering import map_bounded
from kafscale.concurrency.worker_pool import WorkerPool
from kafscale.errors import NotLeaderOrFollower, reason_in_log
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.journal import Journal
from kafscale.log.journal.slots import Slot
from kafscale.log.partition.partition import Partition
from kafscale.log.retention.retention import Retention
from kafscale.log.retention.trimming import JournalTrimmer
from kafscale.log.rolling.volumes import MAX_CHAPTER_BYTES, VOLUME_BYTES, VOLUME_CHAPTERS
from kafscale.log.rolling.writer import SegmentWriter

CHECK_SECONDS = 10.0
"""Seconds between two checks of the age of the oldest slot."""

RETRY_SECONDS = 1.0
"""Seconds after a failure in which no roll begins."""

OLDEST_PART = 16
"""Where partitions are rolled together, one in so many of the journal's slots is
freed together with the oldest."""

PARALLEL_ROLLS = 16
"""How many segments or volumes are written at once by L{Roller.roll_all}."""


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
        trimmer: JournalTrimmer,
        retention: Retention,
        record_bytes: Callable[[], int],
    ) -> None:
        """
        @param writer: Writes the segments.
        @param journal: The incarnation's journal.
        @param trimmer: Deletes slots that are not needed after a roll.
        @param retention: Notified of partitions with records that can expire.
        @param record_bytes: Returns how many bytes of records all partitions
            have in memory now.
        """
        clock = environment.clock
        self._writer = writer
        self._clock = clock
        self._journal = journal
        self._trimmer = trimmer
        self._settings = environment.settings
        self._name_of = environment.name_of
        self._retention = retention
        self._unrolled: dict[Partition, float] = {}  # those with records to roll, since when
        # When the topics' configurations ask for a roll, if that is earlier than
        # the age of the oldest slot does.
        self._ages: DueQueue[Partition] = DueQueue(clock, clock.seconds, self._aged)
        self._urgent: dict[Partition, None] = {}  # to be rolled whatever their size
        self._rolling: set[Partition] = set()
        self._rolls = WorkerPool(clock, self._settings.rolls, self._take)
        self._record_bytes = record_bytes
        self._age_check = LoopingCall(self._check_age)
        self._age_check.clock = clock
        self._age_check.start(CHECK_SECONDS, now=False)

    # -- choosing --------------------------------------------------------------

    def settled(self, slot: Slot) -> None:
        """
        Note that the records of a slot are durable, so that they can be rolled.
        """
        for partition in slot.ranges:
            assert isinstance(partition, Partition)
            if partition not in self._unrolled:
                self._note_unrolled(partition)
                self._retention.appended(partition)
            if self._is_urgent(partition):
                self._urgent[partition] = None
        self._rolls.fill()

    def inherited(self, partitions: Iterable[Partition]) -> None:
        """
        Note partitions that begin with records from a sealed journal. They are
        rolled at once, so that the journal's slots can be deleted.
        """
        for partition in partitions:
            self._note_unrolled(partition)
            self._urgent[partition] = None
        self._rolls.fill()

    def configured(self, partition: Partition) -> None:
        """
        Follow a change of the configuration of the partition's topic.
        """
        since = self._unrolled.get(partition)
        if since is None:
            return
        self._note_unrolled(partition, since)
        if self._is_urgent(partition):
            self._urgent[partition] = None
            self._rolls.fill()

    def _note_unrolled(self, partition: Partition, since: float | None = None) -> None:
        """
        Note that a partition has records to roll.

        @param since: When it got the oldest of them, in seconds; None for now.
        """
        begun = self._clock.seconds() if since is None else since
        self._unrolled[partition] = begun
        seconds = partition.rules.segment_ms / 1000
        if seconds < self._settings.segment_seconds:
            self._ages.put(partition, begun + seconds)
        else:
            self._ages.remove(partition)

    def _forget(self, partition: Partition) -> None:
        """
        Note that a partition has no records to roll.
        """
        self._unrolled.pop(partition, None)
        self._ages.remove(partition)

    def _aged(self, partition: Partition) -> None:
        if partition in self._unrolled and not partition.dropped:
            self._urgent[partition] = None
            self._rolls.fill()

    def _segment_bytes(self, partition: Partition) -> int:
        return min(self._settings.segment_bytes, partition.rules.segment_bytes)

    def _check_age(self) -> None:
        for oldest in self._journal.oldest(1):
            if self._clock.seconds() - oldest.begun >= self._settings.segment_seconds:
                self._mark_oldest_urgent()
                self._rolls.fill()

    def _mark_oldest_urgent(self) -> None:
        """
        Mark the partitions that keep the oldest slot from being deleted. Where
        partitions are rolled together, so are those of slots nearly as old.
        """
        together = self._settings.journal_slots // OLDEST_PART if self._settings.chapters else 0
        for slot in self._journal.oldest(max(1, together)):
            for partition in slot.ranges:
                assert isinstance(partition, Partition)
                self._urgent[partition] = None

    def _take(self) -> Coroutine[Any, Any, None] | None:
        chosen = self._choose()
        return self._roll_chosen(chosen) if chosen else None

    def _choose(self) -> list[Partition]:
        """
        Return the partitions to roll next, together; an empty list if none is
        due.
        """
        if self._journal.span > self._settings.journal_slots and any(
            slot.ranges.keys() - self._urgent.keys() for slot in self._journal.oldest(1)
        ):
            self._mark_oldest_urgent()
        urgent = (partition for partition in self._urgent if partition not in self._rolling)
        chosen = next(self._grouped(urgent), [])
        if chosen:
            return chosen
        free = {partition for partition in self._unrolled if partition not in self._rolling}
        if not free:
            return []
        under_way = sum(partition.tail.size for partition in self._rolling)
        if self._record_bytes() - under_way <= self._settings.unrolled_bytes:
            return []
        return next(self._grouped(nlargest(VOLUME_CHAPTERS, free, key=_size)))

    def _grouped(self, partitions: Iterable[Partition]) -> Iterator[list[Partition]]:
        """
        Divide partitions into groups: small ones together, each other one
        alone.
        """
        group: list[Partition] = []
        size = 0
        for partition in partitions:
            if not self._is_small(partition):
                yield [partition]
                continue
            group.append(partition)
            size += _size(partition)
            if size >= VOLUME_BYTES or len(group) >= VOLUME_CHAPTERS:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _is_small(self, partition: Partition) -> bool:
        """
        Return whether the partition's records are too few for a segment of
        their own. If its lock is held the partition counts as large, so that it
        is rolled alone and no other waits for it.
        """
        settings, chapters = self._settings, partition.record.chapters
        if len(chapters) >= settings.chapters or partition.lock.locked:
            return False
        if partition.rules.segment_ms < settings.segment_seconds * 1000:
            return False  # the topic asks for segments of a certain age
        size = _size(partition) + sum(each.size for each in chapters)
        return size < min(MAX_CHAPTER_BYTES, self._segment_bytes(partition))

    async def _roll_chosen(self, partitions: Sequence[Partition]) -> None:
        """
        Roll these partitions, and note what is left of them.
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
                self._forget(partition)
            elif partition.record.rolled_to > rolled_to:
                if not self._is_urgent(partition):
                    self._urgent.pop(partition, None)
                self._note_unrolled(partition)
        if failure is not None and not all(partition.dropped for partition in partitions):
            self._failed(partitions, failure)

    def _failed(self, partitions: Sequence[Partition], failure: Exception) -> None:
        if self._rolls.stopped or self._rolls.paused:
            return  # one line is enough for rolls that fail together
        first, others = partitions[0], len(partitions) - 1
        self._log.error(
            "could not roll {first}{others}, trying again in {seconds:.0f} s: {why}",
            first=self._name_of(first.topic_id, first.index),
            seconds=RETRY_SECONDS,
            others=f" and {others} others" if others else "",
            why=reason_in_log(failure),
        )
        self._rolls.pause(RETRY_SECONDS)

    def _is_urgent(self, partition: Partition) -> bool:
        """
        Return whether the partition must be rolled once more, however much
        memory there is. Records that are not durable yet do not count: they are
        looked at when they are.
        """
        return not partition.dropped and (
            partition.tail.visible_size >= self._segment_bytes(partition)
            or partition.record.rolled_to < partition.inherited_end
        )

    # -- rolling ---------------------------------------------------------------

    async def roll(self, partition: Partition, max_bytes: int | None = None) -> None:
        """
        Write durable records of a partition into its next segment.

        @param max_bytes: How many bytes of batches at most, but one batch at
            least; None for all.
        @raise NotLeaderOrFollower: the partition was lost meanwhile.
        """
        await self._writer.write_segment(partition, max_bytes)
        self._rolled([partition])

    async def roll_all(self, partitions: Sequence[Partition]) -> None:
        """
        Write the durable records of partitions into segments. A partition whose
        lock is held may be left out.

        @raise Exception: a roll failed.
        """
        left = [each for each in partitions if not each.dropped and each.tail.visible_size]
        await map_bounded(self._roll_group, list(self._grouped(left)), PARALLEL_ROLLS)

    async def _roll_group(
        self, partitions: Sequence[Partition], max_bytes: int | None = None
    ) -> None:
        if len(partitions) == 1:
            with suppress(NotLeaderOrFollower):  # the partition is dropped already
                await self.roll(partitions[0], max_bytes)
        else:
            try:
                await self._writer.write_volume(partitions)
            finally:
                self._rolled(partitions)

    def _rolled(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            if not partition.tail.visible_size:
                self._forget(partition)
            if not partition.dropped:
                self._retention.rolled(partition)
        self._trimmer.kick()

    # -- ending ----------------------------------------------------------------

    def abandon(self) -> None:
        """
        Start no more rolls.
        """
        self._rolls.abandon()
        self._ages.stop()
        if self._age_check.running:
            self._age_check.stop()
        self._trimmer.abandon()

    async def stop(self) -> None:
        """
        Start no more rolls, and return when none is under way.
        """
        self.abandon()
        await self._rolls.stop()
        await self._trimmer.stop()


def _size(partition: Partition) -> int:
    return partition.tail.visible_size
