"""
Tests of L{kafscale.store.local.directory}.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kafscale.store.blocking import at_once
from kafscale.store.local.directory import lock_directory, namespaces_in
from kafscale.store.local.objects import LocalObjectStore
from tests.harness.coroutines import now


class MakeTests(SynchronousTestCase):
    """
    Directories that the broker makes.
    """

    def test_mode(self) -> None:
        """
        Only the owner can enter them, whatever the umask is. What exists stays as it
        is.
        """
        above = Path(self.mktemp())
        above.mkdir(mode=0o755)
        for number, umask in enumerate((0o000, 0o022, 0o077)):
            self.addCleanup(os.umask, os.umask(umask))
            path = above / str(number) / "data"
            lock_directory(str(path)).close()
            modes = [stat.S_IMODE(each.stat().st_mode) for each in (above, path.parent, path)]
            self.assertEqual(modes, [0o755, 0o700, 0o700])


class NamespacesTests(SynchronousTestCase):
    """
    The namespaces that have objects in a directory.
    """

    def test_found(self) -> None:
        """
        Those with an object at any depth, by name. Directories without a file,
        those of no namespace, and temporary files do not count.
        """
        root = Path(self.mktemp())
        self.assertEqual(namespaces_in(str(root)), [])
        store = LocalObjectStore(str(root), at_once)
        self.assertEqual(namespaces_in(str(root)), [])
        for key in ("two/journal/1/2", "one/cluster"):
            now(store.create(key, [b"any"]))
        (root / "empty" / "journal").mkdir(parents=True)
        (root / "lost+found").mkdir()
        (root / "lost+found" / "file").write_bytes(b"any")
        (root / ".tmp" / "1").write_bytes(b"any")
        self.assertEqual(namespaces_in(str(root)), ["one", "two"])

    def test_a_file(self) -> None:
        """
        A file in the place of the directory has none.
        """
        path = Path(self.mktemp())
        path.write_bytes(b"any")
        self.assertEqual(namespaces_in(str(path)), [])
