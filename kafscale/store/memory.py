"""
An object store in memory, for a broker that keeps nothing and for tests.

Each method does its work before it waits for anything, so tests know the order
of operations.
"""

from __future__ import annotations

import builtins
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from zope.interface import implementer

from kafscale.errors import NoSuchObject, ObjectExists
from kafscale.interfaces import IObjectStore, ObjectInfo
from kafscale.store.checks import check_key, check_prefix, check_range


@implementer(IObjectStore)
class MemoryObjectStore:
    """
    Keeps objects in a dictionary.
    """

    def __init__(self) -> None:
        """
        Begin without objects.
        """
        self._objects: dict[str, bytes] = {}
        self._keys: builtins.list[str] = []  # sorted

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}.
        """
        if check_key(key) in self._objects:
            raise ObjectExists(key)
        self._objects[key] = b"".join(pieces)
        insort(self._keys, key)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        check_range(start, length)
        data = self._object(key)
        return data[start : None if length is None else start + length]

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectStore.get_suffix}.
        """
        check_range(0, length)
        data = self._object(key)
        return data[max(0, len(data) - length) :], len(data)

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectStore.list}.
        """
        check_prefix(prefix)
        at = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        found: builtins.list[ObjectInfo] = []
        for key in self._keys[at : at + max(0, limit)]:
            if not key.startswith(prefix):
                break
            found.append(ObjectInfo(key, len(self._objects[key])))
        return found

    async def delete(self, keys: Sequence[str]) -> None:
        """
        See L{IObjectStore.delete}.
        """
        for key in keys:
            if self._objects.pop(check_key(key), None) is not None:
                del self._keys[bisect_left(self._keys, key)]

    async def close(self) -> None:
        """
        See L{IObjectStore.close}.
        """

    def _object(self, key: str) -> bytes:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise NoSuchObject(key) from None
