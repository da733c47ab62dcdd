"""
Tests of `kafscale.concurrency.coarse_timers`.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.coarse_timers import Call, CoarseTimers


class CoarseTimersTests(SynchronousTestCase):
    """
    Calls that are made together.
    """

    def setUp(self) -> None:
        """
        Ticks of a quarter of a second.
        """
        self.clock = Clock()
        self.clock.advance(1000.1)
        self.timers = CoarseTimers(self.clock, 0.25)
        self.made: list[str] = []

    def later(self, seconds: float, name: str) -> tuple[int, Call]:
        """
        A call that leaves its name.
        """

        def call() -> None:
            self.made.append(name)

        return self.timers.call_later(seconds, call), call

    def test_together(self) -> None:
        """
        What is due in one tick shares a timer, and is made at its end, in
        order: never early, and less than a tick late.
        """
        self.later(0.20, "a")  # due at .30, made at .50
        self.later(0.36, "b")
        self.later(0.16, "c")
        self.later(0.10, "d")
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.clock.advance(0.1)
        self.assertEqual(self.made, [])
        self.clock.advance(0.06)
        self.assertEqual(self.made, ["d"])
        self.clock.advance(0.23)
        self.assertEqual(self.made, ["d"])
        self.clock.advance(0.02)
        self.assertEqual(self.made, ["d", "a", "b", "c"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """
        What is cancelled is not made; the last one takes the timer with it.
        """
        calls = [self.later(0.2, name) for name in "ab"]
        self.timers.cancel(*calls[0])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.timers.cancel(*calls[1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.later(0.2, "c")
        self.clock.advance(1)
        self.assertEqual(self.made, ["c"])

    def test_cancel_in_the_same_tick(self) -> None:
        """
        A call may cancel another that is due with it, or ask for one more.
        """

        def first() -> None:
            self.timers.cancel(*doomed)
            self.later(0.0, "again")

        self.timers.call_later(0.2, first)
        doomed = self.later(0.2, "doomed")
        self.clock.advance(0.4)
        self.assertEqual(self.made, ["again"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """
        A call that fails is logged, and holds up no other.
        """

        def fail() -> None:
            raise ValueError("no")

        self.timers.call_later(0.2, fail)
        self.later(0.2, "other")
        self.clock.advance(1)
        self.assertEqual(self.made, ["other"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
