"""
Reading objects: their footers, chapters as if they were objects, and listings.

Nothing here does I/O. The functions await a reader, which has the methods of
L{kafscale.interfaces.IObjectReader} that the protocols below name, and say what
to ask it for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import attrs

from kafscale.errors import NoSuchObject
from kafscale.format.errors import CorruptObject, UnreadableData
from kafscale.format.segment import Footer, read_footer
from kafscale.format.slot import Range, Seal, read_slot
from kafscale.format.volume import VolumeRow, read_volume_footer

SLOT_SUFFIX = 16 * 1024
"""Bytes at the end of a slot that hold the footer of some hundred partitions."""

SEGMENT_SUFFIX = 64 * 1024
"""Bytes at the end of a segment or volume that hold nearly every footer."""

PAGE = 1000
"""Objects in one page of a listing."""

T = TypeVar("T")


class ObjectReader(Protocol):
    """
    Reads objects.
    """

    def get(self, key: str, start: int = 0, length: int | None = None) -> Awaitable[bytes]:
        """
        See L{kafscale.interfaces.IObjectReader.get}.
        """

    def get_suffix(self, key: str, length: int) -> Awaitable[tuple[bytes, int]]:
        """
        See L{kafscale.interfaces.IObjectReader.get_suffix}.
        """


class Listed(Protocol):
    """
    One object of a listing, as L{kafscale.interfaces.ObjectInfo} is one.
    """

    @property
    def key(self) -> str:
        """
        The whole key.
        """


L = TypeVar("L", bound=Listed)
L_co = TypeVar("L_co", bound=Listed, covariant=True)


class ObjectLister(Protocol[L_co]):
    """
    Lists objects.
    """

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Awaitable[Sequence[L_co]]:
        """
        See L{kafscale.interfaces.IObjectReader.list}.
        """


async def list_objects(objects: ObjectLister[L], prefix: str, after: str = "") -> AsyncIterator[L]:
    """
    All objects whose keys begin with C{prefix} and are greater than C{after},
    in the order of their keys, page by page.

    @raise StoreUnavailable: the store did not answer.
    """
    while True:
        page = await objects.list(prefix, after, PAGE)
        for info in page:
            yield info
        if len(page) < PAGE:
            return
        after = page[-1].key


async def read_footer_of(
    objects: ObjectReader, key: str, length: int, read: Callable[[bytes, int], T | int]
) -> tuple[T, int]:
    """
    The footer of an object, and the object's size in bytes; in one request, or
    in two if the footer is longer than C{length}.

    @param length: Bytes to ask for first; enough for most footers.
    @param read: Called with the last bytes of the object and its size. Returns
        the footer, or how many bytes at the end hold it.
    @raise NoSuchObject: there is no object with this key.
    @raise UnreadableData: C{read} does not understand it.
    """
    suffix, size = await objects.get_suffix(key, length)
    try:
        found = read(suffix, size)
        if isinstance(found, int):
            suffix, size = await objects.get_suffix(key, found)
            found = read(suffix, size)
            if isinstance(found, int):
                raise CorruptObject("The footer is longer than it states")
    except UnreadableData as error:
        error.key = error.key or key
        raise
    return found, size


async def slot_footer(objects: ObjectReader, key: str) -> Sequence[Range] | Seal | None:
    """
    What a slot holds of each partition, or the seal in its place; None if there
    is no such object.

    @raise UnreadableData: the object is neither, or is damaged or newer.
    """
    try:
        held: Sequence[Range] | Seal
        held, _ = await read_footer_of(objects, key, SLOT_SUFFIX, read_slot)
    except NoSuchObject:
        return None
    return held


async def may_be_seal(objects: ObjectReader, key: str) -> bool:
    """
    Whether the object in the place of a slot is a seal, or cannot be read and might
    be one. Such an object is never deleted (rule 10).
    """
    try:
        return isinstance(await slot_footer(objects, key), Seal)
    except UnreadableData:
        return True


async def segment_footer(objects: ObjectReader, key: str) -> tuple[Footer, int]:
    """
    The footer of a segment, and the segment's size in bytes.

    @raise NoSuchObject: there is no object with this key.
    @raise UnreadableData: the object is no segment, or is damaged or newer.
    """
    return await read_footer_of(objects, key, SEGMENT_SUFFIX, read_footer)


async def volume_footer(objects: ObjectReader, key: str) -> list[VolumeRow]:
    """
    The chapters of a volume, in the order in which they are stored.

    @raise NoSuchObject: there is no object with this key.
    @raise UnreadableData: the object is no volume, or is damaged or newer.
    """
    rows, _ = await read_footer_of(objects, key, SEGMENT_SUFFIX, read_volume_footer)
    return rows


@attrs.frozen
class ChapterReader:
    """
    An L{ObjectReader} of one chapter, as if the chapter were an object. It
    reads that chapter whatever key it is given.

    @ivar objects: Reads the volume.
    @ivar volume: The key of the volume.
    @ivar position: The first byte of the chapter in it.
    @ivar size: Length of the chapter in bytes.
    """

    objects: ObjectReader
    volume: str
    position: int
    size: int

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{kafscale.interfaces.IObjectReader.get}.

        @raise CorruptObject: the volume ends before the chapter does.
        """
        left = max(0, self.size - start)
        length = left if length is None else min(length, left)
        data = bytes(await self.objects.get(self.volume, self.position + start, length))
        if len(data) < length:
            raise CorruptObject(
                f"The volume ends before byte {self.position + self.size}", self.volume
            )
        return data

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{kafscale.interfaces.IObjectReader.get_suffix}.

        @raise CorruptObject: the volume ends before the chapter does.
        """
        length = min(length, self.size)
        return await self.get(key, self.size - length, length), self.size
