"""
Objects as files below one directory: the blocking part of the local store.

What is answered is durable. That takes some care, because a file has a name
before the name is durable, and a directory likewise:

  - an object gets its name by C{link} only after its bytes were synced, so a
    name stands for a whole object at every moment;
  - the name is synced before C{create} returns, and before somebody else is
    told of it: a reader may act on what it saw;
  - a directory is synced into its parent before anything in it counts, and
    empty ones are removed, which must not happen between.
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

#: From this size on, objects are written past the page cache.
LARGE = 256 * 1024

#: Names that no key's part has, because it begins with a dot.
TEMPORARY = ".tmp"

#: How many directories are remembered as durable.
REMEMBERED = 16384


class ObjectFileReader:
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
            return file_io.read(file, start, end - start) if start < end else b""

    def read_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{kafscale.interfaces.IObjectStore.get_suffix}.
        """
        check_range(0, length)
        with self._opened(key) as (file, size):
            length = min(length, size)
            return (file_io.read(file, size - length, length) if length else b""), size

    def list(self, prefix: str, after: str, limit: int) -> builtins.list[ObjectInfo]:
        """
        See L{kafscale.interfaces.IObjectStore.list}.

        Only directories that can hold such keys are read, one at a time.
        """
        check_prefix(prefix)
        found: builtins.list[ObjectInfo] = []
        with _unavailable(prefix):
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
        with _unavailable(key):
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


class ObjectFiles(ObjectFileReader):
    """
    A directory of objects that are written here. Every method blocks, and may
    be called from several threads at once.

    @ivar writes_directly: Whether large objects pass by the page cache.
    """

    def __init__(self, root: str) -> None:
        """
        @raise SettingError: objects cannot be kept there.
        """
        super().__init__(root)
        self._temporary = os.path.join(self._root, TEMPORARY)
        self._staging = file_io.Staging()
        self._lock = threading.Lock()
        self._count = 0  # of temporary files ever made
        self._removals = 0  # of directories ever removed
        self._durable: dict[str, None] = {}  # directories that stay, oldest first
        self._settled: dict[str, None] = {}  # those whose names are all durable too
        self._linking: dict[str, int] = {}  # those with names that may not be
        try:
            self._open()
        except OSError as error:
            raise SettingError(
                f"cannot keep data in {self._root}: {error.strerror or error}"
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
            if os.path.lexists(path):  # spares the writing; the link decides
                self._exists(key, path)
            temporary = self._new_temporary()
            try:
                if self.writes_directly and sum(map(len, pieces)) >= LARGE:
                    file_io.write_directly(temporary, pieces, self._staging)
                else:
                    file_io.write_buffered(temporary, pieces)
                self._name(temporary, key, path)
            finally:
                with suppress(OSError):
                    os.unlink(temporary)

    def delete(self, keys: Sequence[str]) -> None:
        """
        See L{kafscale.interfaces.IObjectStore.delete}.

        Not synced: that an object is there again after a power loss does no
        harm, those who delete begin anew.
        """
        directories = set()
        for key in keys:
            path = self._path(key)
            directories.add(os.path.dirname(path))
            # A directory is one of other objects.
            gone = suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError)
            with _unavailable(key), gone:
                os.unlink(path)
        for directory in directories:
            self._remove_if_empty(directory)

    # Names

    def _new_temporary(self) -> str:
        with self._lock:
            self._count += 1
            return os.path.join(self._temporary, str(self._count))

    def _name(self, temporary: str, key: str, path: str) -> None:
        """
        Give what is in C{temporary} its name, durably.
        """
        directory = os.path.dirname(path)
        while True:
            self._keep(directory)
            with self._lock:
                # Under the lock no directory is removed: what was found
                # durable just now is what the link goes into.
                if directory not in self._durable:
                    continue
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    break
                except FileNotFoundError:
                    if not os.path.exists(temporary):
                        raise
                    self._durable.pop(directory)  # somebody else removed it
                    continue
                self._linking[directory] = self._linking.get(directory, 0) + 1
            try:
                sync_directory(directory)
                return
            except OSError:
                with self._lock:
                    self._settled.pop(directory, None)
                raise
            finally:
                with self._lock:
                    self._linking[directory] -= 1
                    if not self._linking[directory]:
                        del self._linking[directory]
        self._exists(key, path)

    def _exists(self, key: str, path: str) -> None:
        if os.path.isdir(path):
            raise ValueError(f"other objects have keys below {key!r}")
        self._settle(os.path.dirname(path))
        raise ObjectExists(key)

    # Durable directories

    def _keep(self, directory: str) -> None:
        """
        Make C{directory}, if need be, so that it stays.
        """
        while directory != self._root and directory not in self._durable:
            parent = os.path.dirname(directory)
            self._keep(parent)
            removals = self._removals
            try:
                try:
                    os.mkdir(directory)
                except FileExistsError:
                    if os.path.isfile(directory):
                        raise ValueError(f"an object is where {directory} should be") from None
                sync_directory(parent)
            except FileNotFoundError:  # somebody else removed the parent
                with self._lock:
                    self._durable.pop(parent, None)
                if parent == self._root:
                    raise
                continue
            with self._lock:
                # One removed meanwhile may be this one, made again by somebody
                # who has not synced it yet.
                if removals == self._removals:
                    _remember(self._durable, directory)
        if directory == self._root:
            self._durable[directory] = None

    def _settle(self, directory: str) -> None:
        """
        Before somebody is told of a name in C{directory}: see that it, too,
        survives a power loss. Its maker may be just about to, or have died.
        """
        if directory in self._settled and directory not in self._linking:
            return
        with suppress(FileNotFoundError):
            if directory not in self._durable:
                os.stat(directory)  # not to make anew what was removed
                self._keep(directory)
            with self._lock:
                quiet = directory not in self._linking
            sync_directory(directory)
            if quiet:
                with self._lock:
                    _remember(self._settled, directory)

    def _remove_if_empty(self, directory: str) -> None:
        while directory != self._root:
            with self._lock:
                try:
                    os.rmdir(directory)
                except OSError:
                    return  # not empty, or somebody else removed it
                self._removals += 1
                self._durable.pop(directory, None)
                self._settled.pop(directory, None)
            directory = os.path.dirname(directory)


def _remember(directories: dict[str, None], directory: str) -> None:
    directories[directory] = None
    if len(directories) > REMEMBERED:
        del directories[next(iter(directories))]


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
def _unavailable(key: str) -> Iterator[None]:
    """
    What the system refuses (no space, a failing disk) may work later.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{key}: {error.strerror or error}") from error
