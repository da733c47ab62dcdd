"""
Tests of `kafscale.counts`.
"""

from __future__ import annotations

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.counts import SECONDS, Histogram, LogCounts


class HistogramTests(SynchronousTestCase):
    """
    Histograms of durations.
    """

    def test_places(self) -> None:
        """
        A duration counts in the first bucket whose bound is not smaller, or in the last
        one if it exceeds all bounds.
        """
        histogram = Histogram()
        for seconds in (0.0, 0.0005, 0.00051, 30.0, 30.1):
            histogram.add(seconds)
        self.assertEqual(histogram.counts[:2], [2, 1])
        self.assertEqual(histogram.counts[-2:], [1, 1])
        self.assertEqual(len(histogram.counts), len(SECONDS) + 1)
        self.assertAlmostEqual(histogram.total, 60.10101)

    def test_clock_set_back(self) -> None:
        """
        The sum only grows, even if the clock is set back.
        """
        histogram = Histogram()
        histogram.add(-3600.0)
        self.assertEqual(histogram.total, 0.0)
        self.assertEqual(histogram.counts[0], 1)


class TopicTests(SynchronousTestCase):
    """
    Counters of topics.
    """

    def test_one_for_all_partitions(self) -> None:
        """
        All partitions of a topic have the same counters.
        """
        counts = LogCounts()
        self.assertIs(counts.topic(UUID(int=1)), counts.topic(UUID(int=1)))
        self.assertIsNot(counts.topic(UUID(int=1)), counts.topic(UUID(int=2)))
