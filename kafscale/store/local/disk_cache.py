"""
What was read from a bucket, kept on a disk for the next time.

Parts of objects that never change are kept as files, up to a number of bytes;
those that were not asked for longest go first. Nothing depends on them: a file
that is not whole is not believed, what cannot be written is not kept, and the
directory may be emptied at any time while no broker uses it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import OrderedDict
from contextlib import suppress

from crc32c import crc32c
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from kafscale.errors import SettingError
from kafscale.interfaces import IObjectReader
from kafscale.store.blocking import RunBlocking
from kafscale.store.local.directory import lock_directory
from kafscale.store.wrapping import ObjectReaderWrapper

FILES = "runs"
"""Where in the directory they are."""

WRITES = 8
"""How many are written at a time; what comes meanwhile is not kept."""

_END = struct.Struct(">I")  # the CRC-32C of what is before
_UNFINISHED = ".new"


class DiskCache(ObjectReaderWrapper):
    """
    Parts of the objects of one bucket, in one directory, for one process.

    @ivar size: Bytes of the files.
    @ivar hits: How many parts were asked for and there.
    @ivar misses: How many were not.
    """

    _log = Logger()

    def __init__(
        self,
        directory: str,
        max_bytes: int,
        where: str,
        inner: IObjectReader,
        read_blocking: RunBlocking,
        write_blocking: RunBlocking,
    ) -> None:
        """
        @param where: Names the bucket: a directory may have served another one.
        @param inner: Asked for what is not there.
        @param write_blocking: Does the writing: reads do not wait for it.

        @raise SettingError: nothing can be kept in the directory, or another
            broker uses it.
        """
        super().__init__(inner)
        self._lock = lock_directory(directory)
        self._folder = os.path.join(directory, FILES)
        self._max_bytes = max_bytes
        self._where = where
        self._read_blocking = read_blocking
        self._write_blocking = write_blocking
        self._files: OrderedDict[str, int] = OrderedDict()  # sizes; used longest ago first
        self._writing: set[str] = set()
        self._failing = False
        self.size = self.hits = self.misses = 0
        try:
            os.makedirs(self._folder, exist_ok=True)
            self._find()
        except OSError as error:
            reason = error.strerror or error
            raise SettingError(f"cannot keep a cache in {directory}: {reason}") from error

    def _find(self) -> None:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(_UNFINISHED):
                    os.unlink(entry.path)
                else:
                    status = entry.stat()
                    found.append((status.st_mtime_ns, entry.name, status.st_size))
        for _, name, size in sorted(found):
            self._files[name] = size
            self.size += size
        _remove([os.path.join(self._folder, name) for name in self._surplus()])

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectReader.get}. The rest of an object, without a length, is
        not kept.
        """
        if length is None:
            return await self.inner.get(key, start)
        place = f"{self._where}\n{key}\n{start}\n{length}"
        name = hashlib.blake2b(place.encode(), digest_size=20).hexdigest()
        if name in self._files:
            self._files.move_to_end(name)
            data = await self._read_blocking(_read, os.path.join(self._folder, name), length)
            if data is not None:
                self.hits += 1
                return data
            self.size -= self._files.pop(name, 0)
        self.misses += 1
        data = await self.inner.get(key, start, length)
        if name not in self._writing and len(self._writing) < WRITES:
            self._writing.add(name)
            Deferred.fromCoroutine(self._keep(name, data))
        return data

    async def _keep(self, name: str, data: bytes) -> None:
        path = os.path.join(self._folder, name)
        try:
            await self._write_blocking(_write, path, data)
        except OSError as error:
            if not self._failing:
                self._log.warn(
                    "nothing is kept in the cache {folder}: {reason}",
                    folder=self._folder,
                    reason=error.strerror or error,
                )
            self._failing = True
        else:
            self._failing = False
            self.size -= self._files.pop(name, 0)
            self._files[name] = len(data) + _END.size
            self.size += self._files[name]
            gone = [os.path.join(self._folder, each) for each in self._surplus()]
            if gone:
                await self._write_blocking(_remove, gone)
        finally:
            self._writing.discard(name)

    def _surplus(self) -> list[str]:
        """
        Forget the files for which there is no room.
        """
        gone = []
        while self.size > self._max_bytes:
            name, size = self._files.popitem(last=False)
            self.size -= size
            gone.append(name)
        return gone

    def close(self) -> None:
        """
        Another broker may use the directory.
        """
        self._lock.close()


def _read(path: str, length: int) -> bytes | None:
    """
    What was kept; None if that is not what is there.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(length)
            end = file.read(_END.size + 1)
    except OSError:
        return None
    if end != _END.pack(crc32c(data)):
        _remove([path])
        return None
    return data


def _write(path: str, data: bytes) -> None:
    unfinished = path + _UNFINISHED
    try:
        with open(unfinished, "wb") as file:
            file.write(data)
            file.write(_END.pack(crc32c(data)))
        os.replace(unfinished, path)
    except OSError:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def _remove(paths: list[str]) -> None:
    for path in paths:
        with suppress(OSError):
            os.unlink(path)
