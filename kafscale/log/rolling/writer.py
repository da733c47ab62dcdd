"""
What records are rolled into: segments, and volumes of small ones.

Either way the records stay where they are, in the journal, until the
partition's record says that they are in a segment: after the segment exists,
never before (rule 16).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs
from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import (
    CorruptMessage,
    NoSuchObject,
    NotLeaderOrFollower,
    ObjectExists,
    StoreError,
)
from kafscale.format import object_keys
from kafscale.format.errors import CorruptObject
from kafscale.format.partition import Chapter, PartitionRecord
from kafscale.format.reading import segment_footer
from kafscale.format.segment import Footer, whole_footer, write_footer
from kafscale.format.trailer import intact
from kafscale.log.commit import TOGETHER
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.fencing import Fence
from kafscale.log.journal.journal import Journal
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.producers import ProducerStates
from kafscale.log.partition.record_changes import RecordChanges
from kafscale.log.reading.volumes import VOLUME_SIZE, Volumes
from kafscale.log.takeover.sealing import CorruptLog
from kafscale.wire.records import iterate

READS = 8
"""So many chapters of a partition are read at once, or ends of segments."""

REWRITINGS = 4
"""So many segments may be made at once that take chapters in: these are read
into memory."""

MOST = 2 * VOLUME_SIZE
"""A volume has no further chapter after so many bytes, with what stands in
chapters beside the records."""


@attrs.frozen(eq=False)
class Draft:
    """
    A segment that is to be made.

    @ivar record: The partition's, when it is made; without where it is.
    @ivar producers: The states at its end.
    """

    partition: Partition
    base: int
    pieces: Sequence[bytes]
    record: PartitionRecord
    producers: ProducerStates

    @property
    def size(self) -> int:
        """
        In bytes.
        """
        return sum(map(len, self.pieces))


class SegmentWriter:
    """
    Makes the segments of one incarnation.
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
        @param incarnation: The number of the one that makes them.
        @param changes: Names them in the partitions' records.
        @param fence: Says which keys they get.
        @param volumes: Where small ones go together.
        """
        self._objects = environment.objects
        self._changes = changes
        self._journal = journal
        self._fence = fence
        self._volumes = volumes
        self._namespace = environment.settings.namespace
        self._incarnation = incarnation
        self._counts = environment.counts
        self._rewriting = DeferredSemaphore(REWRITINGS)

    # -- segments -----------------------------------------------------------

    async def segment(self, partition: Partition, max_bytes: int | None = None) -> None:
        """
        Put durable records of a partition into its next segment, and its
        chapters with them: at most C{max_bytes}, but one batch at least.

        @raise NotLeaderOrFollower: it was lost meanwhile.
        """
        await partition.opened()
        async with partition.lock:
            if partition.dropped or not partition.tail.visible_size:
                return
            chapters = partition.record.chapters
            if not chapters:
                await self._segment(partition, (), max_bytes)
                return
            async with self._rewriting:
                try:
                    before = await self._bodies(chapters)
                except (NoSuchObject, CorruptLog, CorruptObject) as why:
                    await self._changes.check(partition)
                    self._log.error(
                        "records of {partition.topic_id}/{partition.index} are lost: {why}",
                        partition=partition,
                        why=why,
                    )
                else:
                    await self._segment(partition, before, max_bytes)
                    return
            # What is lost stays so, but what comes after it must not be.
            await self._volume([self._draft(partition, (), max_bytes)])

    async def _segment(
        self, partition: Partition, before: Sequence[bytes], max_bytes: int | None
    ) -> None:
        """
        @param before: The batches that the chapters have.
        """
        chapters = partition.record.chapters
        taken = sum(each.size for each in chapters)
        most = None if max_bytes is None else max(1, max_bytes - taken)
        draft = self._draft(partition, before, most)
        # A segment that takes chapters in begins where others did before.
        epoch = partition.leader_epoch
        maker = epoch if chapters else self._fence.maker(epoch)
        makers = partition.record.made(maker)
        adopted = await self._create(partition, draft, maker)
        size = draft.size
        record, producers = draft.record, draft.producers
        if adopted is not None:
            existing, size = adopted
            record = self._rolled(partition, existing.end_offset)
            producers = ProducerStates()
            producers.restore(existing.producers)
        rolled = attrs.evolve(
            record,
            first_segment=draft.base if record.first_segment is None else record.first_segment,
            last_segment=draft.base,
            stored_bytes=record.stored_bytes + size - taken,
            makers=makers,
            chapters=(),
        )
        try:
            revision = await self._changes.commit(partition, rolled)
        except StoreError:
            # It is not known whether the segment counts, and its key is used
            # up: the next one is made in another epoch.
            if maker >= 0:
                self._journal.fence()
            raise
        self._volumes.dropped(chapters)
        self._done(partition, rolled, revision, producers, size)

    def _draft(
        self, partition: Partition, before: Sequence[bytes], max_bytes: int | None
    ) -> Draft:
        """
        @param before: The batches that chapters have.
        """
        # Only records below the high watermark are rolled (rule 14).
        batches, end = partition.tail.visible_batches(max_bytes)
        producers = partition.producers_after(batches)
        batches = [*before, *batches]
        record = self._rolled(partition, end)
        base = partition.record.next_base if before else partition.record.rolled_to
        pieces = [*batches, write_footer(batches, partition.epochs, producers.snapshot())]
        return Draft(partition, base, pieces, record, producers)

    def _rolled(self, partition: Partition, end: int) -> PartitionRecord:
        """
        The record when all before C{end} is in segments.
        """
        journals = partition.record.journals
        if end >= partition.inherited_end:
            journals = ((self._incarnation, partition.leader_epoch),)
        return attrs.evolve(partition.record, rolled_to=end, journals=journals)

    async def _create(
        self, partition: Partition, draft: Draft, maker: int
    ) -> tuple[Footer, int] | None:
        """
        Make the segment; or adopt the one that is there: its footer, and its
        size.

        @raise NotLeaderOrFollower: that is a successor's.
        """
        where = partition.topic_id, partition.index
        key = object_keys.segment(object_keys.partition(self._namespace, *where), draft.base, maker)
        try:
            await self._objects.create(key, draft.pieces)
        except ObjectExists:
            # An attempt of ours whose answer was lost, or a predecessor's that
            # was never committed: the chain goes on from its end (rule 15).
            existing, size = await segment_footer(self._objects, key)
            least, most = partition.record.rolled_to, partition.high_watermark
            if not least < existing.end_offset <= most:
                self._journal.fence()
                raise NotLeaderOrFollower from None
            return existing, size
        except Exception:
            # The next attempt would have to send the same bytes to this key:
            # it is made in another epoch.
            if self._fence.may_replace:
                self._journal.fence()
            raise
        return None

    async def _bodies(self, chapters: Sequence[Chapter]) -> list[bytes]:
        """
        The batches that these hold.
        """
        bodies = await map_bounded(self._body, chapters, READS)
        return [batch for batches in bodies for batch in batches]

    async def _body(self, chapter: Chapter) -> list[bytes]:
        key = object_keys.volume(self._namespace, chapter.incarnation, chapter.number)
        data = await self._objects.get(key, chapter.position, chapter.size)
        footer = whole_footer(data, chapter.size)
        try:
            found = iterate(data[: footer.data_size])
            batches = [data[at : at + header.size] for at, header in found]
        except CorruptMessage:
            batches = []
        if not intact(batches, footer.data_crc):
            raise CorruptLog(f"{key} does not hold the records that it had at {chapter.position}")
        return batches

    def _done(
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

    # -- volumes ------------------------------------------------------------

    async def volume(self, partitions: Sequence[Partition]) -> None:
        """
        Put all durable records of these into a volume, as far as it has room.
        Of who is lost meanwhile, or busy, nothing is put anywhere.

        @raise Exception: one of them cannot be opened; for the others it is
            done.
        """
        failures = await self._opened(partitions)
        ready = [each for each in partitions if each.is_open]
        with _locked(ready) as held:
            drafts: list[Draft] = []
            room = MOST
            for partition in held:
                if room > 0 and not partition.dropped and partition.tail.visible_size:
                    drafts.append(self._draft(partition, (), None))
                    room -= drafts[-1].size
            if drafts:
                await self._volume(drafts)
        if failures:
            raise failures[0]

    async def _opened(self, partitions: Sequence[Partition]) -> list[Exception]:
        failures: list[Exception] = []

        async def opened(partition: Partition) -> None:
            try:
                await partition.opened()
            except Exception as failure:  # noqa: BLE001 - told to who asked for the others, too
                if not partition.dropped:
                    failures.append(failure)

        closed = [each for each in partitions if not each.is_open]
        await map_bounded(opened, closed, READS)
        return failures

    async def _volume(self, drafts: Sequence[Draft]) -> None:
        number = self._volumes.begin()
        chapters = await self._volumes.make(
            number,
            [
                (each.partition.topic_id, each.partition.index, each.base, each.pieces)
                for each in drafts
            ],
        )
        named = 0
        for at in range(0, len(drafts), TOGETHER):
            # One after another: if the outcome of one is not known, those
            # before it are known to be done.
            some = slice(at, at + TOGETHER)
            named += await self._name(drafts[some], chapters[some])
        self._volumes.named(number, named)

    async def _name(self, drafts: Sequence[Draft], chapters: Sequence[Chapter]) -> int:
        """
        Name the chapters in the records; in how many it was done.
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
                self._done(partition, record, revision, draft.producers, chapter.size)
        return sum(revision is not None for revision in revisions)


@contextmanager
def _locked(partitions: Sequence[Partition]) -> Iterator[list[Partition]]:
    """
    Those of which nobody changes the record now; nobody does until the end.
    Who waited for one while others wait for him would wait for ever.
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
