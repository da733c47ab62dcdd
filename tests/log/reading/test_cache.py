"""
The cache of segments' runs, over a store whose answers are given by hand.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import NoSuchObject, StoreUnavailable
from kafscale.format.errors import CorruptObject
from tests.log.reading.held_store import HeldStore, content, make


class CacheCase(SynchronousTestCase):
    """
    A cache of 100 bytes.
    """

    def setUp(self) -> None:
        """
        Nothing is in it.
        """
        self.store = HeldStore()
        self.cache = make(self.store, 100)

    def get(self, key: str, start: int = 0, stop: int = 10) -> Deferred[bytes]:
        """
        Ask the cache.
        """
        return Deferred.fromCoroutine(self.cache.get(key, start, stop))

    def fill(self, key: str, start: int = 0, stop: int = 10) -> None:
        """
        Ask the cache, and let the store answer.
        """
        done = self.get(key, start, stop)
        self.store.asked.pop().succeed()
        self.assertEqual(self.successResultOf(done), content(key, start, stop))

    def assertKept(self, key: str, start: int = 0, stop: int = 10) -> None:
        """
        The run is there without asking the store.
        """
        self.assertEqual(
            self.successResultOf(self.get(key, start, stop)), content(key, start, stop)
        )
        self.assertEqual(self.store.asked, [])

    def assertNotKept(self, key: str, start: int = 0, stop: int = 10) -> None:
        """
        The store would be asked for the run.
        """
        self.get(key, start, stop).addErrback(lambda failure: failure.trap(StoreUnavailable))
        self.store.asked.pop().answer.errback(StoreUnavailable())


class GetTests(CacheCase):
    """
    Asking for runs.
    """

    def test_kept(self) -> None:
        """
        What was read is there for the next one, who does not wait.
        """
        self.fill("a", 5, 15)
        self.assertKept("a", 5, 15)
        self.assertEqual((self.cache.hits, self.cache.misses, self.cache.size), (1, 1, 10))

    def test_exact_runs(self) -> None:
        """
        Another stretch of the same object is another run.
        """
        self.fill("a", 0, 10)
        self.assertNotKept("a", 0, 9)
        self.assertNotKept("a", 10, 20)

    def test_least_recently_used_goes(self) -> None:
        """
        When there is no more room, what was not used for longest goes.
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
        A run larger than the cache passes through, and drives nothing out.
        """
        self.fill("a")
        self.fill("b", 0, 101)
        self.assertKept("a")
        self.assertEqual(self.cache.size, 10)

    def test_nothing_kept_at_all(self) -> None:
        """
        A cache of size 0 is legal.
        """
        self.cache = make(self.store, 0)
        self.fill("a")
        self.assertNotKept("a")

    def test_shared(self) -> None:
        """
        Who asks for a run that is under way gets that one.
        """
        waiting = [self.get("a") for _ in range(3)]
        (asked,) = self.store.asked
        asked.succeed()
        for done in waiting:
            self.assertEqual(self.successResultOf(done), content("a", 0, 10))
        self.assertEqual(self.cache.misses, 3)

    def test_failure(self) -> None:
        """
        A failure reaches all who wait, and is forgotten.
        """
        waiting = [self.get("a") for _ in range(2)]
        self.store.asked.pop().answer.errback(StoreUnavailable())
        for done in waiting:
            self.failureResultOf(done, StoreUnavailable)
        self.fill("a")

    def test_gone(self) -> None:
        """
        That there is no such object is said as the store says it.
        """
        done = self.get("a")
        self.store.asked.pop().answer.errback(NoSuchObject("a"))
        self.failureResultOf(done, NoSuchObject)

    def test_short(self) -> None:
        """
        An object that ends within the run is not what its footer said.
        """
        done = self.get("a")
        self.store.asked.pop().answer.callback(b"short")
        self.failureResultOf(done, CorruptObject)
        self.fill("a")

    def test_giving_up(self) -> None:
        """
        Who gives up, the first to ask included, leaves the others waiting; the
        run is kept even if all gave up.
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
        One who is told may make another give up at that moment.
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
        What was read ahead is there.
        """
        self.cache.prefetch("a", 0, 10)
        self.store.asked.pop().succeed()
        self.assertKept("a")

    def test_joined(self) -> None:
        """
        Who asks for what is being read ahead waits for that; it is not read
        ahead twice, nor when it is there.
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
        A failure is nobody's, until somebody asks.
        """
        self.cache.prefetch("a", 0, 10)
        self.store.asked.pop().answer.errback(StoreUnavailable())
        self.fill("a")

    def test_bounded(self) -> None:
        """
        Only so many runs are read ahead at a time, and none that would not be
        kept; the others take their turn, if nobody has read them meanwhile.
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
        Of those that wait for their turn, the oldest are forgotten.
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
    Objects that are deleted.
    """

    def test_dropped(self) -> None:
        """
        All runs of the object go, and no others.
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
        What was to be read ahead is not read any more.
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
        What is under way reaches those who wait, and is not kept.
        """
        done = self.get("a")
        self.cache.drop("a")
        self.store.asked.pop().succeed()
        self.successResultOf(done)
        self.assertEqual(self.cache.size, 0)
        self.assertNotKept("a")
