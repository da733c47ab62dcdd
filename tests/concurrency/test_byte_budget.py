"""
A bound on the bytes that are in memory at one time.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.byte_budget import ByteBudget


class ByteBudgetTests(SynchronousTestCase):
    """
    Tests of `ByteBudget`.
    """

    def test_in_order(self) -> None:
        """
        A small request does not overtake a large one that waits.
        """
        budget = ByteBudget(10)
        self.assertEqual(self.successResultOf(budget.acquire(6)), 6)
        large = budget.acquire(8)
        small = budget.acquire(1)
        self.assertNoResult(large)
        self.assertNoResult(small)
        budget.release(6)
        self.assertEqual(self.successResultOf(large), 8)
        self.assertEqual(self.successResultOf(small), 1)

    def test_larger_than_all(self) -> None:
        """
        A request for more than the limit gets the limit.
        """
        self.assertEqual(self.successResultOf(ByteBudget(10).acquire(11)), 10)

    def test_cancelled(self) -> None:
        """
        When a large request that waits is cancelled, those behind it go on.
        """
        budget = ByteBudget(10)
        self.successResultOf(budget.acquire(6))
        large, small = budget.acquire(8), budget.acquire(1)
        large.cancel()
        self.failureResultOf(large, CancelledError)
        self.assertEqual(self.successResultOf(small), 1)
