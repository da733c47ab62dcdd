"""
Whether volumes are what the records of partitions, which alone decide, say of
them; and one chapter of a volume, as if it were an object of its own.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import attrs
from zope.interface import implementer

from kafscale.errors import NoSuchObject, StoreUnavailable
from kafscale.inspect.findings import Findings
from kafscale.inspect.objects import segment_footer
from kafscale.inspect.view import View, Where
from kafscale.interfaces import IObjectStore, ObjectInfo
from kafscale.log import keys
from kafscale.log.record import Chapter
from kafscale.log.sealing import listing
from kafscale.log.segment import Footer
from kafscale.log.segments import SUFFIX
from kafscale.log.trailer import CorruptObject
from kafscale.log.volumes import Row, read_rows

Named = dict[tuple[int, int], list[tuple[Where, Chapter]]]
"""The chapters that records name, by the incarnation and number of volumes."""

UNNAMED = "a volume of which no record names a chapter"


@implementer(IObjectStore)
@attrs.frozen
class OneChapter:
    """
    Some bytes of a volume, as if they were an object; whatever key is asked
    for, it is this one.
    """

    objects: IObjectStore
    volume: str
    position: int
    size: int

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        Refused: see L{IObjectStore.create}.
        """
        raise StoreUnavailable(f"{key}: opened for reading only")

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        left = max(0, self.size - start)
        length = left if length is None else min(length, left)
        return bytes(await self.objects.get(self.volume, self.position + start, length))

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectStore.get_suffix}.

        @raise CorruptObject: the volume ends before the chapter does.
        """
        length = min(length, self.size)
        suffix = await self.get(key, self.size - length, length)
        if len(suffix) < length:
            raise CorruptObject(f"The volume ends before byte {self.position + self.size}")
        return suffix, self.size

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectStore.list}: those that there really are.
        """
        return await self.objects.list(prefix, after, limit)

    async def delete(self, keys: Sequence[str]) -> None:
        """
        Refused: see L{IObjectStore.delete}.
        """
        raise StoreUnavailable("opened for reading only")

    async def close(self) -> None:
        """
        See L{IObjectStore.close}.
        """


def chapter_of(objects: IObjectStore, namespace: str, chapter: Chapter) -> OneChapter:
    """
    The bytes of a chapter that a record names.
    """
    volume = keys.volume(namespace, chapter.incarnation, chapter.number)
    return OneChapter(objects, volume, chapter.position, chapter.size)


def named_by(view: View) -> Named:
    """
    The chapters that all records name.
    """
    named: Named = {}
    for where, record in view.partitions.items():
        for chapter in record.chapters:
            named.setdefault((chapter.incarnation, chapter.number), []).append((where, chapter))
    return named


async def rows_of(objects: IObjectStore, key: str) -> list[Row]:
    """
    What the footer of a volume says.

    @raise NoSuchObject: there is none.
    @raise CorruptObject: it is no volume, or not whole, or its chapters do not
        follow one another.
    """
    suffix, size = await objects.get_suffix(key, SUFFIX)
    rows = read_rows(suffix, size)
    if isinstance(rows, int):
        suffix, size = await objects.get_suffix(key, rows)
        rows = read_rows(suffix, size)
        if isinstance(rows, int):
            raise CorruptObject("The footer is longer than it states")
    end = 0
    for row in rows:
        if row.position != end:
            raise CorruptObject(f"A chapter begins at byte {row.position}, not at {end}")
        end += row.size
    return rows


async def footer_of(objects: IObjectStore, key: str, row: Row) -> Footer:
    """
    The footer of the chapter that has this row.

    @raise CorruptObject: it is no segment, or not whole.
    """
    footer, _ = await segment_footer(OneChapter(objects, key, row.position, row.size), key)
    return footer


async def check_volumes(objects: IObjectStore, view: View) -> Findings:
    """
    What is wrong with volumes. What their chapters hold is looked at with the
    partitions that name them.
    """
    found = Findings()
    named = named_by(view)
    async for info in listing(objects, f"{view.namespace}/volumes/"):
        volume = keys.parse_volume(view.namespace, info.key)
        if volume is None:
            found.note(info.key, "not an object of Kafscale")
            continue
        chapters = named.get(volume, [])
        if not chapters:
            found.garbage(info.key, UNNAMED)
        try:
            rows = await rows_of(objects, info.key)
        except NoSuchObject:
            continue  # deleted just now; whose record names it finds it missing
        except CorruptObject as error:
            if chapters:
                found.wrong(info.key, str(error))
            else:
                found.note(info.key, f"not needed, and not whole: {error}")
            continue
        for where, chapter in chapters:
            _check_row(view, info.key, rows, where, chapter, found)
    return found


def _check_row(
    view: View, key: str, rows: Sequence[Row], where: Where, chapter: Chapter, found: Findings
) -> None:
    """
    Whether one of the rows is that of a chapter that a record names.
    """
    wanted = Row(*where, chapter.base, chapter.position, chapter.size)
    if wanted in rows:
        return
    said = "nothing there"
    for row in rows:
        if row.position == chapter.position:
            name = view.name((row.topic_id, row.index))
            said = f"{name} from offset {row.base}, {row.size} bytes"
    found.wrong(
        key,
        f"the record of {view.name(where)} names its chapter at byte {chapter.position}:"
        f" from offset {chapter.base}, {chapter.size} bytes; the footer says {said}",
    )
