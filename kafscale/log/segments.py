"""
The segments of one partition: which there are, and reading them.

Segments form a chain: each begins where the one before ends. The listing is a
hint about it, made when the first reader needs it; where it lacks one, the
chain says what is missing (the end of the one before is its key).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable

import attrs
from twisted.logger import Logger

from kafscale.errors import KafkaError, KafkaStorageError, NoSuchObject, OffsetOutOfRange
from kafscale.interfaces import Fetched, IObjectStore, ObjectInfo
from kafscale.log import keys
from kafscale.log.cache import BlockCache
from kafscale.log.record import PartitionRecord, maker_of
from kafscale.log.sealing import listing
from kafscale.log.segment import Footer, cut, read_footer
from kafscale.wire.records import iterate

SUFFIX = 64 * 1024
"""Enough of a segment's end for nearly every footer."""

FOOTERS = 16
"""How many footers of one partition are kept in memory."""


@attrs.frozen
class Summary:
    """
    What a segment is, in a few words.

    @ivar end_offset: The offset after its last record.
    @ivar max_timestamp: The largest that its batches state, in ms.
    @ivar size: In bytes, with its footer.
    """

    base: int
    end_offset: int
    max_timestamp: int
    size: int


class Segments:
    """
    The segments of one partition.

    @ivar makers: Which keys they have (`kafscale.log.record`), the next one
        included.
    """

    _log = Logger()

    def __init__(
        self,
        objects: IObjectStore,
        cache: BlockCache,
        prefix: str,
        record: PartitionRecord,
        readahead: int,
    ) -> None:
        """
        @param prefix: See L{keys.partition}.
        @param readahead: How many runs are read ahead of a reader.
        """
        self._objects = objects
        self._cache = cache
        self._prefix = prefix
        self._readahead = readahead
        self._first = record.first_segment
        self._newest = record.last_segment
        self.makers = record.makers
        self._bases: list[int] | None = None  # sorted; None until somebody needs them
        self._footers: OrderedDict[int, tuple[Footer, int]] = OrderedDict()

    def key(self, base: int) -> str:
        """
        The key of the segment that begins at offset C{base}.
        """
        return keys.segment(self._prefix, base, maker_of(self.makers, base))

    # -- which there are --------------------------------------------------

    def add(self, base: int) -> None:
        """
        A segment was made, the newest now.
        """
        if self._first is None:
            self._first = base
        self._newest = base
        if self._bases is not None and (not self._bases or self._bases[-1] < base):
            self._bases.append(base)

    def forget(self, gone: Iterable[str], first: int | None) -> None:
        """
        These segments are to be deleted; C{first} is the first that stays.
        """
        self._first = first
        for key in gone:
            base = keys.segment_base(key)
            self._footers.pop(base, None)
            self._cache.drop(key)
            if self._bases is not None and base in self._bases:
                self._bases.remove(base)

    async def _listed(self) -> list[int]:
        if self._bases is None:
            bases = set()
            if self._first is not None and self._newest is not None:
                after = keys.segment(self._prefix, self._first - 1) if self._first else ""
                async for info in listing(self._objects, self._prefix, after):
                    base = keys.segment_base(info.key)
                    # Past the newest there may be one that was made and never
                    # committed: it is not part of the log yet. One that was
                    # made in another's place has the base of that one.
                    if base <= self._newest:
                        bases.add(base)
                bases |= {self._first, self._newest}
            self._bases = sorted(bases)
        return self._bases

    async def before(self, base: int | None) -> list[ObjectInfo]:
        """
        The segments that begin before C{base}, part of the log or not.
        """
        if base is None:
            return []
        found = []
        async for info in listing(self._objects, self._prefix):
            if keys.segment_base(info.key) >= base:
                break
            found.append(info)
        return found

    async def base_of(self, offset: int) -> int | None:
        """
        The base of the segment that holds C{offset}; of the newest, when that
        ends before. None when there is no segment.
        """
        if self._newest is None:
            return None
        located = await self._locate(offset)
        return self._newest if located is None else located[0]

    # -- footers ----------------------------------------------------------

    async def footer(self, base: int) -> tuple[Footer, int]:
        """
        The footer of the segment that begins at C{base}, and the segment's
        size in bytes.

        @raise KafkaError: there is none; see L{_gone}.
        """
        known = self._footers.get(base)
        if known is not None:
            self._footers.move_to_end(base)
            return known
        footer, size = await self._read_footer(base)
        self._footers[base] = footer, size
        while len(self._footers) > FOOTERS:
            self._footers.popitem(last=False)
        return footer, size

    async def summary(self, base: int) -> Summary:
        """
        Of the segment that begins at C{base}. Nothing of it stays in memory.

        @raise KafkaError: there is none; see L{_gone}.
        """
        footer, size = self._footers.get(base) or await self._read_footer(base)
        return Summary(base, footer.end_offset, footer.max_timestamp, size)

    async def _read_footer(self, base: int) -> tuple[Footer, int]:
        key = self.key(base)
        try:
            suffix, size = await self._objects.get_suffix(key, SUFFIX)
        except NoSuchObject:
            raise self._gone(base) from None
        footer = read_footer(suffix, size)
        if isinstance(footer, int):
            suffix, size = await self._objects.get_suffix(key, footer)
            footer = read_footer(suffix, size)
            assert not isinstance(footer, int)
        return footer, size

    async def newest_footer(self) -> Footer | None:
        """
        The footer of the newest segment; None when there is none.
        """
        return None if self._newest is None else (await self.footer(self._newest))[0]

    async def _locate(self, offset: int) -> tuple[int, Footer] | None:
        """
        The segment that holds C{offset}: its base, and its footer. None when
        all end before.

        @raise OffsetOutOfRange: all begin after.
        """
        bases = await self._listed()
        at = max(0, bisect_right(bases, offset) - 1)
        base = bases[at]
        if base > offset:
            raise OffsetOutOfRange("its segment was deleted meanwhile")
        while True:
            footer, _ = await self.footer(base)
            if offset < footer.end_offset:
                return base, footer
            if base == self._newest:
                return None
            base = footer.end_offset
            if base not in bases:
                insort(bases, base)  # the listing did not have it

    async def _run(self, base: int, start: int, stop: int) -> bytes:
        try:
            return await self._cache.get(self.key(base), start, stop)
        except NoSuchObject:
            raise self._gone(base) from None

    def _gone(self, base: int) -> KafkaError:
        """
        What it means that a segment is not there.
        """
        if self._first is None or base < self._first:
            return OffsetOutOfRange("its segment was deleted meanwhile")
        self._log.error("records are lost: {key} is not in the store", key=self.key(base))
        return KafkaStorageError("a segment is missing")

    # -- reading ----------------------------------------------------------

    async def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        Batches from the one that contains C{offset}, up to the end of its
        segment.

        @raise OffsetOutOfRange: its segment was deleted meanwhile.
        """
        located = await self._locate(offset)
        if located is None:
            return Fetched()
        base, footer = located
        key = self.key(base)
        pieces: list[bytes] = []
        size = 0
        while offset < footer.end_offset:
            start, stop = footer.locate(offset)
            run = await self._run(base, start, stop)
            begin, end = cut(run, offset, max_bytes - size, at_least_one and not pieces)
            if end > begin:
                pieces.append(run if end - begin == len(run) else run[begin:end])
                size += end - begin
            if end < len(run):
                return Fetched(pieces, size)
            offset = footer.offset_at(stop)
            self._read_ahead(key, footer, offset)
            if size >= max_bytes:
                break
        return Fetched(pieces, size)

    def _read_ahead(self, key: str, footer: Footer, offset: int) -> None:
        for _ in range(self._readahead):
            if offset >= footer.end_offset:
                return
            start, stop = footer.locate(offset)
            self._cache.prefetch(key, start, stop)
            offset = footer.offset_at(stop)

    # -- times ------------------------------------------------------------

    async def runs_reaching(self, timestamp: int, offset: int) -> AsyncIterator[bytes]:
        """
        The runs from C{offset} on that may hold a record at or after
        C{timestamp}.
        """
        while True:
            located = await self._locate(offset)
            if located is None:
                return
            base, footer = located
            while offset < footer.end_offset:
                if footer.max_timestamp >= timestamp:
                    start, stop = footer.locate(offset)
                    if footer.reaches(stop, timestamp):
                        yield await self._run(base, start, stop)
                    offset = footer.offset_at(stop)
                else:
                    offset = footer.end_offset

    async def latest_batch(self) -> bytes | None:
        """
        The first batch that announces the largest timestamp of all.
        """
        if self._first is None:
            return None
        best: tuple[int, int] | None = None  # timestamp, base of the segment
        base = self._first
        while True:  # along the chain: the listing may lack one
            footer, _ = await self.footer(base)
            if best is None or footer.max_timestamp > best[0]:
                best = footer.max_timestamp, base
            if base == self._newest:
                break
            base = footer.end_offset
        async for run in self.runs_reaching(best[0], best[1]):
            for position, header in iterate(run):
                if header.max_timestamp >= best[0]:
                    return run[position : position + header.size]
        return None
