"""
Tests for L{kafscale.store.wrapping}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from kafscale.interfaces import (
    Compare,
    Delete,
    IMetadataStore,
    IObjectReader,
    IObjectStore,
    Put,
)
from kafscale.store.blocking import at_once
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.sqlite.store import SQLiteMetadataStore
from kafscale.store.wrapping import (
    MetadataStoreWrapper,
    ObjectReaderWrapper,
    ObjectStoreWrapper,
)
from tests.harness.coroutines import now
from tests.store import contract

T = TypeVar("T")


class ReaderContractTests(contract.ObjectReaderContract):
    """
    A wrapper of a reader is a reader.
    """

    async def make_reader(self, writer: IObjectStore) -> IObjectReader:
        """
        Wrap a store in memory.
        """
        return ObjectReaderWrapper(writer)


class ObjectContractTests(contract.ObjectStoreContract):
    """
    A wrapper of an object store is an object store.
    """

    async def make_store(self) -> IObjectStore:
        """
        Wrap a store in memory.
        """
        return ObjectStoreWrapper(MemoryObjectStore())


class MetadataContractTests(contract.MetadataStoreContract):
    """
    A wrapper of a metadata store is a metadata store.
    """

    async def make_store(self) -> IMetadataStore:
        """
        Wrap a store in memory.
        """
        return MetadataStoreWrapper(SQLiteMetadataStore(":memory:", at_once))


class CallTests(SynchronousTestCase):
    """
    The method that every call passes.
    """

    def setUp(self) -> None:
        """
        No call was made.
        """
        self.calls: list[tuple[str, str]] = []

    def call(self, operation: str, key: str, perform: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """
        Note a call, and pass it on.
        """
        self.calls.append((operation, key))
        return perform()

    def test_objects(self) -> None:
        """
        It has the name of each method, and its key.
        """
        store = ObjectStoreWrapper(MemoryObjectStore())
        self.patch(store, "call", self.call)
        now(store.create("a/b", [b"x"]))
        now(store.get("a/b"))
        now(store.get_suffix("a/b", 1))
        now(store.list("a/"))
        now(store.delete(["a/b", "c"]))
        now(store.delete([]))
        now(store.close())
        self.assertEqual(
            self.calls,
            [
                ("create", "a/b"),
                ("get", "a/b"),
                ("get_suffix", "a/b"),
                ("list", "a/"),
                ("delete", "a/b"),
                ("delete", ""),
            ],
        )

    def test_metadata(self) -> None:
        """
        It has the name of each method, and its key.
        """
        store = MetadataStoreWrapper(SQLiteMetadataStore(":memory:", at_once))
        self.patch(store, "call", self.call)
        now(store.get("a"))
        now(store.holds([Compare("f", 0), Compare("g", 0)]))
        now(store.range("b/"))
        now(store.commit([], [Put("c", 1), Delete("d")]))
        now(store.commit([], []))
        now(store.catch_up(now(store.watch("e/", 0, lambda changes: None))))
        now(store.revoke(now(store.lease(10))))
        now(store.close())
        self.assertEqual(
            self.calls,
            [
                ("get", "a"),
                ("holds", "f"),
                ("range", "b/"),
                ("commit", "c"),
                ("commit", ""),
                ("watch", "e/"),
                ("catch_up", ""),
                ("lease", ""),
                ("revoke", ""),
            ],
        )
