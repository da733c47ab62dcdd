"""
Tests for L{kafscale.log.takeover.suffix_cache}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.interfaces import IObjectReader, IObjectStore
from kafscale.log.takeover import suffix_cache
from kafscale.log.takeover.suffix_cache import SuffixCache
from kafscale.store.memory import MemoryObjectStore
from tests.harness.coroutines import now
from tests.harness.hostile import HostileObjectStore, Operation, Verdict
from tests.store import contract


class ContractTests(contract.ObjectReaderContract):
    """
    A suffix cache keeps the contract.
    """

    async def make_reader(self, writer: IObjectStore) -> IObjectReader:
        """
        Make a cache of a store in memory.
        """
        return SuffixCache(writer)


class SuffixCacheTests(SynchronousTestCase):
    """
    Requests that the cache spares.
    """

    def setUp(self) -> None:
        """
        Make an object of ten bytes.
        """
        self.requests: list[str] = []

        def count(operation: Operation) -> Verdict:
            self.requests.append(operation.kind)
            return Verdict.SUCCEED

        objects = MemoryObjectStore()
        now(objects.create("a", [b"0123456789"]))
        self.store = HostileObjectStore(objects, count)
        self.cache = SuffixCache(self.store)

    def assert_requests(self, *expected: str) -> None:
        """
        Assert which requests were made since the last call.
        """
        self.assertEqual(self.requests, [*expected])
        self.requests.clear()

    def test_suffix(self) -> None:
        """
        What lies within a suffix that was read is not read again.
        """
        now(self.cache.get_suffix("a", 6))
        self.assert_requests("get_suffix")
        self.assertEqual(now(self.cache.get_suffix("a", 2)), (b"89", 10))
        self.assertEqual(now(self.cache.get("a", 4, 3)), b"456")
        self.assertEqual(now(self.cache.get("a", 4)), b"456789")
        self.assert_requests()
        self.assertEqual(now(self.cache.get("a", 3, 3)), b"345")
        self.assertEqual(now(self.cache.get_suffix("a", 7)), (b"3456789", 10))
        self.assert_requests("get", "get_suffix")

    def test_whole_object(self) -> None:
        """
        An object whose bytes are known is not read at all.
        """
        self.cache.know("a", b"0123456789")
        self.assertEqual(now(self.cache.get_suffix("a", 64)), (b"0123456789", 10))
        self.assertEqual(now(self.cache.get("a")), b"0123456789")
        self.assert_requests()

    def test_forget(self) -> None:
        """
        After C{forget} everything is read again.
        """
        now(self.cache.get_suffix("a", 6))
        self.cache.forget()
        now(self.cache.get_suffix("a", 6))
        self.assert_requests("get_suffix", "get_suffix")

    def test_full(self) -> None:
        """
        A suffix that does not fit into the cache is read each time.
        """
        self.patch(suffix_cache, "MAX_BYTES", 8)
        cache = SuffixCache(self.store)
        now(cache.get_suffix("a", 6))
        now(cache.get_suffix("a", 9))
        now(cache.get_suffix("a", 9))
        now(cache.get_suffix("a", 6))
        self.assert_requests("get_suffix", "get_suffix", "get_suffix")
