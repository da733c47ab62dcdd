"""
Reads the metadata of a broker that may be running.

While a broker runs it holds SQLite's lock on its file, and opening the file in
any other way would write to it. So the file is copied, and the copy is opened.
Nothing is changed, and no lock is taken.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from kafscale.errors import SettingError, StoreUnavailable
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore

ATTEMPTS = 20
"""How often the copy is tried if the file changes meanwhile."""

_WAL_HEADER = 32
"""The size of the header of a write-ahead log, in bytes
(https://www.sqlite.org/fileformat2.html#walformat). It has a random salt, which
changes whenever SQLite begins the log anew."""


def open_snapshot(path: str, folder: str) -> SQLiteMetadataStore:
    """
    Copy a metadata store as it is at one moment, and open the copy.

    @param path: The file of the store.
    @param folder: An empty directory for the copy.
    @raise SettingError: the file is no metadata store, or damaged.
    @raise StoreUnavailable: the file cannot be read, or changes too quickly.
    """
    copy = os.path.join(folder, "metadata.sqlite")
    try:
        for _ in range(ATTEMPTS):
            before = _generation(path)
            shutil.copyfile(path, copy)
            # The log is copied after the file: what SQLite moves from the log
            # into the file meanwhile is in the log, too, until it begins the log
            # anew, which changes the header. SQLite ignores an incomplete commit
            # at the end of a log.
            with suppress(FileNotFoundError):
                os.unlink(f"{copy}-wal")
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}-wal", f"{copy}-wal")
            if _generation(path) == before:
                return _opened(copy, path)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror or error}") from error
    raise StoreUnavailable(f"{path}: it changes too quickly to be copied")


def _opened(copy: str, path: str) -> SQLiteMetadataStore:
    try:
        return SQLiteMetadataStore(copy, at_once)
    except SettingError as error:
        raise SettingError(str(error).replace(copy, path)) from error


def _generation(path: str) -> object:
    """
    A value that changes when SQLite has moved the content of the write-ahead log
    into the file, and begins the log anew.
    """
    try:
        with open(f"{path}-wal", "rb") as log:
            header = log.read(_WAL_HEADER)
    except FileNotFoundError:
        header = b""
    return header or os.stat(path).st_mtime_ns
