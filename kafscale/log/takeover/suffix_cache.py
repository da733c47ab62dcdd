"""
A cache of the ends of slots.

A successor walks along a journal to find its end, reads the footer of each
slot, and then the records. Most slots of a broker that flushes often are so
small that the first read has returned all of it.
"""

from __future__ import annotations

import builtins

from zope.interface import implementer

from kafscale.interfaces import IObjectReader, ObjectInfo

MAX_BYTES = 64 << 20
"""Bytes of ends in memory."""


@implementer(IObjectReader)
class SuffixCache:
    """
    Reads objects, and keeps the ends that it has read: an object never changes.
    """

    def __init__(self, store: IObjectReader) -> None:
        self._store = store
        self._room = MAX_BYTES
        self._ends: dict[str, tuple[bytes, int]] = {}

    def forget(self) -> None:
        """
        Forget all objects.
        """
        self._ends.clear()
        self._room = MAX_BYTES

    def know(self, key: str, data: bytes) -> None:
        """
        Keep all bytes of an object, which were read in another way.
        """
        if len(data) <= self._room:
            self._room -= len(data)
            self._ends[key] = data, len(data)

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectReader.get_suffix}.
        """
        end, size = self._ends.get(key, (b"", -1))
        if len(end) >= min(length, size) >= 0:
            return end[max(0, len(end) - length) :], size
        end, size = await self._store.get_suffix(key, length)
        if len(end) <= self._room:
            self._room -= len(end)
            self._ends[key] = end, size
        return end, size

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectReader.get}.
        """
        end, size = self._ends.get(key, (b"", -1))
        begin = start - (size - len(end))
        if size >= 0 and begin >= 0:
            return end[begin:] if length is None else end[begin : begin + length]
        return await self._store.get(key, start, length)

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectReader.list}.
        """
        return await self._store.list(prefix, after, limit)
