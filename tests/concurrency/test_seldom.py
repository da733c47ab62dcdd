"""
Tests of `kafscale.concurrency.seldom`.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.seldom import MOST_SOURCES, Seldom


class SeldomTests(SynchronousTestCase):
    """
    Events that are logged now and then.
    """

    def setUp(self) -> None:
        """
        At most one event in ten seconds passes.
        """
        self.clock = Clock()
        self.seldom = Seldom(self.clock.seconds, 10)

    def test_one_in_so_many_seconds(self) -> None:
        """
        The next one that passes has the number of those held back.
        """
        found = []
        for _ in range(25):
            found.append(self.seldom.passes("a"))
            self.clock.advance(1)
        held = [None] * 9
        self.assertEqual(found, [0, *held, 9, *held, 9, *held[:4]])

    def test_sources(self) -> None:
        """
        Each source counts by itself.
        """
        self.assertEqual(self.seldom.passes("a"), 0)
        self.assertEqual(self.seldom.passes("b"), 0)
        self.assertIsNone(self.seldom.passes("a"))

    def test_ipv6(self) -> None:
        """
        The addresses of a /64 are one source, other addresses are not.
        """
        for first, other, passes in (
            ("2001:db8::1", "2001:db8::ffff:1", None),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", 0),
            ("fe80::1%eth0", "fe80::2%eth0", None),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", 0),
            ("192.0.2.1", "192.0.2.2", 0),
        ):
            self.assertEqual(self.seldom.passes(first), 0)
            self.assertEqual(self.seldom.passes(other), passes)

    def test_bounded(self) -> None:
        """
        The source that has not passed for longest is forgotten when there are
        too many.
        """
        for number in range(MOST_SOURCES):
            self.seldom.passes(str(number))
        self.assertIsNone(self.seldom.passes("0"))
        self.seldom.passes("new")
        self.assertIsNone(self.seldom.passes("1"))
        self.assertEqual(self.seldom.passes("0"), 0)
