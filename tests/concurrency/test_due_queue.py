"""
Items that become due.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.due_queue import LONGEST, STALE, DueQueue


class DueQueueTests(SynchronousTestCase):
    """
    Tests of `DueQueue`.
    """

    def setUp(self) -> None:
        """
        A queue whose time can be set.
        """
        self.clock = Clock()
        self.ahead = 0.0
        self.reached: list[tuple[str, float]] = []
        self.queue: DueQueue[str] = DueQueue(self.clock, self.now, self.reach)

    def now(self) -> float:
        """
        The time, as it was set.
        """
        return self.clock.seconds() + self.ahead

    def reach(self, item: str) -> None:
        """
        An item is due.
        """
        self.reached.append((item, self.clock.seconds()))

    def test_in_order(self) -> None:
        """
        Each is reached at its time, once.
        """
        self.queue.put("later", 20)
        self.queue.put("sooner", 10)
        self.clock.pump([1] * 30)
        self.assertEqual(self.reached, [("sooner", 10), ("later", 20)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_timer(self) -> None:
        """
        However many there are.
        """
        for number in range(100):
            self.queue.put(str(number), 50 - number / 10)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_last_word(self) -> None:
        """
        An item that is put again is due then, and not as before.
        """
        self.queue.put("a", 5)
        self.queue.put("a", 10)
        self.queue.sooner("a", 12)
        self.queue.put("b", 20)
        self.queue.sooner("b", 7)
        self.clock.pump([1] * 30)
        self.assertEqual(self.reached, [("b", 7), ("a", 10)])

    def test_never_within_a_call(self) -> None:
        """
        What is due at once is reached when the caller has gone.
        """
        self.queue.put("a", -1)
        self.assertEqual(self.reached, [])
        self.clock.advance(0)
        self.assertEqual(self.reached, [("a", 0)])

    def test_removed(self) -> None:
        """
        What is removed is not reached, and leaves nothing behind for long.
        """
        for number in range(3 * STALE):
            self.queue.put(str(number), 10)
            self.queue.remove(str(number))
        self.queue.remove("never there")
        self.assertLessEqual(len(self.queue._heap), STALE + 2)
        self.clock.pump([1] * 30)
        self.assertEqual(self.reached, [])

    def test_the_time_is_set(self) -> None:
        """
        When the time jumps ahead, what is due by then is reached before long.
        """
        self.queue.put("a", 86_400)
        self.ahead = 90_000
        self.clock.advance(LONGEST)
        self.assertEqual(self.reached, [("a", LONGEST)])

    def test_stop(self) -> None:
        """
        Nothing comes after.
        """
        self.queue.put("a", 1)
        self.queue.stop()
        self.queue.put("b", 1)
        self.assertNotIn("b", self.queue)
        self.assertEqual(self.clock.getDelayedCalls(), [])
