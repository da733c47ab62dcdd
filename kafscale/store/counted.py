"""
What stores are asked, counted.

Below `kafscale.store.retry`, so that every attempt counts: how often a store
fails shows here, and not only how long it takes until it answers.
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import CancelledError
from zope.interface import implementer

from kafscale.counts import OperationCounts, StoreCounts
from kafscale.errors import CommitConflict, NoSuchObject, ObjectExists
from kafscale.interfaces import (
    Change,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    IObjectStore,
    IWatch,
    ObjectInfo,
    Put,
)

T = TypeVar("T")

_ANSWERS = (ObjectExists, NoSuchObject, CommitConflict)
"""Who says this has answered."""


class _Counting:
    """
    Counts operations of one store.
    """

    def __init__(self, name: str, seconds: Callable[[], float]) -> None:
        self.counts = StoreCounts(name)
        self._seconds = seconds

    async def __call__(self, operation: str, call: Awaitable[T], size: int = 0) -> T:
        """
        What C{call} answers.

        @param size: Bytes that are written.
        """
        counts = self.counts.operation(operation)
        begun = self._seconds()
        token = object()
        counts.under_way[token] = begun
        try:
            answer = await call
        except _ANSWERS:
            self._ended(counts, begun, None)
            raise
        except CancelledError:
            raise  # given up: there is no outcome
        except Exception as error:
            self._ended(counts, begun, str(error) or type(error).__name__)
            raise
        finally:
            del counts.under_way[token]
        self._ended(counts, begun, None)
        counts.size += size
        return answer

    def _ended(self, counts: OperationCounts, begun: float, failure: str | None) -> None:
        now = self._seconds()
        counts.done += 1
        counts.seconds.add(now - begun)
        counts.failure = failure
        if failure is None:
            self.counts.answered_at = now
        else:
            counts.errors += 1
            counts.failed_at = now


@implementer(IObjectStore)
class CountedObjectStore:
    """
    An object store, and what it is asked.

    @ivar counts: The store's name in them is C{objects}.
    """

    def __init__(self, store: IObjectStore, seconds: Callable[[], float]) -> None:
        """
        @param seconds: A clock that never goes back.
        """
        self._store = store
        self._count = _Counting("objects", seconds)
        self.counts = self._count.counts

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}.
        """
        size = sum(map(len, pieces))
        await self._count("create", self._store.create(key, pieces), size)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        found = await self._count("get", self._store.get(key, start, length))
        self.counts.operation("get").size += len(found)
        return found

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectStore.get_suffix}.
        """
        found = await self._count("get_suffix", self._store.get_suffix(key, length))
        self.counts.operation("get_suffix").size += len(found[0])
        return found

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectStore.list}.
        """
        return await self._count("list", self._store.list(prefix, after, limit))

    async def delete(self, keys: Sequence[str]) -> None:
        """
        See L{IObjectStore.delete}.
        """
        await self._count("delete", self._store.delete(keys))

    async def close(self) -> None:
        """
        See L{IObjectStore.close}.
        """
        await self._store.close()


@implementer(IMetadataStore)
class CountedMetadataStore:
    """
    A metadata store, and what it is asked.

    @ivar counts: The store's name in them is C{metadata}.
    """

    def __init__(self, store: IMetadataStore, seconds: Callable[[], float]) -> None:
        """
        @param seconds: A clock that never goes back.
        """
        self._store = store
        self._count = _Counting("metadata", seconds)
        self.counts = self._count.counts

    async def get(self, key: str) -> Entry | None:
        """
        See L{IMetadataStore.get}.
        """
        return await self._count("get", self._store.get(key))

    async def range(self, prefix: str) -> tuple[list[Entry], int]:
        """
        See L{IMetadataStore.range}.
        """
        return await self._count("range", self._store.range(prefix))

    async def commit(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int:
        """
        See L{IMetadataStore.commit}.
        """
        return await self._count("commit", self._store.commit(compares, operations))

    async def watch(
        self, prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> IWatch:
        """
        See L{IMetadataStore.watch}.
        """
        return await self._count("watch", self._store.watch(prefix, revision, changed))

    async def lease(self, seconds: float) -> int:
        """
        See L{IMetadataStore.lease}.
        """
        return await self._count("lease", self._store.lease(seconds))

    async def revoke(self, lease: int) -> None:
        """
        See L{IMetadataStore.revoke}.
        """
        await self._count("revoke", self._store.revoke(lease))

    async def close(self) -> None:
        """
        See L{IMetadataStore.close}.
        """
        await self._store.close()
