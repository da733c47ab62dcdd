"""
An object store in a directory of this machine.

L{kafscale.store.local.files} does the blocking work, which this module sends to
where it may block.
"""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from kafscale.errors import StoreUnavailable
from kafscale.interfaces import IObjectReader, IObjectStore, ObjectInfo
from kafscale.store.blocking import RunBlocking
from kafscale.store.local.creation import Creation
from kafscale.store.local.files import ObjectFileReader, ObjectFiles

_P = ParamSpec("_P")
_T = TypeVar("_T")

_NOT_DECIDED = (errno.EEXIST, errno.ENOENT, errno.ENOTDIR)
"""Errors after which L{ObjectFiles.create} finds out why there is no new object, or
makes its directory again."""


@implementer(IObjectStore)
class LocalObjectStore:
    """
    Objects below one directory, which no other process may write to.

    To create a key that is the directory of another raises C{ValueError}, as
    does a key below the one of an object.
    """

    def __init__(
        self, directory: str, run_blocking: RunBlocking, creation: Creation | None = None
    ) -> None:
        """
        @param directory: The directory, which is made if need be.
        @param run_blocking: Runs the reading and writing. With several threads,
            several objects are read and written at once.
        @param creation: Creates small objects; None if C{run_blocking} does.
        @raise SettingError: the directory cannot be used.
        """
        self._files = ObjectFiles(directory)
        self._run_blocking = run_blocking
        self._creation = creation
        self._closed = False
        self._under_way = 0
        self._idle: Deferred[None] | None = None  # while close waits

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}.
        """
        with self._call():
            if not await self._create_small(key, pieces):
                await self._run_blocking(self._files.create, key, pieces)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        return await self._run(self._files.read, key, start, length)

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectStore.get_suffix}.
        """
        return await self._run(self._files.read_suffix, key, length)

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectStore.list}.
        """
        return await self._run(self._files.list, prefix, after, limit)

    async def delete(self, keys: Sequence[str]) -> None:
        """
        See L{IObjectStore.delete}.
        """
        await self._run(self._files.delete, keys)

    async def close(self) -> None:
        """
        See L{IObjectStore.close}. Waits for the calls that are in progress.
        """
        self._closed = True
        if self._under_way:
            self._idle = Deferred()
            await self._idle
        creation, self._creation = self._creation, None
        if creation is not None:
            creation.close()

    async def _create_small(self, key: str, pieces: Sequence[bytes | memoryview]) -> bool:
        """
        Return whether an object could be created in the short way.
        """
        if self._creation is None:
            return False
        reserved = self._files.reserve(key, pieces)
        if reserved is None:
            return False
        done: Deferred[int] = Deferred()

        def ended(error: int) -> None:
            self._files.release(reserved[2], error)
            done.callback(error)
            self._left()

        self._under_way += 1  # until the thread has ended, even if this call is cancelled
        try:
            self._creation.create(*reserved, pieces, ended)
        except (TypeError, BufferError):
            self._files.release(reserved[2], 0)
            self._left()
            raise
        error = await done
        if error and error not in _NOT_DECIDED:
            raise StoreUnavailable(f"{key}: {os.strerror(error)}")
        return not error

    async def _run(
        self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        with self._call():
            return await self._run_blocking(function, *args, **kwargs)

    @contextmanager
    def _call(self) -> Iterator[None]:
        if self._closed:
            raise StoreUnavailable("the object store is closed")
        self._under_way += 1
        try:
            yield
        finally:
            self._left()

    def _left(self) -> None:
        self._under_way -= 1
        if self._idle is not None and not self._under_way:
            self._idle.callback(None)


@implementer(IObjectReader)
class LocalObjectReader:
    """
    Reads the objects of a L{LocalObjectStore} that another process may have
    open. Its methods block.
    """

    def __init__(self, directory: str) -> None:
        """
        @param directory: The directory of that store.
        """
        self._files = ObjectFileReader(directory)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        return self._files.read(key, start, length)

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectStore.get_suffix}.
        """
        return self._files.read_suffix(key, length)

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectStore.list}.
        """
        return self._files.list(prefix, after, limit)
