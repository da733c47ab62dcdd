"""
The segments of one partition: which ones exist, and reading them.

Segments form a chain: each begins where the one before it ends. A listing of
the store, made when the first reader needs it, is only a hint. If a segment is
missing from it, the chain still leads there, because the end of the segment
before is its base offset. The last segments may be chapters of volumes, which
the partition's record names; in time several chapters become one segment, with
the base offset of the first.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

import attrs
from twisted.logger import Logger

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.errors import (
    KafkaError,
    KafkaStorageError,
    NoSuchObject,
    NotLeaderOrFollower,
    OffsetOutOfRange,
)
from kafscale.format import object_keys
from kafscale.format.partition import Chapter, PartitionRecord, key_epoch_of
from kafscale.format.reading import ChapterReader, ObjectReader, list_objects, segment_footer
from kafscale.format.segment import AbortedTransaction, Footer, cut, end_before
from kafscale.interfaces import Fetched, IObjectReader, ObjectInfo
from kafscale.log.reading.cache import BlockCache
from kafscale.log.reading.largest_timestamps import largest_timestamps

MAX_FOOTERS = 16
"""How many footers of one partition are kept in memory."""


T = TypeVar("T")
Location = tuple[str, int]
"""The key of the object that a segment is in, and where it begins in that."""


class SegmentMissing(KafkaStorageError):
    """
    A segment does not exist.

    @ivar base: Its base offset.
    """

    def __init__(self, base: int) -> None:
        super().__init__(f"the segment at offset {base} is missing")
        self.base = base


@attrs.frozen
class SegmentSummary:
    """
    The most important facts about a segment.

    @ivar location: Where it was found.
    @ivar end_offset: The offset after its last record.
    @ivar max_timestamp: The largest that its batches' headers state, in ms.
    @ivar true_times: Whether that is known to be the largest of its records.
    @ivar size: In bytes, with its footer.
    """

    location: Location
    end_offset: int
    max_timestamp: int
    true_times: bool
    size: int


class Segments:
    """
    The segments of one partition.

    @ivar rewrites: How often chapters have become part of a segment. A reader
        that gets L{SegmentMissing} begins again if this has grown meanwhile.
    """

    _log = Logger()

    def __init__(
        self,
        objects: IObjectReader,
        cache: BlockCache,
        namespace: str,
        where: tuple[UUID, int],
        record: PartitionRecord,
        readahead: int,
        work: WorkQueue,
    ) -> None:
        """
        @param where: The partition.
        @param record: The partition's record.
        @param readahead: How many runs are read ahead of a reader.
        @param work: Looks into records.
        """
        self._objects = objects
        self._cache = cache
        self._namespace = namespace
        self._prefix = object_keys.partition(namespace, *where)
        self._readahead = readahead
        self._bases: list[int] | None = None  # sorted; None until a reader needs them
        self._footers: OrderedDict[Location, tuple[Footer, int]] = OrderedDict()
        self._chapters: dict[int, Chapter] = {}
        self._work = work
        # Of segments whose headers are not believed: the largest timestamp of all
        # records, and the footers with those of the blocks, as far as they were found.
        self._largest: dict[Location, int] = {}
        self._surveyed: OrderedDict[Location, Footer] = OrderedDict()
        self.rewrites = 0
        self.apply(record)

    def apply(self, record: PartitionRecord) -> None:
        """
        Follow a new version of the partition's record.
        """
        self._first = record.first_segment
        self._newest = record.last_segment
        self._key_epochs = record.key_epochs
        before, self._chapters = self._chapters, {each.base: each for each in record.chapters}
        gone = before.keys() - self._chapters.keys()
        self.rewrites += bool(gone)
        if self._bases is not None and self._first is not None and self._newest is not None:
            # Segments that are missing here are found along the chain.
            first = self._first
            stay = {base for base in self._bases if base >= first and base not in gone}
            self._bases = sorted(stay | {first, self._newest} | self._chapters.keys())

    @property
    def first(self) -> int | None:
        """
        The base offset of the first segment; None if there is no segment.
        """
        return self._first

    def key(self, base: int) -> str:
        """
        Return the key of the segment at the base offset C{base}, unless it is a
        chapter.
        """
        return object_keys.segment(self._prefix, base, key_epoch_of(self._key_epochs, base))

    def location(self, base: int) -> Location:
        """
        Return where the segment at the base offset C{base} is.
        """
        chapter = self._chapters.get(base)
        if chapter is None:
            return self.key(base), 0
        key = object_keys.volume(self._namespace, chapter.incarnation, chapter.number)
        return key, chapter.position

    # -- which ones exist ------------------------------------------------------

    def forget(self, gone: Iterable[str]) -> None:
        """
        Forget objects that are about to be deleted.
        """
        for key in gone:
            self._footers.pop((key, 0), None)
            self._largest.pop((key, 0), None)
            self._surveyed.pop((key, 0), None)
            self._cache.drop(key)

    async def listed(self) -> list[int]:
        """
        Return the base offsets of the segments that are part of the log, in
        order, as far as a listing has them.
        """
        if self._bases is None:
            bases = set()
            if self._first is not None and self._newest is not None:
                after = object_keys.segment(self._prefix, self._first - 1) if self._first else ""
                async for info in list_objects(self._objects, self._prefix, after):
                    base = object_keys.segment_base(info.key)
                    # After the newest segment there may be one that was written
                    # and never committed, which is not part of the log yet; a
                    # leader that was replaced may have left some anywhere.
                    if base <= self._newest and info.key == self.key(base):
                        bases.add(base)
                bases |= {self._first, self._newest} | self._chapters.keys()
            self._bases = sorted(bases)
        return self._bases

    async def objects_before(self, base: int | None) -> list[ObjectInfo]:
        """
        List the objects of segments with base offsets below C{base}, whether
        they are part of the log or not.
        """
        if base is None:
            return []
        found = []
        async for info in list_objects(self._objects, self._prefix):
            if object_keys.segment_base(info.key) >= base:
                break
            found.append(info)
        return found

    async def base_of(self, offset: int) -> int | None:
        """
        Return the base offset of the segment that holds C{offset}; that of the
        newest segment if C{offset} is after it; None if there is no segment.
        """
        if self._newest is None:
            return None
        located = await self._retry_if_rewritten(lambda: self._locate(offset))
        return self._newest if located is None else located[0]

    # -- footers ---------------------------------------------------------------

    def forget_footers(self) -> None:
        """
        Read all footers from the store again. Tests call it: footers do not
        change, so that otherwise there is no reason to.
        """
        self._footers.clear()

    async def footer(self, base: int) -> tuple[Footer, int]:
        """
        Return the footer of the segment at the base offset C{base}, and the
        segment's size in bytes.

        @raise SegmentMissing: there is no such segment.
        """
        location = self.location(base)
        known = self._footers.get(location)
        if known is not None:
            self._footers.move_to_end(location)
            return known
        footer, size = await self._read_footer(base)
        self._footers[location] = footer, size
        while len(self._footers) > MAX_FOOTERS:
            self._footers.popitem(last=False)
        return footer, size

    async def summary(self, base: int) -> SegmentSummary:
        """
        Summarize the segment at the base offset C{base}. Its footer is not kept
        in memory.

        @raise SegmentMissing: there is no such segment.
        """
        location = self.location(base)
        footer, size = self._footers.get(location) or await self._read_footer(base)
        return SegmentSummary(
            location, footer.end_offset, footer.max_timestamp, footer.true_times, size
        )

    async def _read_footer(self, base: int) -> tuple[Footer, int]:
        key, chapter = self.location(base)[0], self._chapters.get(base)
        objects: ObjectReader = self._objects
        if chapter is not None:
            objects = ChapterReader(objects, key, chapter.position, chapter.size)
        try:
            return await segment_footer(objects, key)
        except NoSuchObject:
            raise SegmentMissing(base) from None

    async def newest_footer(self) -> Footer | None:
        """
        Return the footer of the newest segment; None if there is no segment.
        """
        return await self._retry_if_rewritten(self._newest_footer)

    async def _newest_footer(self) -> Footer | None:
        return None if self._newest is None else (await self.footer(self._newest))[0]

    async def _locate(self, offset: int) -> tuple[int, Footer, Location] | None:
        """
        Find the segment that holds C{offset}.

        @return: Its base offset, its footer, and where it was found; None if all
            segments end before C{offset}.
        @raise OffsetOutOfRange: all segments begin after C{offset}.
        """
        bases = await self.listed()
        at = max(0, bisect_right(bases, offset) - 1)
        base = bases[at]
        if base > offset:
            raise OffsetOutOfRange("the segment with this offset was deleted meanwhile")
        while True:
            location = self.location(base)
            footer, _ = await self.footer(base)
            if offset < footer.end_offset:
                return base, footer, location
            if base == self._newest:
                return None
            base = footer.end_offset
            if base not in bases:
                insort(bases, base)  # the listing did not have it

    async def _run(self, base: int, location: Location, start: int, stop: int) -> bytes:
        key, begin = location
        try:
            return await self._cache.get(key, begin + start, begin + stop)
        except NoSuchObject:
            raise SegmentMissing(base) from None

    async def _retry_if_rewritten(self, walk: Callable[[], Awaitable[T]]) -> T:
        """
        Return what C{walk} finds along the chain. If a segment was missing
        because chapters became part of another one meanwhile, walk again.
        """
        while True:
            before = self.rewrites
            try:
                return await walk()
            except SegmentMissing as missing:
                if before == self.rewrites:
                    raise self._missing_error(missing.base) from None

    def _missing_error(self, base: int) -> KafkaError:
        """
        Return the error to raise when the segment at C{base} is missing.
        """
        if self._first is None or base < self._first:
            return OffsetOutOfRange("the segment with this offset was deleted meanwhile")
        self._log.error(
            "records are lost: {key} is not in the object store", key=self.location(base)[0]
        )
        return SegmentMissing(base)

    # -- reading ---------------------------------------------------------------

    async def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        Read batches from the one that contains C{offset} on, up to the end of
        its segment.

        @param max_bytes: How many bytes they may have together.
        @param at_least_one: Whether the first batch may be larger than that.
        @raise OffsetOutOfRange: the segment was deleted meanwhile.
        """
        return await self._retry_if_rewritten(lambda: self._read(offset, max_bytes, at_least_one))

    async def read_committed(
        self,
        offset: int,
        max_bytes: int,
        at_least_one: bool,
        stable: int,
        later: Sequence[AbortedTransaction],
    ) -> Fetched:
        """
        Read as L{read} does, but nothing at or past the last stable offset; and find the
        aborted transactions.

        @param stable: The last stable offset, which is above C{offset}.
        @param later: Those that a reader from C{offset} on must know, and whose markers are
            in no segment.
        """

        async def walk() -> Fetched:
            fetched = await self._read(offset, max_bytes, at_least_one, stable)
            aborted = await self._aborted(offset, stable, later) if fetched.size else ()
            return Fetched(fetched.pieces, fetched.size, aborted)

        return await self._retry_if_rewritten(walk)

    async def _aborted(
        self, offset: int, stable: int, later: Sequence[AbortedTransaction]
    ) -> list[AbortedTransaction]:
        """
        Gather the aborted transactions that a reader of a segment must know: those that
        begin before the segment's end, and have their markers at or after C{offset}. They
        are listed where the markers are, which may be past the last stable offset. So this
        goes on to later segments for as long as a transaction from before that end is open
        there (rule T41).

        @param offset: Where the reader begins.
        @param later: See L{read_committed}.
        """
        found: set[AbortedTransaction] = set()
        end = stable
        at = offset
        while (located := await self._locate(at)) is not None:
            footer = located[1]
            if at == offset:
                end = min(stable, footer.end_offset)
            found.update(each for each in footer.transactions if each.marker_offset >= offset)
            if not 0 <= footer.first_open < end:
                break
            at = footer.end_offset
        if later:
            found.update(later)
        # Those of a footer, and in memory when the read began, may be the same ones.
        return sorted(each for each in found if each.first_offset < end)

    async def _read(
        self, offset: int, max_bytes: int, at_least_one: bool, before: int | None = None
    ) -> Fetched:
        """
        @param before: The offset at which the records end; None: with the segment.
        """
        located = await self._locate(offset)
        if located is None:
            return Fetched()
        base, footer, location = located
        pieces: list[bytes] = []
        size = 0
        while offset < footer.end_offset:
            start, stop = footer.locate(offset)
            run = await self._run(base, location, start, stop)
            if before is not None and footer.offset_at(stop) > before:
                run = run[: end_before(run, before)]
                if not run:
                    break
            begin, end = cut(run, offset, max_bytes - size, at_least_one and not pieces)
            if end > begin:
                pieces.append(run if end - begin == len(run) else run[begin:end])
                size += end - begin
            if end < len(run):
                return Fetched(pieces, size)
            offset = footer.offset_at(stop)
            if before is not None and offset >= before:
                break
            self._read_ahead(location, footer, offset)
            if size >= max_bytes:
                break
        return Fetched(pieces, size)

    def _read_ahead(self, location: Location, footer: Footer, offset: int) -> None:
        key, begin = location
        for _ in range(self._readahead):
            if offset >= footer.end_offset:
                return
            start, stop = footer.locate(offset)
            self._cache.prefetch(key, begin + start, begin + stop)
            offset = footer.offset_at(stop)

    # -- times -----------------------------------------------------------------

    async def runs_reaching(
        self, timestamp: int, offset: int
    ) -> AsyncIterator[tuple[bytes, bool]]:
        """
        Yield the runs from C{offset} on that may hold a record at or after
        C{timestamp}, each with whether its headers state the largest timestamps of
        their records.
        """
        while True:
            before = self.rewrites
            try:
                located = await self._locate(offset)
                if located is None:
                    return
                base, footer, location = located
                times = footer
                if not footer.true_times and self._largest.get(location, timestamp) >= timestamp:
                    times = await self._survey(base, location, footer)
                if self._largest.get(location, times.max_timestamp) < timestamp:
                    offset = footer.end_offset
                while offset < footer.end_offset:
                    start, stop = footer.locate(offset)
                    if times.reaches(stop, timestamp):
                        yield await self._run(base, location, start, stop), footer.true_times
                    offset = footer.offset_at(stop)
            except SegmentMissing as missing:
                if before == self.rewrites:
                    raise self._missing_error(missing.base) from None

    async def largest_timestamp(self, base: int) -> int:
        """
        Return the largest timestamp of the records of a segment, in ms; -1 if none has
        one. If its headers are not believed, all of it is read, once.

        @param base: The segment's base offset.
        @raise SegmentMissing: there is no such segment.
        """
        location = self.location(base)
        footer, _ = await self.footer(base)
        if footer.true_times:
            return footer.max_timestamp
        if location not in self._largest:
            await self._survey(base, location, footer)
        return self._largest[location]

    async def latest_timestamp(self) -> int | None:
        """
        Return the largest timestamp of all records in segments; None if there is no
        segment.
        """
        return await self._retry_if_rewritten(self._latest_timestamp)

    async def _latest_timestamp(self) -> int | None:
        base = self._first
        if base is None:
            return None
        latest = []
        while True:  # along the chain, because the listing may lack a segment
            latest.append(await self.largest_timestamp(base))
            if base == self._newest:
                return max(latest)
            base = (await self.footer(base))[0].end_offset

    async def written(self, base: int) -> int:
        """
        Return when a segment was written, in ms; -1 if that is not known.

        @param base: The segment's base offset.
        @raise SegmentMissing: there is no such segment.
        """
        footer, _ = await self.footer(base)
        if footer.written >= 0:
            return footer.written
        key = self.location(base)[0]
        for info in await self._objects.list(key, "", 1):
            if info.key == key and info.modified is not None:
                return int(info.modified * 1000)
        return -1

    async def _survey(self, base: int, location: Location, footer: Footer) -> Footer:
        """
        Return the footer of a segment with the largest timestamps of its records.
        """
        known = self._surveyed.get(location)
        if known is not None:
            self._surveyed.move_to_end(location)
            return known
        key, begin = location
        times: list[tuple[int, int]] = []
        for start, stop in footer.runs():
            try:
                # Past the cache, which has what consumers read.
                run = await self._objects.get(key, begin + start, stop - start)
            except NoSuchObject:
                raise SegmentMissing(base) from None
            found = await self._work.run(largest_timestamps(run))
            times += [(start + position, timestamp) for position, timestamp in found]
        surveyed = footer.with_true_times(times)
        self._largest[location] = surveyed.max_timestamp
        self._surveyed[location] = surveyed
        while len(self._surveyed) > MAX_FOOTERS:
            self._surveyed.popitem(last=False)
        return surveyed


class ReplicaSegments(Segments):
    """
    The segments of a partition that another broker leads, as far as its record
    has been seen here.
    """

    def _missing_error(self, base: int) -> KafkaError:
        # The record here may be old: the leader knows whether it was deleted.
        return NotLeaderOrFollower("a segment is missing here; the leader may have deleted it")
