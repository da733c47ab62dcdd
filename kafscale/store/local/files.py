"""
Objects as files below one directory: the blocking part of the local store.

All that is returned is durable. That takes care, because a file exists before
its name is durable, and so does a directory:

    - An object is linked to its name only after its bytes were synced. So a
      name always stands for a whole object.
    - The name is synced before C{create} returns, and before any reader sees
      it: a reader may act on what it saw.
    - A directory is synced into its parent before anything in it counts. Empty
      directories are removed, which must not happen in between.
"""

from __future__ import annotations

import builtins
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from kafscale.errors import NoSuchObject, ObjectExists, SettingError, StoreUnavailable
from kafscale.interfaces import ObjectInfo
from kafscale.store.checks import check_key, check_prefix, check_range, is_part
from kafscale.store.local import file_io
from kafscale.store.local.directory import make_directory, sync_directory

LARGE = 256 * 1024
"""The size in bytes from which objects are written with direct I/O."""

TEMPORARY = ".tmp"
"""The directory of files that are not complete. No key has a part of this name,
because it begins with a dot."""

REMEMBERED = 16384
"""How many directories are remembered as durable."""


class ObjectFileReader:
    """
    Reads a directory of objects. Every method blocks, and may be called from
    several threads at once.

    It changes nothing in the directory, so it can be used while another process
    writes there. A file with a name is complete, but its name may not be synced
    yet, and be gone after a power loss.
    """

    def __init__(self, root: str) -> None:
        """
        @param root: The directory.
        """
        self._root = os.path.abspath(root)

    def read(self, key: str, start: int, length: int | None) -> bytes:
        """
        See L{kafscale.interfaces.IObjectReader.get}.
        """
        check_range(start, length)
        with self._opened(key) as (file, size):
            end = size if length is None else min(size, start + length)
            return file_io.read(file, start, end - start) if start < end else b""

    def read_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{kafscale.interfaces.IObjectReader.get_suffix}.
        """
        check_range(0, length)
        with self._opened(key) as (file, size):
            length = min(length, size)
            return (file_io.read(file, size - length, length) if length else b""), size

    def list(self, prefix: str, after: str, limit: int) -> builtins.list[ObjectInfo]:
        """
        See L{kafscale.interfaces.IObjectReader.list}. Reads only directories
        that can contain such keys, one after the other.
        """
        check_prefix(prefix)
        found: builtins.list[ObjectInfo] = []
        with _unavailable(prefix):
            walk = self._walk(prefix[: prefix.rfind("/") + 1], prefix, after)
            while len(found) < limit and (info := next(walk, None)) is not None:
                found.append(info)
            for directory in {os.path.dirname(self._path(info.key)) for info in found}:
                self._sync_names(directory)
        return found

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _sync_names(self, directory: str) -> None:
        """
        Called before a name in C{directory} is reported. For subclasses.
        """

    @contextmanager
    def _opened(self, key: str) -> Iterator[tuple[int, int]]:
        """
        Open the file of an object: its file descriptor, and its size in bytes.
        """
        path = self._path(key)
        with _unavailable(key):
            try:
                file = os.open(path, os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                raise NoSuchObject(key) from None
            try:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode):
                    raise NoSuchObject(key)
                self._sync_names(os.path.dirname(path))
                yield file, found.st_size
            finally:
                os.close(file)

    def _walk(self, base: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """
        The objects below a directory, in the order of their keys.

        @param base: The directory, which ends with a slash or is empty.
        """
        try:
            with os.scandir(os.path.join(self._root, base)) as entries:
                found = [
                    # A directory sorts as its keys do: with a slash.
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
                    found_file = entry.stat()
                    yield ObjectInfo(key, found_file.st_size, found_file.st_mtime)


class ObjectFiles(ObjectFileReader):
    """
    Writes a directory of objects. Every method blocks, and may be called from
    several threads at once. No other process may write to the directory.

    @ivar writes_directly: Whether large objects are written with direct I/O.
    """

    def __init__(self, root: str) -> None:
        """
        @param root: The directory, which is made if need be.
        @raise SettingError: the directory cannot be used.
        """
        super().__init__(root)
        self._temporary = os.path.join(self._root, TEMPORARY)
        self._staging = file_io.Staging()
        self._lock = threading.Lock()
        self._count = 0  # of temporary files that were ever made
        self._removals = 0  # of directories that were ever removed
        self._durable: dict[str, None] = {}  # durable directories, oldest first
        self._synced: dict[str, None] = {}  # those in which all names are durable, too
        self._linking: dict[str, int] = {}  # those in which some names may not be
        self._reserved: dict[str, int] = {}  # the same, for `reserve`
        try:
            self._open()
        except OSError as error:
            raise SettingError(
                f"cannot use the directory {self._root}: {error.strerror or error}"
            ) from error

    def _open(self) -> None:
        make_directory(self._root)
        os.makedirs(self._temporary, exist_ok=True)
        for name in os.listdir(self._temporary):
            os.unlink(os.path.join(self._temporary, name))
        self.writes_directly = file_io.can_write_directly(self._new_temporary())

    def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{kafscale.interfaces.IObjectStore.create}.
        """
        path = self._path(key)
        with _unavailable(key):
            if os.path.lexists(path):  # spares the writing; the link below decides
                self._raise_exists(key, path)
            temporary = self._new_temporary()
            try:
                if self.writes_directly and sum(map(len, pieces)) >= LARGE:
                    file_io.write_directly(temporary, pieces, self._staging)
                else:
                    file_io.write_buffered(temporary, pieces)
                self._link(temporary, key, path)
            finally:
                with suppress(OSError):
                    os.unlink(temporary)

    def reserve(
        self, key: str, pieces: Sequence[bytes | memoryview]
    ) -> tuple[str, str, str] | None:
        """
        Prepare a small object to be created elsewhere than in L{create}. Does not block.
        This and L{release} are called in one thread only.

        @return: The paths of a temporary file, of the object, and of its directory, which
            is durable and stays until L{release}. None if that takes what may block: then
            it is for L{create}.
        """
        path = self._path(key)
        directory = os.path.dirname(path)
        if sum(map(len, pieces)) >= LARGE or not self._lock.acquire(blocking=False):
            return None
        try:
            if directory not in self._durable:
                return None
            self._reserved[directory] = self._reserved.get(directory, 0) + 1
            self._count += 1
            return os.path.join(self._temporary, str(self._count)), path, directory
        finally:
            self._lock.release()

    def release(self, directory: str, error: int) -> None:
        """
        End what L{reserve} began.

        @param error: The C{errno} of what failed, or 0.
        """
        if error:
            self._synced.pop(directory, None)
        # Without the lock: a thread that does not see this yet is only more careful.
        self._reserved[directory] -= 1
        if not self._reserved[directory]:
            del self._reserved[directory]

    def delete(self, keys: Sequence[str]) -> None:
        """
        See L{kafscale.interfaces.IObjectStore.delete}. Nothing is synced: after
        a power loss a deleted object may be there again, which does no harm:
        whatever deletes it begins anew.
        """
        directories = set()
        for key in keys:
            path = self._path(key)
            directories.add(os.path.dirname(path))
            # A directory belongs to other objects.
            gone = suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError)
            with _unavailable(key), gone:
                os.unlink(path)
        for directory in directories:
            self._remove_if_empty(directory)

    # -- names ------------------------------------------------------------------

    def _new_temporary(self) -> str:
        with self._lock:
            self._count += 1
            return os.path.join(self._temporary, str(self._count))

    def _link(self, temporary: str, key: str, path: str) -> None:
        """
        Link a complete temporary file to the name of its object, durably.

        @raise ObjectExists: there is an object with this name.
        """
        directory = os.path.dirname(path)
        while True:
            self._make_durable(directory)
            with self._lock:
                # No directory is removed while the lock is held: the link goes
                # into the directory that was found durable just now.
                if directory not in self._durable:
                    continue
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    break
                except FileNotFoundError:
                    if not os.path.exists(temporary):
                        raise
                    self._durable.pop(directory)  # another process removed it
                    continue
                self._linking[directory] = self._linking.get(directory, 0) + 1
            try:
                sync_directory(directory)
                return
            except OSError:
                with self._lock:
                    self._synced.pop(directory, None)
                raise
            finally:
                with self._lock:
                    self._linking[directory] -= 1
                    if not self._linking[directory]:
                        del self._linking[directory]
        self._raise_exists(key, path)

    def _raise_exists(self, key: str, path: str) -> None:
        if os.path.isdir(path):
            raise ValueError(f"other objects have keys below {key!r}")
        self._sync_names(os.path.dirname(path))
        raise ObjectExists(key)

    # -- durable directories ----------------------------------------------------

    def _make_durable(self, directory: str) -> None:
        """
        Make C{directory} if need be, and make sure that it is durable.
        """
        while directory != self._root and directory not in self._durable:
            parent = os.path.dirname(directory)
            self._make_durable(parent)
            removals = self._removals
            try:
                try:
                    os.mkdir(directory)
                except FileExistsError:
                    if os.path.isfile(directory):
                        raise ValueError(f"an object is where {directory} should be") from None
                sync_directory(parent)
            except FileNotFoundError:  # the parent was removed
                with self._lock:
                    self._durable.pop(parent, None)
                if parent == self._root:
                    raise
                continue
            with self._lock:
                # A directory that was removed meanwhile may be this one, made
                # again by another thread that has not synced it yet.
                if removals == self._removals:
                    _remember(self._durable, directory)
        if directory == self._root:
            self._durable[directory] = None

    def _sync_names(self, directory: str) -> None:
        """
        Make the names in C{directory} durable before one of them is reported.
        The thread that made a name may not have synced it yet, or the process
        that did may have died before it could.
        """
        if directory in self._synced and self._is_quiet(directory):
            return
        with suppress(FileNotFoundError):
            if directory not in self._durable:
                os.stat(directory)  # raises if it was removed: it is not made again
                self._make_durable(directory)
            with self._lock:
                quiet = self._is_quiet(directory)
            sync_directory(directory)
            if quiet:
                with self._lock:
                    _remember(self._synced, directory)

    def _is_quiet(self, directory: str) -> bool:
        return directory not in self._linking and directory not in self._reserved

    def _remove_if_empty(self, directory: str) -> None:
        while directory != self._root:
            with self._lock:
                if directory in self._reserved:
                    return  # it will not be empty
                try:
                    os.rmdir(directory)
                except OSError:
                    return  # not empty, or already removed
                self._removals += 1
                self._durable.pop(directory, None)
                self._synced.pop(directory, None)
            directory = os.path.dirname(directory)


def _remember(directories: dict[str, None], directory: str) -> None:
    directories[directory] = None
    if len(directories) > REMEMBERED:
        del directories[next(iter(directories))]


def _may_hold(key: str, prefix: str, after: str) -> bool:
    """
    Whether C{key} is wanted; if it ends with a slash, whether a key below it
    may be.
    """
    if key.endswith("/"):
        return (key.startswith(prefix) or prefix.startswith(key)) and (
            key > after or after.startswith(key)
        )
    return key.startswith(prefix) and key > after


@contextmanager
def _unavailable(key: str) -> Iterator[None]:
    """
    Raise StoreUnavailable for errors of the operating system, such as a full
    disk: the same call may succeed later.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{key}: {error.strerror or error}") from error
