"""
Doing many things at once.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.gathering import each, within
from kafscale.errors import RequestTimedOut


class EachTests(SynchronousTestCase):
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

    def test_bounded_and_in_order(self) -> None:
        """
        Only so many are under way; the results stand as the items did.
        """
        doing = Deferred.fromCoroutine(each(self.work, [1, 2, 3], limit=2))
        self.assertEqual(self.begun, [1, 2])
        self.waiting[2].callback("two")
        self.assertEqual(self.begun, [1, 2, 3])
        self.waiting[3].callback("three")
        self.waiting[1].callback("one")
        self.assertEqual(self.successResultOf(doing), ["one", "two", "three"])

    def test_nothing(self) -> None:
        """
        No items, no results.
        """
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(each(self.work, []))), [])

    def test_error(self) -> None:
        """
        An error comes when all is done.
        """
        doing = Deferred.fromCoroutine(each(self.work, [1, 2]))
        self.waiting[1].errback(ValueError("one"))
        self.assertNoResult(doing)
        self.waiting[2].callback("two")
        self.failureResultOf(doing, ValueError)


class WithinTests(SynchronousTestCase):
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
        doing = Deferred.fromCoroutine(within(self.clock, 1000, self.work))
        self.work.callback(1)
        self.assertEqual(self.successResultOf(doing), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fails_in_time(self) -> None:
        """
        So does its error.
        """
        doing = Deferred.fromCoroutine(within(self.clock, 1000, self.work))
        self.work.errback(ValueError())
        self.failureResultOf(doing, ValueError)

    def test_late(self) -> None:
        """
        The work is not cancelled; its end, good or bad, concerns nobody.
        """
        for end in (1, ValueError()):
            work: Deferred[int] = Deferred()
            doing = Deferred.fromCoroutine(within(self.clock, 1000, work))
            self.clock.advance(1)
            self.failureResultOf(doing, RequestTimedOut)
            self.assertFalse(work.called)
            work.callback(end) if isinstance(end, int) else work.errback(end)
