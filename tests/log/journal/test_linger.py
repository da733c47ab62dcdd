"""
Tests for L{kafscale.log.journal.linger}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.log.journal.linger import IDLE, Linger


class LingerTests(SynchronousTestCase):
    """
    With 50 ms from one slot to the next.
    """

    def setUp(self) -> None:
        """
        Begin without a slot.
        """
        self.linger = Linger(0.05)

    def test_idle(self) -> None:
        """
        The first slot waits for a moment only, and so does one long after
        another.
        """
        self.assertEqual(self.linger.wait(1000.0), IDLE)
        self.linger.closed(1000.0 + IDLE)
        self.assertEqual(self.linger.wait(2000.0), IDLE)

    def test_busy(self) -> None:
        """
        A slot follows at the interval, whenever its first batch comes.
        """
        self.linger.closed(1000.0)
        for after, wait in [(0.0, 0.05), (0.01, 0.04), (0.035, 0.015), (0.045, IDLE)]:
            self.assertAlmostEqual(self.linger.wait(1000.0 + after), wait)

    def test_requests_are_bounded(self) -> None:
        """
        However many batches come, there are no more slots in a second than the
        interval allows, and no batch waits for longer than that.
        """
        slots, waits = 0, []
        due = None
        for tick in range(1000):  # a batch each millisecond
            now = tick / 1000
            if due is not None and now >= due:
                self.linger.closed(now)
                slots, due = slots + 1, None
            if due is None:
                waits.append(self.linger.wait(now))
                due = now + waits[-1]
        self.assertLessEqual(slots, 20)
        self.assertGreaterEqual(slots, 18)
        self.assertLessEqual(max(waits), 0.05)

    def test_short_interval(self) -> None:
        """
        An interval shorter than a moment is kept, too.
        """
        linger = Linger(0.004)
        self.assertEqual(linger.wait(1.0), 0.004)

    def test_none(self) -> None:
        """
        Without an interval no slot waits.
        """
        linger = Linger(0.0)
        self.assertEqual(linger.wait(1.0), 0.0)
        linger.closed(1.0)
        self.assertEqual(linger.wait(1.0), 0.0)

    def test_clock_set_back(self) -> None:
        """
        A slot that seems to have been closed in the future delays the next one
        no longer than any other.
        """
        self.linger.closed(5000.0)
        self.assertEqual(self.linger.wait(1000.0), 0.05)

    def test_answered_before_it_was_sent(self) -> None:
        """
        A slot that seems to have been stored before it was sent shortens no wait below 0.
        """
        self.linger.alone = True
        self.linger.answered(-30.0)
        self.assertEqual(self.linger.wait_alone(0.05), 0.0)
