"""
Tests for L{kafscale.store.sqlite.snapshot}.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import SettingError, StoreUnavailable
from kafscale.interfaces import Compare, Put
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.snapshot import open_snapshot
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import now


class SnapshotTests(SynchronousTestCase):
    """
    Copies of a file while a broker writes to it.
    """

    def setUp(self) -> None:
        """
        Open a store.
        """
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = str(self.folder / "metadata.sqlite")
        self.store = SQLiteMetadataStore(self.path, at_once)
        self.addCleanup(lambda: now(self.store.close()))
        self.revision = 0

    def put(self, *keys: str, size: int = 1) -> None:
        """
        Commit values for some keys.

        @param size: The length of each value.
        """
        value = "x" * size
        self.revision = now(self.store.commit([], [Put(key, value) for key in keys]))

    def copied(self) -> tuple[list[str], int]:
        """
        The keys and the revision in a snapshot.
        """
        folder = self.folder / "copy"
        folder.mkdir()
        copy = open_snapshot(self.path, str(folder))
        entries, revision = now(copy.range(""))
        now(copy.close())
        shutil.rmtree(folder)
        return [entry.key for entry in entries], revision

    def test_as_it_is(self) -> None:
        """
        A snapshot has the last commit, although that is only in the write-ahead
        log. The store goes on.
        """
        self.put("a", "b")
        self.assertEqual(self.copied(), (["a", "b"], self.revision))
        self.put("c")
        self.assertEqual(self.copied(), (["a", "b", "c"], self.revision))
        now(self.store.commit([Compare("c", self.revision)], [Put("c", 2)]))

    def test_moved_while_it_is_copied(self) -> None:
        """
        SQLite may move the write-ahead log into the file while the two are
        copied, also several times. The snapshot is still of one moment.
        """
        copyfile = shutil.copyfile
        number = 0

        def slowly(source: str, target: str) -> None:
            nonlocal number
            copyfile(source, target)
            if source == self.path and number < 3:
                number += 1
                # SQLite does it after a thousand pages of four kilobytes.
                for _ in range(6):
                    self.put(*(f"{key:02}" for key in range(60)), size=20_000)
                self.put(f"last-{number}")

        self.put("first")
        with mock.patch("shutil.copyfile", slowly):
            keys, revision = self.copied()
        self.assertEqual(number, 3)
        self.assertEqual(revision, self.revision)
        self.assertEqual(keys[60:], ["first", "last-1", "last-2", "last-3"])

    def test_too_quick(self) -> None:
        """
        The attempts to copy a file that changes too quickly come to an end.
        """
        copyfile = shutil.copyfile
        changing = self.folder / "changing"
        changing.write_bytes(b"")
        number = 0

        def change(source: str, target: str) -> None:
            nonlocal number
            number += 1
            copyfile(source, target)
            (self.folder / "changing-wal").write_bytes(b"%032d" % number)

        self.path = str(changing)
        with mock.patch("shutil.copyfile", change):
            error = self.assertRaises(StoreUnavailable, self.copied)
        self.assertIn("changes too quickly", str(error))

    def test_not_there_or_damaged(self) -> None:
        """
        The error names the original file, not the copy.
        """
        self.put("a")
        now(self.store.close())
        Path(self.path).write_bytes(b"no database at all" * 1000)
        error = self.assertRaises(SettingError, self.copied)
        self.assertIn(self.path, str(error))
        os.unlink(self.path)
        shutil.rmtree(self.folder / "copy")
        self.assertRaises(StoreUnavailable, self.copied)
