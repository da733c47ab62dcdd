"""
Looking at what a broker keeps on this machine, without a part in it.

Nothing is changed, no lock is taken, and it does not matter whether a broker
runs meanwhile.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from kafscale.errors import SettingError, StoreUnavailable
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore

ATTEMPTS = 20
"""How often metadata is copied that changes too quickly."""

_WAL_HEADER = 32


def open_snapshot(path: str, folder: str) -> SQLiteMetadataStore:
    """
    A copy of a metadata store as it is at one moment, opened. The broker that
    has the original holds SQLite's lock on it as long as it runs, and to open
    it otherwise would write beside it.

    @param path: Of the original.
    @param folder: Where the copy goes; empty.
    @raise SettingError: what is there is no such store, or damaged.
    @raise StoreUnavailable: it cannot be read.
    """
    copy = os.path.join(folder, "metadata.sqlite")
    try:
        for _ in range(ATTEMPTS):
            before = _generation(path)
            shutil.copyfile(path, copy)
            # After the file itself: what SQLite moves into that meanwhile is
            # in the log, too, until it begins the log anew. Then its header is
            # another one. A commit that is cut off at the end is not counted.
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
    Stays the same until what the write-ahead log held is in the file itself,
    and the log begins anew.
    """
    try:
        with open(f"{path}-wal", "rb") as log:
            header = log.read(_WAL_HEADER)
    except FileNotFoundError:
        header = b""
    return header or os.stat(path).st_mtime_ns
