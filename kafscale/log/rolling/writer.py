"""
Writing segments, and volumes of small segments.

The records stay in the journal until the partition's record says that they are
in a segment. That commit comes after the segment exists, never before
(rule 16).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import attrs
from twisted.internet.defer import CancelledError, DeferredSemaphore
from twisted.logger import Logger

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import (
    CorruptMessage,
    NoSuchObject,
    NotLeaderOrFollower,
    ObjectExists,
    StoreError,
    StoreUnavailable,
)
from kafscale.format import object_keys
from kafscale.format.errors import CorruptObject
from kafscale.format.partition import Chapter, PartitionRecord
from kafscale.format.reading import segment_footer
from kafscale.format.segment import AbortedTransaction, Footer, whole_footer, write_footer
from kafscale.format.trailer import intact
from kafscale.log.commit import TOGETHER
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.fencing import Fence
from kafscale.log.journal.journal import Journal
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.producers import ProducerStates
from kafscale.log.partition.record_changes import RecordChanges
from kafscale.log.rolling.volumes import VOLUME_BYTES, Volumes
from kafscale.log.takeover.sealing import CorruptLog
from kafscale.wire.records import iterate

PARALLEL_READS = 8
"""How many chapters of a partition are read at once, and how many partitions are
opened at once."""

PARALLEL_REWRITES = 4
"""How many segments that include chapters are written at once: the chapters are
read into memory."""

MAX_VOLUME_BYTES = 2 * VOLUME_BYTES
"""Bytes after which a volume takes no further chapter. More than the records of a
group, because chapters have footers."""


@attrs.frozen(eq=False)
class Draft:
    """
    A segment that is to be written.

    @ivar base: Offset of its first record.
    @ivar pieces: All its bytes.
    @ivar record: The partition's record after that, without the place of the
        segment.
    @ivar producers: The states of producers at its end.
    """

    partition: Partition
    base: int
    pieces: Sequence[bytes]
    record: PartitionRecord
    producers: ProducerStates

    @property
    def size(self) -> int:
        """
        Bytes of the segment.
        """
        return sum(map(len, self.pieces))


class _Chapters(NamedTuple):
    """
    The batches of chapters.

    @ivar true_times: Whether their headers are known to state the largest timestamps
        of their records.
    @ivar aborted: The aborted transactions that their footers list.
    """

    batches: Sequence[bytes]
    true_times: bool
    aborted: Sequence[AbortedTransaction] = ()


_NO_CHAPTERS = _Chapters((), True)


class SegmentWriter:
    """
    Writes the segments of one incarnation.
    """

    _log = Logger()

    def __init__(
        self,
        environment: LogEnvironment,
        incarnation: int,
        *,
        changes: RecordChanges,
        journal: Journal,
        fence: Fence,
        volumes: Volumes,
    ) -> None:
        """
        @param incarnation: The incarnation's number.
        @param changes: Commits the partitions' records.
        @param journal: The incarnation's journal, which is fenced if a segment
            turns out to be a successor's.
        @param fence: Says which keys the segments get.
        @param volumes: Takes small segments.
        """
        self._objects = environment.objects
        self._name_of = environment.name_of
        self._changes = changes
        self._journal = journal
        self._fence = fence
        self._volumes = volumes
        self._namespace = environment.settings.namespace
        self._incarnation = incarnation
        self._counts = environment.counts
        self._level_of = environment.level_of
        self._seconds = environment.clock.seconds
        self._rewriting = DeferredSemaphore(PARALLEL_REWRITES)

    # -- segments --------------------------------------------------------------

    async def write_segment(self, partition: Partition, max_bytes: int | None = None) -> None:
        """
        Write durable records of a partition into its next segment, together
        with its chapters, if it has any.

        @param max_bytes: How many bytes of batches at most, but one batch at
            least; None for all.
        @raise NotLeaderOrFollower: the partition was lost meanwhile.
        """
        await partition.opened()
        async with partition.lock:
            if partition.dropped or not partition.tail.visible_size:
                return
            chapters = partition.record.chapters
            if not chapters:
                await self._write_segment(partition, _NO_CHAPTERS, max_bytes)
                return
            async with self._rewriting:
                try:
                    before = await self._read_chapters(chapters)
                    if partition.dropped:
                        return  # meanwhile, so its records are no longer in memory
                except (NoSuchObject, CorruptLog, CorruptObject) as why:
                    await self._changes.check(partition)
                    if partition.dropped:
                        return
                    self._log.error(
                        "records of {partition} are lost: {why}",
                        partition=self._name_of(partition.topic_id, partition.index),
                        why=why,
                    )
                else:
                    await self._write_segment(partition, before, max_bytes)
                    return
            # Those records are lost, but those after them must not be.
            await self._write_volume([self._draft(partition, _NO_CHAPTERS, max_bytes)])

    async def _write_segment(
        self, partition: Partition, before: _Chapters, max_bytes: int | None
    ) -> None:
        """
        @param before: The chapters.
        """
        chapters = partition.record.chapters
        taken = sum(each.size for each in chapters)
        most = None if max_bytes is None else max(1, max_bytes - taken)
        draft = self._draft(partition, before, most)
        # With chapters the segment begins where another has begun before.
        epoch = partition.leader_epoch
        key_epoch = epoch if chapters else self._fence.key_epoch(epoch)
        key_epochs = partition.record.with_key_epoch(key_epoch)
        adopted = await self._create(partition, draft, key_epoch)
        size = draft.size
        record, producers = draft.record, draft.producers
        if adopted is not None:
            existing, size = adopted
            record = self._record_after(partition, existing.end_offset)
            producers = partition.producers_in(existing.producers)
        rolled = attrs.evolve(
            record,
            first_segment=draft.base if record.first_segment is None else record.first_segment,
            last_segment=draft.base,
            stored_bytes=record.stored_bytes + size - taken,
            key_epochs=key_epochs,
            chapters=(),
        )
        try:
            revision = await self._changes.commit(partition, rolled)
        except (StoreError, CancelledError):
            # It is not known whether the segment counts, and its key cannot be
            # used again: the next one is written in another epoch.
            if key_epoch >= 0:
                self._journal.fence()
            raise
        self._volumes.dropped(chapters)
        self._finish(partition, rolled, revision, producers, size)

    def _draft(
        self, partition: Partition, before: _Chapters, max_bytes: int | None
    ) -> Draft:
        """
        @param before: The chapters.
        """
        # Only records below the high watermark are rolled (rule 14).
        batches, end = partition.tail.visible_batches(max_bytes)
        producers = partition.producers_after(batches)
        aborted = partition.aborted_before(end)
        batches = [*before.batches, *batches]
        record = self._record_after(partition, end)
        base = partition.record.next_base if before.batches else partition.record.rolled_to
        footer = write_footer(
            batches,
            partition.epochs,
            producers.snapshot(self._level_of("producers")),
            [*before.aborted, *aborted],
            level=self._level_of("segment"),
            written=int(self._seconds() * 1000),
            true_times=before.true_times and partition.record.rolled_to >= partition.true_from,
        )
        pieces = [*batches, footer]
        return Draft(partition, base, pieces, record, producers)

    def _record_after(self, partition: Partition, end: int) -> PartitionRecord:
        """
        Return the partition's record after everything before C{end} was rolled.
        """
        journals = partition.record.journals
        if end >= partition.inherited_end:
            journals = ((self._incarnation, partition.leader_epoch),)
        return attrs.evolve(partition.record, rolled_to=end, journals=journals)

    async def _create(
        self, partition: Partition, draft: Draft, key_epoch: int
    ) -> tuple[Footer, int] | None:
        """
        Create the segment, or adopt the one that exists.

        @return: The footer and the size of the segment that was adopted; None
            if it was created.
        @raise NotLeaderOrFollower: the segment that exists is a successor's.
        @raise StoreUnavailable: the store refused the segment as one that exists, and
            has no such segment.
        """
        where = partition.topic_id, partition.index
        prefix = object_keys.partition(self._namespace, *where)
        key = object_keys.segment(prefix, draft.base, key_epoch)
        try:
            await self._objects.create(key, draft.pieces)
        except ObjectExists:
            # From an attempt of ours whose answer was lost, or from an earlier
            # leader that never committed it: the chain goes on from its end
            # (rule 15).
            try:
                existing, size = await segment_footer(self._objects, key)
            except NoSuchObject:
                # A successor has swept it, or the store was mistaken.
                if self._fence.may_replace:
                    self._journal.fence()
                raise StoreUnavailable(f"{key} was refused as existing, and is not there") from None
            least, most = partition.record.rolled_to, partition.high_watermark
            if not least < existing.end_offset <= most:
                self._journal.fence()
                raise NotLeaderOrFollower from None
            return existing, size
        except Exception:
            # The next attempt would have to send the same bytes to this key, so
            # it is made in another epoch.
            if self._fence.may_replace:
                self._journal.fence()
            raise
        return None

    async def _read_chapters(self, chapters: Sequence[Chapter]) -> _Chapters:
        """
        Read these chapters.
        """
        found = await map_bounded(self._read_chapter, chapters, PARALLEL_READS)
        batches = [batch for each in found for batch in each.batches]
        # Those of all, but the producers of the last only (rules T39 and T40).
        aborted = [transaction for each in found for transaction in each.aborted]
        return _Chapters(batches, all(each.true_times for each in found), aborted)

    async def _read_chapter(self, chapter: Chapter) -> _Chapters:
        key = object_keys.volume(self._namespace, chapter.incarnation, chapter.number)
        data = await self._objects.get(key, chapter.position, chapter.size)
        footer = whole_footer(data, chapter.size)
        try:
            found = iterate(data[: footer.data_size])
            batches = [data[at : at + header.size] for at, header in found]
        except CorruptMessage:
            batches = []
        if not intact(batches, footer.data_crc):
            raise CorruptLog(f"the chapter at byte {chapter.position} of {key} was changed")
        return _Chapters(batches, footer.true_times, footer.transactions)

    def _finish(
        self,
        partition: Partition,
        record: PartitionRecord,
        revision: int,
        producers: ProducerStates,
        size: int,
    ) -> None:
        partition.rolled(record, revision, producers)
        self._counts.segments += 1
        self._counts.segment_bytes += size

    # -- volumes ---------------------------------------------------------------

    async def write_volume(self, partitions: Sequence[Partition]) -> None:
        """
        Write the durable records of these partitions into a volume, as far as
        there is room in it. Partitions that are dropped meanwhile, or whose
        lock is held, are left out.

        @raise Exception: a partition could not be opened; the others are
            written.
        """
        failures = await self._open_all(partitions)
        ready = [each for each in partitions if each.is_open]
        with _locked(ready) as held:
            drafts: list[Draft] = []
            room = MAX_VOLUME_BYTES
            for partition in held:
                if room > 0 and not partition.dropped and partition.tail.visible_size:
                    drafts.append(self._draft(partition, _NO_CHAPTERS, None))
                    room -= drafts[-1].size
            if drafts:
                await self._write_volume(drafts)
        if failures:
            raise failures[0]

    async def _open_all(self, partitions: Sequence[Partition]) -> list[Exception]:
        failures: list[Exception] = []

        async def opened(partition: Partition) -> None:
            try:
                await partition.opened()
            except Exception as failure:  # noqa: BLE001 - the caller raises it, after the others
                if not partition.dropped:
                    failures.append(failure)

        closed = [each for each in partitions if not each.is_open]
        await map_bounded(opened, closed, PARALLEL_READS)
        return failures

    async def _write_volume(self, drafts: Sequence[Draft]) -> None:
        number = self._volumes.reserve()
        chapters = await self._volumes.create(
            number,
            [
                (each.partition.topic_id, each.partition.index, each.base, each.pieces)
                for each in drafts
            ],
        )
        named = 0
        for at in range(0, len(drafts), TOGETHER):
            # One after the other: if the outcome of a commit is not known, those
            # before it are known to be done.
            some = slice(at, at + TOGETHER)
            named += await self._commit_chapters(drafts[some], chapters[some])
        self._volumes.named(number, named)

    async def _commit_chapters(self, drafts: Sequence[Draft], chapters: Sequence[Chapter]) -> int:
        """
        Commit the chapters into the records of their partitions.

        @return: How many of these commits were done.
        """
        changed = []
        for draft, chapter in zip(drafts, chapters, strict=True):
            record = draft.record
            rolled = attrs.evolve(
                record,
                first_segment=draft.base if record.first_segment is None else record.first_segment,
                last_segment=draft.base,
                stored_bytes=record.stored_bytes + chapter.size,
                chapters=(*record.chapters, chapter),
            )
            changed.append((draft.partition, rolled))
        revisions = await self._changes.commit_all(changed)
        for draft, chapter, (partition, record), revision in zip(
            drafts, chapters, changed, revisions, strict=True
        ):
            if revision is not None and not partition.dropped:
                self._finish(partition, record, revision, draft.producers, chapter.size)
        return sum(revision is not None for revision in revisions)


@contextmanager
def _locked(partitions: Sequence[Partition]) -> Iterator[list[Partition]]:
    """
    Lock those partitions that are not locked. Waiting for a lock would be a
    deadlock if another group waits for one of these.
    """
    held = []
    for partition in partitions:
        if not partition.lock.locked:
            partition.lock.acquire()
            held.append(partition)
    try:
        yield held
    finally:
        for partition in held:
            partition.lock.release()
