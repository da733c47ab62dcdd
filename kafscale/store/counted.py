"""
Counts and times the requests to a store.

A counted store is wrapped by a retrying one (L{kafscale.store.retry}), so that
each attempt counts: the numbers show how often the store fails, and not only
how long it takes until it succeeds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import CancelledError

from kafscale.counts import OperationCounts, StoreCounts
from kafscale.errors import CommitConflict, NoSuchObject, ObjectExists
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.store.wrapping import MetadataStoreWrapper, ObjectStoreWrapper

T = TypeVar("T")

_ANSWERS = (ObjectExists, NoSuchObject, CommitConflict)
"""Errors that are answers of a store that works."""


class _Counter:
    """
    Counts the requests to one store.
    """

    def __init__(self, name: str, seconds: Callable[[], float]) -> None:
        self.counts = StoreCounts(name)
        self._seconds = seconds

    async def count(self, operation: str, request: Awaitable[T]) -> T:
        """
        Wait for a request, and return its result.
        """
        counts = self.counts.operation(operation)
        begun = self._seconds()
        token = object()
        counts.under_way[token] = begun
        try:
            answer = await request
        except _ANSWERS:
            self._ended(counts, begun, None)
            raise
        except CancelledError:
            raise  # abandoned: there is no outcome to count
        except Exception as error:
            self._ended(counts, begun, str(error) or type(error).__name__)
            raise
        finally:
            del counts.under_way[token]
        self._ended(counts, begun, None)
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


class CountedObjectStore(ObjectStoreWrapper):
    """
    An object store whose requests are counted, with the bytes that they write
    and read.

    @ivar counts: The counts, for a store with the name C{objects}.
    """

    def __init__(self, inner: IObjectStore, seconds: Callable[[], float]) -> None:
        """
        @param inner: The store that requests are passed on to.
        @param seconds: A clock that never goes back, in seconds.
        """
        super().__init__(inner)
        self._counter = _Counter("objects", seconds)
        self.counts = self._counter.counts

    def call(self, operation: str, key: str, perform: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """
        Count a request.
        """
        return self._counter.count(operation, perform())

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}.
        """
        await super().create(key, pieces)
        self.counts.operation("create").size += sum(map(len, pieces))

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        data = await super().get(key, start, length)
        self.counts.operation("get").size += len(data)
        return data

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectStore.get_suffix}.
        """
        suffix, size = await super().get_suffix(key, length)
        self.counts.operation("get_suffix").size += len(suffix)
        return suffix, size


class CountedMetadataStore(MetadataStoreWrapper):
    """
    A metadata store whose requests are counted.

    @ivar counts: The counts, for a store with the name C{metadata}.
    """

    def __init__(self, inner: IMetadataStore, seconds: Callable[[], float]) -> None:
        """
        @param inner: The store that requests are passed on to.
        @param seconds: A clock that never goes back, in seconds.
        """
        super().__init__(inner)
        self._counter = _Counter("metadata", seconds)
        self.counts = self._counter.counts

    def call(self, operation: str, key: str, perform: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """
        Count a request.
        """
        return self._counter.count(operation, perform())
