"""
Keeps parts of a bucket's objects on a local disk.

Each part that was read is kept in a file, up to a total number of bytes; the
least recently used parts are evicted. Objects never change, so parts never get
stale. Nothing depends on the files: a file that is not whole is not used, a part
that cannot be written is not kept, and the directory may be emptied whenever no
broker uses it.

A file has the bytes of the part, followed by their CRC-32C (4 bytes, big-endian).
Its name is a hash of the bucket, the object's key and the range.
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
"""The subdirectory that has the files."""

WRITES = 8
"""How many files are written at once. Parts that are read meanwhile are not kept."""

_END = struct.Struct(">I")  # the CRC-32C of the bytes before it
_UNFINISHED = ".new"
"""The end of the name of a file that is being written."""


class DiskCache(ObjectReaderWrapper):
    """
    Reads objects of one bucket, and keeps parts of them in one directory, for
    one process.

    @ivar size: The total size of the files in bytes.
    @ivar hits: How many reads were served from a file.
    @ivar misses: How many reads were not.
    """

    _log = Logger()

    def __init__(
        self,
        directory: str,
        max_bytes: int,
        bucket: str,
        inner: IObjectReader,
        read_blocking: RunBlocking,
        write_blocking: RunBlocking,
    ) -> None:
        """
        @param directory: The directory, which is made if need be.
        @param max_bytes: The maximum total size of the files.
        @param bucket: Identifies the bucket: parts of other buckets, which an
            earlier process left in the directory, are not used.
        @param inner: Reads objects that are not in the cache.
        @param read_blocking: Runs the reading of files.
        @param write_blocking: Runs the writing of files. It has threads of its
            own, so that reads do not wait for writes.
        @raise SettingError: the directory cannot be used, or another broker uses
            it.
        """
        super().__init__(inner)
        self._lock = lock_directory(directory)
        self._folder = os.path.join(directory, FILES)
        self._max_bytes = max_bytes
        self._bucket = bucket
        self._read_blocking = read_blocking
        self._write_blocking = write_blocking
        self._files: OrderedDict[str, int] = OrderedDict()  # sizes; used longest ago first
        self._writing: set[str] = set()
        self._failing = False
        self.size = self.hits = self.misses = 0
        try:
            os.makedirs(self._folder, exist_ok=True)
            self._find_files()
        except OSError as error:
            reason = error.strerror or error
            raise SettingError(f"cannot use the directory {directory}: {reason}") from error

    def _find_files(self) -> None:
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
        _remove([os.path.join(self._folder, name) for name in self._evict()])

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectReader.get}. A part that is read without a length is not
        kept.
        """
        if length is None:
            return await self.inner.get(key, start)
        place = f"{self._bucket}\n{key}\n{start}\n{length}"
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
                    "could not write to the disk cache {folder}, reading from the bucket"
                    " instead: {reason}",
                    folder=self._folder,
                    reason=error.strerror or error,
                )
            self._failing = True
        else:
            self._failing = False
            self.size -= self._files.pop(name, 0)
            self._files[name] = len(data) + _END.size
            self.size += self._files[name]
            gone = [os.path.join(self._folder, each) for each in self._evict()]
            if gone:
                await self._write_blocking(_remove, gone)
        finally:
            self._writing.discard(name)

    def _evict(self) -> list[str]:
        """
        Take the least recently used files out of the count, until the others fit
        into the cache. Return their names, for the caller to delete.
        """
        gone = []
        while self.size > self._max_bytes:
            name, size = self._files.popitem(last=False)
            self.size -= size
            gone.append(name)
        return gone

    def close(self) -> None:
        """
        Release the directory: another broker may use it from now on.
        """
        self._lock.close()


def _read(path: str, length: int) -> bytes | None:
    """
    The part in a file; None if the file is missing or not whole.
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
