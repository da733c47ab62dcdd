"""
Waiting for several things at once, or not for ever.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.gathering import (
    all_settled,
    map_bounded,
    results_of,
    with_timeout,
    within,
)
from kafscale.errors import RequestTimedOut


class AllSettledTests(SynchronousTestCase):
    """
    Waiting for all of several events.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.events: list[Deferred[str]] = [Deferred() for _ in range(3)]

    def test_in_order(self) -> None:
        """
        The outcomes stand as the events did; failures are among them.
        """
        settled = all_settled(self.events)
        self.events[2].callback("two")
        self.events[1].errback(ValueError("one"))
        self.assertNoResult(settled)
        self.events[0].callback("zero")
        zero, one, two = self.successResultOf(settled)
        self.assertEqual((zero, two), ("zero", "two"))
        assert isinstance(one, Failure)
        self.assertIsInstance(one.value, ValueError)

    def test_nothing(self) -> None:
        """
        There is nothing to wait for.
        """
        self.assertEqual(self.successResultOf(all_settled([])), [])

    def test_cancelled(self) -> None:
        """
        To cancel the wait cancels the events, and ends it at once, also if an
        event does not end when it is cancelled.
        """
        cancelled: list[object] = []
        stubborn: Deferred[str] = Deferred(cancelled.append)
        stubborn.addErrback(lambda _: Deferred())
        settled = all_settled([*self.events, stubborn])
        settled.cancel()
        self.failureResultOf(settled, CancelledError)
        self.assertEqual(cancelled, [stubborn])
        self.assertTrue(all(each.called for each in self.events))

    def test_shielded(self) -> None:
        """
        The wait can be cancelled without the events.
        """
        settled = all_settled(self.events, shield=True)
        settled.cancel()
        self.failureResultOf(settled, CancelledError)
        for each in self.events:
            self.assertFalse(each.called)
            each.callback("late")

    def test_results(self) -> None:
        """
        The results alone, or the first failure in the order of the events.
        """
        self.assertEqual(results_of(["a", "b"]), ["a", "b"])
        failures = [Failure(ValueError()), Failure(LookupError())]
        self.assertRaises(ValueError, results_of, ["a", *failures])


class MapBoundedTests(SynchronousTestCase):
    """
    Work on every item.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.begun: list[int] = []
        self.waiting: dict[int, Deferred[str]] = {}

    async def work(self, item: int) -> str:
        """
        Waits for the test.
        """
        self.begun.append(item)
        self.waiting[item] = Deferred()
        return await self.waiting[item]

    def doing(self, items: int, limit: int) -> Deferred[list[str]]:
        """
        Begin to work on so many items.
        """
        return Deferred.fromCoroutine(map_bounded(self.work, range(items), limit))

    def test_bounded_and_in_order(self) -> None:
        """
        Only so many are under way; the results stand as the items did.
        """
        doing = self.doing(3, limit=2)
        self.assertEqual(self.begun, [0, 1])
        self.waiting[1].callback("one")
        self.assertEqual(self.begun, [0, 1, 2])
        self.waiting[2].callback("two")
        self.waiting[0].callback("zero")
        self.assertEqual(self.successResultOf(doing), ["zero", "one", "two"])

    def test_nothing(self) -> None:
        """
        No items, no results.
        """
        self.assertEqual(self.successResultOf(self.doing(0, limit=2)), [])

    def test_no_recursion(self) -> None:
        """
        Work that waits for nothing does not make the stack grow.
        """

        async def double(item: int) -> int:
            return 2 * item

        doing = Deferred.fromCoroutine(map_bounded(double, range(10_000), 2))
        self.assertEqual(self.successResultOf(doing), list(range(0, 20_000, 2)))

    def test_error(self) -> None:
        """
        An error is raised when all is done.
        """
        doing = self.doing(2, limit=2)
        self.waiting[0].errback(ValueError("zero"))
        self.assertNoResult(doing)
        self.waiting[1].callback("one")
        self.failureResultOf(doing, ValueError)

    def test_begins_no_more_after_an_error(self) -> None:
        """
        Items whose turn has not come are left alone. Of several errors the
        first to happen is raised.
        """
        doing = self.doing(4, limit=2)
        self.waiting[1].errback(ValueError("one"))
        self.waiting[0].errback(LookupError("zero"))
        self.failureResultOf(doing, ValueError)
        self.assertEqual(self.begun, [0, 1])

    def test_cancelled(self) -> None:
        """
        To cancel it cancels the work under way, and nothing more is begun.
        """
        doing = self.doing(3, limit=2)
        doing.cancel()
        self.failureResultOf(doing, CancelledError)
        self.assertEqual(self.begun, [0, 1])
        self.assertTrue(all(each.called for each in self.waiting.values()))


class WithinTests(SynchronousTestCase):
    """
    Work that is cancelled when the time is up.
    """

    def setUp(self) -> None:
        """
        Make work that does not end when it is cancelled.
        """
        self.clock = Clock()
        self.cancelled: list[object] = []
        self.work: Deferred[int] = Deferred(self.cancelled.append)
        self.stubborn: Deferred[int] = Deferred()
        self.work.addErrback(lambda _: self.stubborn)

    def test_in_time(self) -> None:
        """
        The result is that of the work, and no timer stays.
        """
        waiting = within(self.clock, 1, self.work)
        self.work.callback(1)
        self.assertEqual(self.successResultOf(waiting), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        failing: Deferred[int] = Deferred()
        waiting = within(self.clock, 1, failing)
        failing.errback(ValueError())
        self.failureResultOf(waiting, ValueError)

    def test_late(self) -> None:
        """
        The work is cancelled, and not waited for. Its outcome is dropped.
        """
        for end in (1, Failure(ValueError())):
            self.setUp()
            waiting = within(self.clock, 1, self.work)
            self.clock.advance(1)
            self.failureResultOf(waiting, TimeoutError)
            self.assertEqual(self.cancelled, [self.work])
            self.stubborn.callback(end)

    def test_no_time(self) -> None:
        """
        Work that has no time is cancelled in the next turn.
        """
        waiting = within(self.clock, 0, self.work)
        self.clock.advance(0)
        self.failureResultOf(waiting, TimeoutError)

    def test_cancelled(self) -> None:
        """
        To cancel the wait cancels the work, and ends the wait at once.
        """
        waiting = within(self.clock, 1, self.work)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.cancelled, [self.work])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.stubborn.callback(1)


class WithTimeoutTests(SynchronousTestCase):
    """
    Work that may take so long.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.clock = Clock()
        self.work: Deferred[int] = Deferred()

    def test_in_time(self) -> None:
        """
        The result comes, and no timer stays.
        """
        doing = Deferred.fromCoroutine(with_timeout(self.clock, 1000, self.work))
        self.work.callback(1)
        self.assertEqual(self.successResultOf(doing), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fails_in_time(self) -> None:
        """
        So does its error.
        """
        doing = Deferred.fromCoroutine(with_timeout(self.clock, 1000, self.work))
        self.work.errback(ValueError())
        self.failureResultOf(doing, ValueError)

    def test_late(self) -> None:
        """
        The work is not cancelled, and its result or error is dropped.
        """
        for end in (1, ValueError()):
            work: Deferred[int] = Deferred()
            doing = Deferred.fromCoroutine(with_timeout(self.clock, 1000, work))
            self.clock.advance(1)
            self.failureResultOf(doing, RequestTimedOut)
            self.assertFalse(work.called)
            work.callback(end) if isinstance(end, int) else work.errback(end)
