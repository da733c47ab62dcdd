"""
Tests for L{kafscale.store.counted}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import CommitConflict, NoSuchObject, ObjectExists, StoreUnavailable
from kafscale.interfaces import Compare, IMetadataStore, IObjectStore, Put
from kafscale.store.blocking import at_once
from kafscale.store.counted import CountedMetadataStore, CountedObjectStore
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin
from tests.harness.hostile import HostileObjectStore
from tests.store import contract


class ObjectContractTests(contract.ObjectStoreContract):
    """
    A store whose requests are counted keeps the contract.
    """

    async def make_store(self) -> IObjectStore:
        """
        Wrap a store in memory.
        """
        return CountedObjectStore(MemoryObjectStore(), Clock().seconds)


class MetadataContractTests(contract.MetadataStoreContract):
    """
    A store whose requests are counted keeps the contract.
    """

    async def make_store(self) -> IMetadataStore:
        """
        Wrap a store in memory.
        """
        return CountedMetadataStore(SQLiteMetadataStore(":memory:", at_once), Clock().seconds)


class CountingTests(SynchronousTestCase):
    """
    The counts of requests with different outcomes.
    """

    def setUp(self) -> None:
        """
        Wrap a store whose requests wait for a verdict of the test.
        """
        self.clock = Clock()
        self.hostile = HostileObjectStore(MemoryObjectStore())
        self.store = CountedObjectStore(self.hostile, self.clock.seconds)
        self.counts = self.store.counts

    def test_success(self) -> None:
        """
        A request is counted when it ends, with its duration and bytes. Until
        then it is in progress.
        """
        self.clock.advance(100)
        creating = begin(self.store.create("a", [b"123", memoryview(b"45")]))
        counts = self.counts.operation("create")
        self.assertEqual((counts.done, list(counts.under_way.values())), (0, [100.0]))
        self.clock.advance(2)
        self.hostile.pending[0].succeed()
        self.successResultOf(creating)
        self.assertEqual((counts.done, counts.errors, counts.size), (1, 0, 5))
        self.assertEqual((counts.seconds.total, counts.under_way), (2.0, {}))
        self.assertEqual((counts.failure, self.counts.answered_at), (None, 102.0))

    def test_bytes_read(self) -> None:
        """
        The bytes that are read count, not those that were asked for.
        """
        for call in (
            self.store.create("a", [b"12345"]),
            self.store.get("a", 1, 2),
            self.store.get_suffix("a", 4),
        ):
            done = begin(call)
            self.hostile.pending[0].succeed()
            self.successResultOf(done)
        sizes = {name: each.size for name, each in self.counts.operations.items()}
        self.assertEqual(sizes, {"create": 5, "get": 2, "get_suffix": 4})

    def test_failure(self) -> None:
        """
        A request without an answer is an error. Its reason is kept until a
        request of the same kind succeeds.
        """
        self.clock.advance(7)
        getting = begin(self.store.get("a"))
        self.hostile.pending[0].fail()
        self.failureResultOf(getting, StoreUnavailable)
        counts = self.counts.operation("get")
        self.assertEqual((counts.done, counts.errors, counts.failed_at), (1, 1, 7.0))
        self.assertIn("on the test's orders", counts.failure or "")
        self.assertIsNone(self.counts.answered_at)
        getting = begin(self.store.get("a"))
        self.hostile.pending[0].succeed()
        self.failureResultOf(getting, NoSuchObject)
        self.assertEqual((counts.done, counts.errors, counts.failure), (2, 1, None))

    def test_answers_that_are_no_errors(self) -> None:
        """
        ObjectExists, NoSuchObject and CommitConflict are answers.
        """
        for _ in range(2):
            creating = begin(self.store.create("a", [b"1"]))
            self.hostile.pending[0].succeed()
        self.failureResultOf(creating, ObjectExists)
        self.assertEqual(self.counts.operation("create").errors, 0)
        embedded = SQLiteMetadataStore(":memory:", at_once)
        metadata = CountedMetadataStore(embedded, self.clock.seconds)
        self.failureResultOf(
            begin(metadata.commit([Compare("a", 5)], [Put("a", 1)])), CommitConflict
        )
        counts = metadata.counts.operation("commit")
        self.assertEqual((counts.done, counts.errors), (1, 0))

    def test_given_up(self) -> None:
        """
        A request that was cancelled has no outcome, and is not counted.
        """
        getting = begin(self.store.get("a"))
        getting.cancel()
        self.failureResultOf(getting)
        counts = self.counts.operation("get")
        self.assertEqual((counts.done, counts.under_way), (0, {}))
