"""
Time in a simulation.
"""

from __future__ import annotations

from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.schedule import BEGIN, ProcessClock, Schedule


class ProcessClockTests(SynchronousTestCase):
    """
    A process, and what reaches it.
    """

    def setUp(self) -> None:
        """
        Its clock is right.
        """
        self.schedule = Schedule()
        self.clock = ProcessClock(self.schedule)
        self.seen: list[str] = []

    def run_to(self, seconds: float) -> None:
        """
        Let everything happen up to so many seconds after the beginning.
        """
        self.schedule.run(BEGIN + seconds)

    def test_timers(self) -> None:
        """
        They come in the order of their times, and those of one time in the
        order in which they were set.
        """
        for seconds, name in ((2, "b"), (1, "a"), (2, "c"), (3, "d")):
            self.clock.callLater(seconds, self.seen.append, name)
        self.run_to(2)
        self.assertEqual(self.seen, ["a", "b", "c"])

    def test_cancelled_and_reset(self) -> None:
        """
        A cancelled call does not run, and a call that was reset runs later.
        """
        cancelled = self.clock.callLater(1, self.seen.append, "cancelled")
        later = self.clock.callLater(1, self.seen.append, "later")
        cancelled.cancel()
        later.reset(5)
        self.run_to(4)
        self.assertEqual(self.seen, [])
        self.run_to(5)
        self.assertEqual(self.seen, ["later"])
        self.assertFalse(later.active())

    def test_paused(self) -> None:
        """
        While the clock is paused nothing runs; then all due calls do, timers
        first, and then deliveries in their order.
        """
        self.clock.callLater(2, self.seen.append, "timer")
        self.clock.pause()
        self.schedule.after(1, self.clock.deliver, self.seen.append, "first")
        self.schedule.after(3, self.clock.deliver, self.seen.append, "second")
        self.run_to(60)
        self.assertEqual(self.seen, [])
        self.assertAlmostEqual(self.clock.seconds(), BEGIN + 60, places=3)
        self.clock.go_on()
        self.run_to(60)
        self.assertEqual(self.seen, ["timer", "first", "second"])

    def test_dead(self) -> None:
        """
        Nothing reaches it any more.
        """
        self.clock.callLater(1, self.seen.append, "timer")
        self.clock.die()
        self.clock.deliver(self.seen.append, "delivered")
        self.run_to(10)
        self.assertEqual(self.seen, [])

    def test_rate(self) -> None:
        """
        A clock that runs at double speed has its timers come in half the time,
        also those that were set before.
        """
        self.clock.callLater(10, self.seen.append, "before")
        self.run_to(2)
        self.clock.drift(2.0)
        self.clock.callLater(10, self.seen.append, "after")
        self.run_to(5.9)
        self.assertEqual(self.seen, [])
        self.run_to(6)
        self.assertEqual(self.seen, ["before"])
        self.run_to(7)
        self.assertEqual(self.seen, ["before", "after"])

    def test_jump(self) -> None:
        """
        After a jump ahead the timers in between are due; after one back they
        take longer.
        """
        self.clock.callLater(10, self.seen.append, "timer")
        self.clock.drift(1.0, -20.0)
        self.run_to(29)
        self.assertEqual(self.seen, [])
        self.clock.drift(1.0, 20.0)
        self.run_to(29)
        self.assertEqual(self.seen, ["timer"])

    def test_twisted(self) -> None:
        """
        Twisted takes it for a reactor's time.
        """
        loop = LoopingCall(self.seen.append, "again")
        loop.clock = self.clock
        loop.start(1.0, now=False)
        self.run_to(3.5)
        self.assertEqual(self.seen, ["again"] * 3)
        loop.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
