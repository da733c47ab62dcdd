"""
Directories whose names survive a power loss, and the lock that one broker holds
on its directory.
"""

from __future__ import annotations

import fcntl
import os
from typing import IO

from kafscale.errors import SettingError
from kafscale.store.checks import is_part


def make_directory(path: str) -> None:
    """
    Make a directory, and those above it, durably. Only their owner can enter them,
    as in the background, where twistd sets the umask to 077.
    """
    path = os.path.abspath(path)
    parent = os.path.dirname(path)
    if not os.path.isdir(path):
        if parent != path:
            make_directory(parent)
        os.mkdir(path, 0o700)
        sync_directory(parent)


def sync_directory(path: str) -> None:
    """
    Make the names in a directory durable.
    """
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def namespaces_in(root: str) -> list[str]:
    """
    The names of the directories below C{root} in which there are files. Of a
    directory of objects these are the namespaces.
    """
    try:
        with os.scandir(root) as entries:
            paths = {each.name: each.path for each in entries if is_part(each.name)}
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(
        name for name, path in paths.items() if any(files for *_, files in os.walk(path))
    )


def lock_directory(path: str) -> IO[str]:
    """
    Make this process the only broker on a directory, which is made if need be.
    The lock is held until the returned file is closed, or the process ends in
    any way. A forked process keeps it, too.

    @raise SettingError: another process holds the lock, or the directory cannot
        be used.
    """
    try:
        make_directory(path)
        file = open(os.path.join(path, "lock"), "a+")  # noqa: SIM115 - stays open
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            file.seek(0)
            owner = file.read(20).strip() or "unknown"
        raise SettingError(f"{path} is in use by another broker (pid {owner})") from None
    except OSError as error:
        file.close()
        raise SettingError(f"cannot lock {path}: {error.strerror or error}") from error
    try:
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
    except OSError as error:
        file.close()
        raise _unusable(path, error) from error
    return file


def _unusable(path: str, error: OSError) -> SettingError:
    return SettingError(f"cannot use the directory {path}: {error.strerror or error}")
