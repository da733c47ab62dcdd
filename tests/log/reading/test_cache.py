"""
Tests for L{kafscale.log.reading.cache}, on a store whose reads wait for the test.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import NoSuchObject, StoreUnavailable
from kafscale.format.errors import CorruptObject
from tests.log.reading.held_store import HeldStore, content, make


class CacheCase(SynchronousTestCase):
    """
    Tests with a cache of 100 bytes.
    """

    def setUp(self) -> None:
        """
        Begin with an empty cache.
        """
        self.store = HeldStore()
        self.cache = make(self.store, 100)

    def get(self, key: str, start: int = 0, stop: int = 10) -> Deferred[bytes]:
        """
        Ask the cache for a run.
        """
        return Deferred.fromCoroutine(self.cache.get(key, start, stop))

    def fill(self, key: str, start: int = 0, stop: int = 10) -> None:
        """
        Ask the cache for a run, and let the store answer.
        """
        done = self.get(key, start, stop)
        self.store.asked.pop().succeed()
        self.assertEqual(self.successResultOf(done), content(key, start, stop))

    def assertKept(self, key: str, start: int = 0, stop: int = 10) -> None:
        """
        Assert that the store is not asked for a run.
        """
        self.assertEqual(
            self.successResultOf(self.get(key, start, stop)), content(key, start, stop)
        )
        self.assertEqual(self.store.asked, [])

    def assertNotKept(self, key: str, start: int = 0, stop: int = 10) -> None:
        """
        Assert that the store is asked for a run.
        """
        self.get(key, start, stop).addErrback(lambda failure: failure.trap(StoreUnavailable))
        self.store.asked.pop().answer.errback(StoreUnavailable())


class GetTests(CacheCase):
    """
    Reads of runs.
    """

    def test_kept(self) -> None:
        """
        A run that was read is in memory for the next reader.
        """
        self.fill("a", 5, 15)
        self.assertKept("a", 5, 15)
        self.assertEqual((self.cache.hits, self.cache.misses, self.cache.size), (1, 1, 10))

    def test_exact_runs(self) -> None:
        """
        Another part of the same object is another run.
        """
        self.fill("a", 0, 10)
        self.assertNotKept("a", 0, 9)
        self.assertNotKept("a", 10, 20)

    def test_least_recently_used_goes(self) -> None:
        """
        When the cache is full, the least recently used run is dropped.
        """
        for key in "abcdefghij":
            self.fill(key)
        self.assertKept("a")
        self.fill("k")
        self.assertEqual(self.cache.size, 100)
        self.assertKept("a")
        self.assertNotKept("b")

    def test_too_large(self) -> None:
        """
        A run larger than the cache is not kept, and replaces none.
        """
        self.fill("a")
        self.fill("b", 0, 101)
        self.assertKept("a")
        self.assertEqual(self.cache.size, 10)

    def test_nothing_kept_at_all(self) -> None:
        """
        A cache of size 0 works.
        """
        self.cache = make(self.store, 0)
        self.fill("a")
        self.assertNotKept("a")

    def test_shared(self) -> None:
        """
        A run that is being read is not read a second time.
        """
        waiting = [self.get("a") for _ in range(3)]
        (asked,) = self.store.asked
        asked.succeed()
        for done in waiting:
            self.assertEqual(self.successResultOf(done), content("a", 0, 10))
        self.assertEqual(self.cache.misses, 3)

    def test_failure(self) -> None:
        """
        A failure reaches all that wait, and is not kept.
        """
        waiting = [self.get("a") for _ in range(2)]
        self.store.asked.pop().answer.errback(StoreUnavailable())
        for done in waiting:
            self.failureResultOf(done, StoreUnavailable)
        self.fill("a")

    def test_gone(self) -> None:
        """
        A missing object raises the store's error.
        """
        done = self.get("a")
        self.store.asked.pop().answer.errback(NoSuchObject("a"))
        self.failureResultOf(done, NoSuchObject)

    def test_short(self) -> None:
        """
        An object that ends within the run is corrupt.
        """
        done = self.get("a")
        self.store.asked.pop().answer.callback(b"short")
        self.failureResultOf(done, CorruptObject)
        self.fill("a")

    def test_giving_up(self) -> None:
        """
        A cancelled reader, even the first one, leaves the others waiting; the run
        is kept even if all are cancelled.
        """
        for leaving in (0, 1, 2):
            self.cache = make(self.store, 100)
            waiting = [self.get("a") for _ in range(3)]
            waiting[leaving].cancel()
            self.failureResultOf(waiting.pop(leaving), CancelledError)
            self.store.asked.pop().succeed()
            for done in waiting:
                self.assertEqual(self.successResultOf(done), content("a", 0, 10))
        waiting = [self.get("b"), self.get("b")]
        for done in waiting:
            done.cancel()
            self.failureResultOf(done, CancelledError)
        self.store.asked.pop().succeed()
        self.assertKept("b")

    def test_giving_up_when_told(self) -> None:
        """
        A callback may cancel another reader at that moment.
        """
        first, second, third = (self.get("a") for _ in range(3))
        first.addCallback(lambda _: second.cancel())
        self.store.asked.pop().succeed()
        self.failureResultOf(second, CancelledError)
        self.successResultOf(third)


class PrefetchTests(CacheCase):
    """
    Reading ahead.
    """

    def test_kept(self) -> None:
        """
        A run that was read ahead is in memory.
        """
        self.cache.prefetch("a", 0, 10)
        self.store.asked.pop().succeed()
        self.assertKept("a")

    def test_joined(self) -> None:
        """
        A reader waits for a run that is being read ahead. A run is not read ahead
        twice, nor when it is in memory.
        """
        self.cache.prefetch("a", 0, 10)
        done = self.get("a")
        self.cache.prefetch("a", 0, 10)
        (asked,) = self.store.asked
        asked.succeed()
        self.successResultOf(done)
        self.cache.prefetch("a", 0, 10)
        self.assertEqual(self.store.asked, [asked])

    def test_failure(self) -> None:
        """
        A failure is not reported until a reader asks.
        """
        self.cache.prefetch("a", 0, 10)
        self.store.asked.pop().answer.errback(StoreUnavailable())
        self.fill("a")

    def test_bounded(self) -> None:
        """
        Only so many runs are read ahead at once, and none that would not be
        kept; the others wait, and are skipped if they were read meanwhile.
        """
        self.cache = make(self.store, 100, ahead=2)
        for key in "abcd":
            self.cache.prefetch(key, 0, 10)
        self.cache.prefetch("e", 0, 101)
        self.assertEqual([asked.run_key[0] for asked in self.store.asked], ["a", "b"])
        done = self.get("c")
        self.store.asked.pop().succeed()
        self.successResultOf(done)
        self.store.asked.pop().answer.errback(StoreUnavailable())
        self.assertEqual([asked.run_key[0] for asked in self.store.asked], ["a", "d"])

    def test_too_many(self) -> None:
        """
        Of those that wait, the oldest are forgotten.
        """
        self.cache = make(self.store, 1000, ahead=1)
        for number in range(10):
            self.cache.prefetch(str(number), 0, 10)
        for number in (0, *range(2, 10)):
            (asked,) = self.store.asked
            self.assertEqual(asked.run_key[0], str(number))
            self.store.asked.pop().succeed()
        self.assertEqual(self.store.asked, [])


class DropTests(CacheCase):
    """
    Deleted objects.
    """

    def test_dropped(self) -> None:
        """
        All runs of the object are dropped, and no others.
        """
        self.fill("a", 0, 10)
        self.fill("a", 10, 30)
        self.fill("b")
        self.cache.drop("a")
        self.assertEqual(self.cache.size, 10)
        self.assertKept("b")
        self.assertNotKept("a", 0, 10)
        self.assertNotKept("a", 10, 30)
        self.cache.drop("never there")

    def test_wanted(self) -> None:
        """
        A queued run of the object is not read ahead any more.
        """
        self.cache = make(self.store, 100, ahead=1)
        self.cache.prefetch("a", 0, 10)
        for _ in range(2):
            self.cache.prefetch("b", 0, 10)
        self.cache.prefetch("c", 0, 10)
        self.cache.drop("b")
        self.store.asked.pop().succeed()
        (asked,) = self.store.asked
        self.assertEqual(asked.run_key[0], "c")

    def test_under_way(self) -> None:
        """
        A run that is being read reaches those that wait, and is not kept.
        """
        done = self.get("a")
        self.cache.drop("a")
        self.store.asked.pop().succeed()
        self.successResultOf(done)
        self.assertEqual(self.cache.size, 0)
        self.assertNotKept("a")
