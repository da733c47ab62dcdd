"""
The SQLite file of a metadata store. docs/storage.md lists the keys in it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress

import attrs

from kafscale.errors import SettingError

LAYOUT = 1
"""The number of the layout below, kept as the file's C{user_version}. A later
layout has a higher number."""

_CREATE = f"""
    CREATE TABLE entries (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL,        -- JSON
        revision INTEGER NOT NULL,  -- at which this value was put
        lease INTEGER               -- of the process that put it
    ) WITHOUT ROWID;
    CREATE TABLE counter (revision INTEGER NOT NULL);
    INSERT INTO counter VALUES (0);
    PRAGMA user_version = {LAYOUT};
"""


@attrs.frozen
class Row:
    """
    The row of one key.

    @ivar value: The value as JSON text.
    @ivar revision: The revision at which the value was put.
    @ivar lease: The lease that the value was put with, if any.
    """

    value: str
    revision: int
    lease: int | None


class Table:
    """
    The connection to the file. Every method blocks, and no two may be called at
    the same time.
    """

    def __init__(self, path: str) -> None:
        """
        @param path: The file, which is made if need be. C{":memory:"} keeps
            nothing.
        @raise SettingError: the file cannot be used, or another process uses it.
        """
        self._path = path
        try:
            if path != ":memory:":
                _make_durably(path)
            self._connection = sqlite3.connect(
                path, timeout=1.0, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise _unusable(path, error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise _unusable(path, error) from error
        except SettingError:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        (layout,) = run("PRAGMA user_version").fetchone()
        if layout > LAYOUT:
            raise SettingError(f"{self._path} was written by a later version of Kafscale")
        if layout == 0:
            self._connection.executescript(f"BEGIN EXCLUSIVE;{_CREATE}COMMIT;")
        else:
            # Takes the lock, which is kept, and shows that the file is writable.
            run("UPDATE counter SET revision = revision")

    def load(self) -> tuple[dict[str, Row], int]:
        """
        Delete the rows with leases, which ended with the process that held them.
        Return all rows by their keys, and the revision of the store.

        @raise SettingError: the file is damaged.
        """
        run = self._connection.execute
        try:
            run("BEGIN IMMEDIATE")
            if run("DELETE FROM entries WHERE lease IS NOT NULL").rowcount > 0:
                run("UPDATE counter SET revision = revision + 1")
            run("COMMIT")
            ((revision,),) = run("SELECT revision FROM counter").fetchall()
            rows = {
                key: Row(value, at, None)
                for key, value, at in run("SELECT key, value, revision FROM entries")
            }
        except (sqlite3.Error, ValueError) as error:
            self._connection.close()
            raise _unusable(self._path, error) from error
        return rows, revision

    def write(self, rows: Mapping[str, Row | None], revision: int) -> None:
        """
        Write all of these rows durably, or none of them.

        @param rows: The new rows by their keys; None to delete a row.
        @param revision: The new revision of the store.
        @raise sqlite3.Error: the outcome is unknown.
        """
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)",
                [
                    (key, row.value, row.revision, row.lease)
                    for key, row in rows.items()
                    if row is not None
                ],
            )
            connection.executemany(
                "DELETE FROM entries WHERE key = ?",
                [(key,) for key, row in rows.items() if row is None],
            )
            connection.execute("UPDATE counter SET revision = ?", (revision,))
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """
        Close the file, and release its lock.
        """
        self._connection.close()


def _make_durably(path: str) -> None:
    """
    Make an empty file whose name is durable. SQLite syncs what it writes, but
    not always the name of a new file.
    """
    if os.path.exists(path):
        return
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
    directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _unusable(path: str, error: Exception) -> SettingError:
    reason = getattr(error, "strerror", None) or error
    return SettingError(f"cannot use the metadata file {path}: {reason}")
