"""
Tests for L{kafscale.ops.turns}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.counts import LONG_TURN, TurnCounts
from kafscale.ops.turns import count_turns


class Reactor:
    """
    A reactor whose turns take as much CPU time as a test says.

    @ivar cpu: The CPU time of its thread so far.
    """

    def __init__(self) -> None:
        self.cpu = 100.0
        self.delays: list[float | None] = []

    def doIteration(self, delay: float | None) -> None:  # noqa: N802 - Twisted's name
        """
        Read and write.
        """
        self.delays.append(delay)
        self.cpu += 0.001


class TurnsTests(SynchronousTestCase):
    """
    Counting turns.
    """

    def test_longest(self) -> None:
        """
        The longest turn is kept, and the long ones are counted, with delayed calls and
        with what is read and written; what was before is not.
        """
        reactor = Reactor()
        counts = TurnCounts()
        count_turns(reactor, lambda: reactor.cpu, counts)
        for seconds in (0.25, 0.5, LONG_TURN / 2, 0.125):
            reactor.cpu += seconds
            reactor.doIteration(seconds)
        self.assertEqual(reactor.delays, [0.25, 0.5, LONG_TURN / 2, 0.125])
        self.assertAlmostEqual(counts.longest, 0.501)
        self.assertEqual(counts.long, 3)
