"""
Stores that pass each call on to another store, and do something about it.

A wrapper overrides L{ObjectReaderWrapper.call} or L{MetadataStoreWrapper.call},
which is where every call passes, or single methods.
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from zope.interface import implementer

from kafscale.interfaces import (
    Change,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    IObjectReader,
    IObjectStore,
    IWatch,
    ObjectInfo,
    Put,
)

T = TypeVar("T")


@implementer(IObjectReader)
class ObjectReaderWrapper:
    """
    Reads objects through another reader.

    @ivar inner: That reader.
    """

    def __init__(self, inner: IObjectReader) -> None:
        """
        @param inner: The reader that calls are passed on to.
        """
        self.inner = inner

    def call(self, operation: str, key: str, perform: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """
        Pass one call on. For a wrapper to override.

        @param operation: The name of the method that was called.
        @param key: The key or prefix that it was called with; the first of
            several.
        @param perform: Calls the same method of the inner store. It may be
            called several times.
        """
        return perform()

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectReader.get}.
        """
        return await self.call("get", key, lambda: self.inner.get(key, start, length))

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectReader.get_suffix}.
        """
        return await self.call("get_suffix", key, lambda: self.inner.get_suffix(key, length))

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectReader.list}.
        """
        return await self.call("list", prefix, lambda: self.inner.list(prefix, after, limit))


@implementer(IObjectStore)
class ObjectStoreWrapper(ObjectReaderWrapper):
    """
    An object store that passes its calls on to another one.
    """

    inner: IObjectStore

    def __init__(self, inner: IObjectStore) -> None:
        """
        @param inner: The store that calls are passed on to.
        """
        super().__init__(inner)

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}.
        """
        await self.call("create", key, lambda: self.inner.create(key, pieces))

    async def delete(self, keys: Sequence[str]) -> None:
        """
        See L{IObjectStore.delete}.
        """
        first = keys[0] if keys else ""
        await self.call("delete", first, lambda: self.inner.delete(keys))

    async def close(self) -> None:
        """
        See L{IObjectStore.close}. Closes the inner store, and bypasses C{call}.
        """
        await self.inner.close()


@implementer(IMetadataStore)
class MetadataStoreWrapper:
    """
    A metadata store that passes its calls on to another one.

    @ivar inner: That store.
    """

    def __init__(self, inner: IMetadataStore) -> None:
        """
        @param inner: The store that calls are passed on to.
        """
        self.inner = inner

    def call(self, operation: str, key: str, perform: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """
        Pass one call on. For a wrapper to override.

        @param operation: The name of the method that was called.
        @param key: The key or prefix that it was called with, the key of the
            first compare of C{holds} or of the first operation of a commit; empty
            for leases and C{catch_up}.
        @param perform: Calls the same method of the inner store. It may be
            called several times.
        """
        return perform()

    async def get(self, key: str) -> Entry | None:
        """
        See L{IMetadataStore.get}.
        """
        return await self.call("get", key, lambda: self.inner.get(key))

    async def range(self, prefix: str) -> tuple[list[Entry], int]:
        """
        See L{IMetadataStore.range}.
        """
        return await self.call("range", prefix, lambda: self.inner.range(prefix))

    async def holds(self, compares: Sequence[Compare]) -> bool:
        """
        See L{IMetadataStore.holds}.
        """
        return await self.call("holds", compares[0].key, lambda: self.inner.holds(compares))

    async def commit(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int:
        """
        See L{IMetadataStore.commit}.
        """
        first = operations[0].key if operations else ""
        return await self.call("commit", first, lambda: self.inner.commit(compares, operations))

    async def watch(
        self, prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> IWatch:
        """
        See L{IMetadataStore.watch}.
        """
        return await self.call("watch", prefix, lambda: self.inner.watch(prefix, revision, changed))

    async def catch_up(self, watch: IWatch) -> int:
        """
        See L{IMetadataStore.catch_up}.
        """
        return await self.call("catch_up", "", lambda: self.inner.catch_up(watch))

    async def lease(self, seconds: float) -> int:
        """
        See L{IMetadataStore.lease}.
        """
        return await self.call("lease", "", lambda: self.inner.lease(seconds))

    async def revoke(self, lease: int) -> None:
        """
        See L{IMetadataStore.revoke}.
        """
        await self.call("revoke", "", lambda: self.inner.revoke(lease))

    async def close(self) -> None:
        """
        See L{IMetadataStore.close}. Closes the inner store, and bypasses C{call}.
        """
        await self.inner.close()
