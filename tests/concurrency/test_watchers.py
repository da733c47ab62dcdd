"""
Watchers, which are woken at the next change.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.watchers import Watchers


class Counting:
    """
    A watcher that counts how often it is woken, and watches on if it is to.
    """

    def __init__(self, again: Watchers | None = None) -> None:
        self.again = again
        self.woken = 0

    def wake(self) -> None:
        """
        See L{Watcher.wake}.
        """
        self.woken += 1
        if self.again is not None:
            self.again.add(self)


class WatchersTests(SynchronousTestCase):
    """
    Tests of `Watchers`.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.watchers = Watchers()

    def test_once(self) -> None:
        """
        Each watcher is woken at the first change, however often it was added.
        """
        one, other = Counting(), Counting()
        for each in (one, other, one):
            self.watchers.add(each)
        self.watchers.wake()
        self.watchers.wake()
        self.assertEqual((one.woken, other.woken), (1, 1))

    def test_again(self) -> None:
        """
        A watcher that is added while it is woken waits for the next change.
        """
        watcher = Counting(self.watchers)
        self.watchers.add(watcher)
        self.watchers.wake()
        self.assertEqual(watcher.woken, 1)
        self.watchers.wake()
        self.assertEqual(watcher.woken, 2)

    def test_dropped(self) -> None:
        """
        A watcher to which nothing else refers leaves by itself.
        """
        gone, stays = Counting(), Counting()
        self.watchers.add(gone)
        self.watchers.add(stays)
        del gone
        self.assertEqual(len(self.watchers), 1)
        self.watchers.wake()
        self.assertEqual(stays.woken, 1)
