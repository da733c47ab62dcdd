"""
The interval of a median.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.builds import interval


class IntervalTests(SynchronousTestCase):
    """
    The 90 % interval that order statistics give.
    """

    def test_twelve(self) -> None:
        """
        Of twelve values the third to the tenth: that is 96 %, and one step
        further in is 85 %.
        """
        values = [float(value) for value in (12, 3, 9, 1, 10, 4, 6, 5, 7, 2, 8, 11)]
        self.assertEqual(interval(values), (3.0, 10.0))

    def test_few(self) -> None:
        """
        Of too few values for any coverage, the extremes.
        """
        self.assertEqual(interval([1.2, 0.9]), (0.9, 1.2))
