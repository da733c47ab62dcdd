"""
Tests of L{kafscale.store.local.directory}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kafscale.store.blocking import at_once
from kafscale.store.local.directory import namespaces_in
from kafscale.store.local.objects import LocalObjectStore
from tests.harness.coroutines import now


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
