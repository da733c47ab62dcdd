"""
What the benchmark of access works out of its figures.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.access import longest_turn, with_ratios


class FiguresTests(SynchronousTestCase):
    """
    Cells of tables.
    """

    def test_ratios(self) -> None:
        """
        What is encrypted is compared with the same server's plain figure.
        """
        self.assertEqual(
            with_ratios([1.0, 2.5, 0.5, 2.0]), ["1.00", "2.50 (2.5)", "0.50", "2.00 (4.0)"]
        )

    def test_longest_turn(self) -> None:
        """
        The figure is found among other metrics, and a page without it is an error.
        """
        name = "kafscale_reactor_longest_turn_seconds"
        page = f"# TYPE {name} gauge\n{name} 0.0042\n{name}_of_another 7.0\n"
        self.assertEqual(longest_turn(page), 0.0042)
        self.assertRaises(AssertionError, longest_turn, "kafscale_other 1.0\n")
