"""
A time-out for exchanges that take as long as they need while they progress.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.stall_timeout import StallTimeout

STALL = 10.0
LIMIT = 30.0


class StallTimeoutTests(SynchronousTestCase):
    """
    Tests of `StallTimeout`.
    """

    def setUp(self) -> None:
        """
        An exchange that has just begun.
        """
        self.clock = Clock()
        self.waiting: Deferred[None] = Deferred()
        self.timeout = StallTimeout(self.clock, STALL, LIMIT)
        self.timeout.guard(self.waiting)

    def test_stall(self) -> None:
        """
        Without progress the exchange is cancelled.
        """
        self.clock.advance(STALL - 1)
        self.timeout.progressed()
        self.clock.pump([1] * int(STALL - 1))
        self.assertNoResult(self.waiting)
        self.clock.pump([1, 1])
        self.failureResultOf(self.waiting, CancelledError)
        self.assertIn("no progress", self.timeout.verdict)
        self.timeout.end()

    def test_dripping(self) -> None:
        """
        An exchange that progresses, but too slowly, is cancelled at its limit.
        """
        self.timeout.extend(3 * LIMIT)
        self.timeout.extend(2 * LIMIT)
        for _ in range(int(3 * LIMIT) - 1):
            self.clock.advance(1)
            self.timeout.progressed()
        self.assertNoResult(self.waiting)
        self.clock.advance(1.5)
        self.failureResultOf(self.waiting, CancelledError)
        self.assertIn("not done", self.timeout.verdict)

    def test_guard_another(self) -> None:
        """
        Only the last Deferred that was guarded is cancelled.
        """
        later: Deferred[None] = Deferred()
        self.timeout.guard(later)
        self.clock.advance(STALL)
        self.failureResultOf(later, CancelledError)
        self.assertNoResult(self.waiting)

    def test_end(self) -> None:
        """
        When the exchange has ended, no timer is left.
        """
        self.timeout.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.timeout.verdict, "")
