"""
Work that is done a few pieces at a time.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.worker_pool import WorkerPool


class WorkerPoolTests(SynchronousTestCase):
    """
    Tests of `WorkerPool`, with room for two pieces of work.
    """

    def setUp(self) -> None:
        """
        A pool whose work has letters for names.
        """
        self.clock = Clock()
        self.waiting: list[str] = []
        self.under_way: dict[str, Deferred[None]] = {}
        self.log: list[str] = []
        self.pool = WorkerPool(self.clock, 2, self.take)

    def take(self) -> Coroutine[Any, Any, None] | None:
        """
        The next letter.
        """
        return self.work(self.waiting.pop(0)) if self.waiting else None

    async def work(self, letter: str) -> None:
        """
        One piece of work. Those with capital letters wait for nothing; the
        others wait for the test.
        """
        self.log.append(f"begin {letter}")
        if letter.islower():
            self.under_way[letter] = Deferred()
            await self.under_way[letter]
        self.log.append(f"end {letter}")

    def add(self, letters: str) -> None:
        """
        There is more work.
        """
        self.waiting += letters
        self.pool.fill()

    def end(self, letter: str) -> None:
        """
        This piece of work ends.
        """
        self.under_way.pop(letter).callback(None)

    def test_so_many_at_once(self) -> None:
        """
        Two pieces are begun before C{fill} returns, and the others in order,
        as there is room.
        """
        self.add("abcd")
        self.assertEqual(self.log, ["begin a", "begin b"])
        self.assertEqual(self.pool.under_way, 2)
        self.end("b")
        self.end("a")
        self.assertEqual(self.log[2:], ["end b", "begin c", "end a", "begin d"])

    def test_more_while_some_is_under_way(self) -> None:
        """
        More work is begun at once while there is room.
        """
        self.add("a")
        self.add("b")
        self.add("c")
        self.assertEqual(self.log, ["begin a", "begin b"])

    def test_nothing(self) -> None:
        """
        When there is no work, the pool asks for some only when C{fill} is called.
        """
        self.add("")
        self.waiting += "a"
        self.assertEqual(self.log, [])
        self.pool.fill()
        self.assertEqual(self.log, ["begin a"])

    def test_no_recursion(self) -> None:
        """
        Many pieces that wait for nothing do not make the stack grow.
        """
        self.add("A" * 10_000)
        self.assertEqual(len(self.log), 20_000)
        self.assertEqual(self.pool.under_way, 0)

    def test_no_recursion_after_a_wait(self) -> None:
        """
        Nor do they if they follow a piece that has waited.
        """
        self.add("ab" + "A" * 10_000)
        self.end("a")
        self.assertEqual(len(self.log), 20_003)
        self.assertEqual(self.pool.under_way, 1)

    def test_filled_by_the_work(self) -> None:
        """
        Work that calls C{fill} does not start other work within itself.
        """

        async def parent() -> None:
            self.log.append("begin parent")
            self.add("a")
            self.log.append("end parent")

        work = [parent()]
        self.pool = WorkerPool(self.clock, 2, lambda: work.pop() if work else self.take())
        self.pool.fill()
        self.assertEqual(self.log, ["begin parent", "end parent", "begin a"])

    def test_failure(self) -> None:
        """
        A failure is logged, and makes room.
        """
        self.add("abc")
        self.under_way.pop("a").errback(ValueError("a"))
        self.assertEqual(self.log, ["begin a", "begin b", "begin c"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_take_fails(self) -> None:
        """
        An error of C{take} is raised to the caller, which may call again.
        """

        def take() -> Coroutine[Any, Any, None] | None:
            raise ValueError

        pool = WorkerPool(self.clock, 1, take)
        self.assertRaises(ValueError, pool.fill)
        self.assertRaises(ValueError, pool.fill)

    # -- pausing ----------------------------------------------------------------

    def test_pause(self) -> None:
        """
        No work is taken for so long, though work under way goes on. Afterwards
        the pool takes work by itself.
        """
        self.add("abc")
        self.pool.pause(5)
        self.assertTrue(self.pool.paused)
        self.end("a")
        self.add("d")
        self.clock.advance(4)
        self.assertEqual(self.log, ["begin a", "begin b", "end a"])
        self.clock.advance(1)
        self.assertFalse(self.pool.paused)
        self.assertEqual(self.log[3:], ["begin c"])

    def test_pause_within_the_work(self) -> None:
        """
        After work that pauses the pool no other is begun.
        """

        async def work() -> None:
            self.log.append("begin")
            self.pool.pause(1)

        self.pool = WorkerPool(self.clock, 2, work)
        self.pool.fill()
        self.assertEqual(self.log, ["begin"])
        self.clock.advance(1)
        self.assertEqual(self.log, ["begin", "begin"])

    def test_pause_again(self) -> None:
        """
        A second pause does not prolong the first.
        """
        self.pool.pause(2)
        self.clock.advance(1)
        self.pool.pause(2)
        self.add("a")
        self.clock.advance(1)
        self.assertEqual(self.log, ["begin a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    # -- ending -----------------------------------------------------------------

    def test_stop(self) -> None:
        """
        C{stop} returns when all work under way has ended; no more is taken.
        """
        self.add("abc")
        stopping = Deferred.fromCoroutine(self.pool.stop())
        self.assertTrue(self.pool.stopped)
        self.end("a")
        self.add("d")
        self.assertNoResult(stopping)
        self.end("b")
        self.successResultOf(stopping)
        self.assertEqual(self.log, ["begin a", "begin b", "end a", "end b"])

    def test_stop_waits_for_what_fails(self) -> None:
        """
        Work that fails has ended, too.
        """
        self.add("a")
        stopping = Deferred.fromCoroutine(self.pool.stop())
        self.under_way.pop("a").errback(ValueError())
        self.successResultOf(stopping)
        self.flushLoggedErrors(ValueError)

    def test_stop_twice(self) -> None:
        """
        Both calls return together; a third one, afterwards, at once.
        """
        self.add("a")
        first = Deferred.fromCoroutine(self.pool.stop())
        second = Deferred.fromCoroutine(self.pool.stop())
        self.end("a")
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(Deferred.fromCoroutine(self.pool.stop()))

    def test_stop_with_nothing_under_way(self) -> None:
        """
        An idle pool stops at once.
        """
        self.successResultOf(Deferred.fromCoroutine(self.pool.stop()))

    def test_stop_while_paused(self) -> None:
        """
        The timer is cancelled, and C{pause} sets no other.
        """
        self.pool.pause(1)
        self.successResultOf(Deferred.fromCoroutine(self.pool.stop()))
        self.pool.pause(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abandon(self) -> None:
        """
        C{stop} after C{abandon} still waits for the work under way.
        """
        self.add("abc")
        self.pool.abandon()
        self.end("a")
        stopping = Deferred.fromCoroutine(self.pool.stop())
        self.assertNoResult(stopping)
        self.end("b")
        self.successResultOf(stopping)
        self.assertEqual(self.log, ["begin a", "begin b", "end a", "end b"])

    def test_abandoned_by_the_work(self) -> None:
        """
        Work may abandon its own pool.
        """

        async def work() -> None:
            self.log.append("begin")
            self.pool.abandon()

        self.pool = WorkerPool(self.clock, 2, work)
        self.pool.fill()
        self.pool.fill()
        self.assertEqual(self.log, ["begin"])
