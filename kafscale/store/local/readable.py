"""
Objects as files below one directory: the part that only reads.

By itself it changes nothing there, so it can look at what another process
writes. A file that has a name is whole, but the name may be younger than the
last sync: it may be gone after a power loss.
"""

from __future__ import annotations

import builtins
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kafscale.errors import NoSuchObject, StoreUnavailable
from kafscale.interfaces import ObjectInfo
from kafscale.store.keys import check_key, check_prefix, check_range, is_part
from kafscale.store.local import direct


class ReadableFiles:
    """
    A directory of objects. Every method blocks, and may be called from
    several threads at once.
    """

    def __init__(self, root: str) -> None:
        self._root = os.path.abspath(root)

    def read(self, key: str, start: int, length: int | None) -> bytes:
        """
        See L{kafscale.interfaces.IObjectStore.get}.
        """
        check_range(start, length)
        with self._opened(key) as (file, size):
            end = size if length is None else min(size, start + length)
            return direct.read(file, start, end - start) if start < end else b""

    def read_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{kafscale.interfaces.IObjectStore.get_suffix}.
        """
        check_range(0, length)
        with self._opened(key) as (file, size):
            length = min(length, size)
            return (direct.read(file, size - length, length) if length else b""), size

    def list(self, prefix: str, after: str, limit: int) -> builtins.list[ObjectInfo]:
        """
        See L{kafscale.interfaces.IObjectStore.list}.

        Only directories that can hold such keys are read, one at a time.
        """
        check_prefix(prefix)
        found: builtins.list[ObjectInfo] = []
        with unavailable(prefix):
            walk = self._walk(prefix[: prefix.rfind("/") + 1], prefix, after)
            while len(found) < limit and (info := next(walk, None)) is not None:
                found.append(info)
            for directory in {os.path.dirname(self._path(info.key)) for info in found}:
                self._settle(directory)
        return found

    # Names

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _settle(self, directory: str) -> None:
        """
        Called before somebody is told of a name in C{directory}.
        """

    # Reading

    @contextmanager
    def _opened(self, key: str) -> Iterator[tuple[int, int]]:
        """
        The open file of an object, and its size.
        """
        path = self._path(key)
        with unavailable(key):
            try:
                file = os.open(path, os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                raise NoSuchObject(key) from None
            try:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode):
                    raise NoSuchObject(key)
                self._settle(os.path.dirname(path))
                yield file, found.st_size
            finally:
                os.close(file)

    def _walk(self, base: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """
        The objects below the directory C{base}, which ends in a slash or is
        empty, in the order of their keys.
        """
        try:
            with os.scandir(os.path.join(self._root, base)) as entries:
                found = [
                    # A directory sorts as its keys do: with the slash.
                    (f"{base}{entry.name}/" if entry.is_dir() else f"{base}{entry.name}", entry)
                    for entry in entries
                    if is_part(entry.name)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return
        wanted = [(key, entry) for key, entry in found if _may_hold(key, prefix, after)]
        wanted.sort(key=lambda pair: pair[0])
        for key, entry in wanted:
            if key.endswith("/"):
                yield from self._walk(key, prefix, after)
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    yield ObjectInfo(key, entry.stat().st_size)


def _may_hold(key: str, prefix: str, after: str) -> bool:
    """
    Whether C{key}, or a key below it if it ends in a slash, is wanted.
    """
    if key.endswith("/"):
        return (key.startswith(prefix) or prefix.startswith(key)) and (
            key > after or after.startswith(key)
        )
    return key.startswith(prefix) and key > after


@contextmanager
def unavailable(key: str) -> Iterator[None]:
    """
    What the system refuses (no space, a failing disk) may work later.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{key}: {error.strerror or error}") from error
