"""
The history of leader epochs.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format.epochs import Epochs

HISTORY = Epochs([(1, 0), (3, 10), (4, 25)])


class EpochsTests(SynchronousTestCase):
    """
    L{Epochs}, by the rules of KIP-101 and KIP-279.
    """

    def test_at(self) -> None:
        """
        A record belongs to the epoch that began last before it.
        """
        expected = {0: 1, 9: 1, 10: 3, 24: 3, 25: 4, 2**60: 4}
        for offset, epoch in expected.items():
            self.assertEqual(HISTORY.at(offset), epoch)
        self.assertEqual(Epochs([(3, 10)]).at(9), -1)
        self.assertEqual(Epochs().at(0), -1)

    def test_end_of_leaders_epoch(self) -> None:
        """
        The present epoch ends at the end of the log.
        """
        self.assertEqual(HISTORY.end_of(4, 4, 40), (4, 40))

    def test_end_of_former_epoch(self) -> None:
        """
        A former epoch ends where the next one began.
        """
        self.assertEqual(HISTORY.end_of(1, 4, 40), (1, 10))
        self.assertEqual(HISTORY.end_of(3, 4, 40), (3, 25))

    def test_end_of_missing_epoch(self) -> None:
        """
        Of an epoch that wrote nothing, the answer is the one before it, and
        where that one ended (KIP-279).
        """
        self.assertEqual(HISTORY.end_of(2, 4, 40), (1, 10))

    def test_end_of_older_epoch(self) -> None:
        """
        An epoch older than all that are known ends where they begin.
        """
        self.assertEqual(HISTORY.end_of(0, 4, 40), (0, 0))
        self.assertEqual(HISTORY.truncate(20).end_of(1, 4, 40), (1, 20))

    def test_end_of_newer_epoch(self) -> None:
        """
        An epoch that is newer than the leader's is not known, nor is -1.
        """
        self.assertEqual(HISTORY.end_of(5, 4, 40), (-1, -1))
        self.assertEqual(HISTORY.end_of(-1, 4, 40), (-1, -1))
        self.assertEqual(Epochs().end_of(0, -1, 40), (-1, -1))

    def test_leader_without_records(self) -> None:
        """
        A leader that has written nothing is part of the history all the same.
        """
        self.assertEqual(HISTORY.end_of(7, 7, 40), (7, 40))
        self.assertEqual(HISTORY.end_of(6, 7, 40), (4, 40))
        self.assertEqual(Epochs().end_of(2, 2, 0), (2, 0))
        self.assertEqual(Epochs().end_of(1, 2, 0), (1, 0))

    def test_assign(self) -> None:
        """
        A new epoch ends the history; those that wrote nothing leave it.
        """
        self.assertEqual(HISTORY.assign(5, 30).entries[-2:], ((4, 25), (5, 30)))
        self.assertEqual(HISTORY.assign(5, 25), Epochs([(1, 0), (3, 10), (5, 25)]))
        self.assertEqual(HISTORY.assign(5, 10), Epochs([(1, 0), (5, 10)]))
        self.assertEqual(HISTORY.assign(3, 30), Epochs([(1, 0), (3, 30)]))
        self.assertEqual(Epochs().assign(0, 0), Epochs([(0, 0)]))

    def test_assign_again(self) -> None:
        """
        What is known already changes nothing.
        """
        self.assertIs(HISTORY.assign(4, 25), HISTORY)
        self.assertIs(HISTORY.assign(3, 10), HISTORY)

    def test_truncate(self) -> None:
        """
        The epoch that covers the log start stays, and starts there.
        """
        self.assertEqual(HISTORY.truncate(0), HISTORY)
        self.assertEqual(HISTORY.truncate(5), Epochs([(1, 5), (3, 10), (4, 25)]))
        self.assertEqual(HISTORY.truncate(10), Epochs([(3, 10), (4, 25)]))
        self.assertEqual(HISTORY.truncate(99), Epochs([(4, 99)]))
        self.assertEqual(Epochs([(3, 10)]).truncate(4), Epochs([(3, 10)]))
        self.assertEqual(Epochs().truncate(4), Epochs())

    def test_json(self) -> None:
        """
        A history goes through JSON and back.
        """
        self.assertEqual(Epochs(json.loads(json.dumps(HISTORY.to_json()))), HISTORY)
        self.assertEqual(repr(HISTORY), "Epochs([(1, 0), (3, 10), (4, 25)])")
        self.assertEqual(len({HISTORY, Epochs(HISTORY.entries)}), 1)

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=12))
    def test_always_grows(self, assignments: list[tuple[int, int]]) -> None:
        """
        Whatever is assigned, epochs and offsets grow, and every epoch ends
        where another begins or at the end.
        """
        history = Epochs()
        for epoch, start in assignments:
            history = history.assign(epoch, start)
            self.assertIn((epoch, start), history.entries)
        for (epoch, start), (following, stop) in zip(
            history.entries, history.entries[1:], strict=False
        ):
            self.assertLess(epoch, following)
            self.assertLess(start, stop)
            self.assertEqual(history.end_of(epoch, following, 99)[0], epoch)
