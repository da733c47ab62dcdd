"""
Tests for L{kafscale.log.retention.log_start}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from kafscale.errors import NotLeaderOrFollower, OffsetOutOfRange
from kafscale.format import metadata_keys
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Verdict, hold, let_pass
from tests.log.rolling.rolling_case import PARTITIONS, RollingTestCase


class MoveTests(RollingTestCase):
    """
    Deleting records before an offset.
    """

    def setUp(self) -> None:
        """
        Write segments at 0, 2 and 4, and a tail of two records.
        """
        super().setUp()
        self.main = self.leading()
        self.partition = self.main.partition()
        for _ in range(3):
            self.main.append(b"a", b"b")
            now(self.main.roll(self.partition))
        self.main.append(b"a", b"b")

    def move(self, offset: int) -> Deferred[int]:
        """
        Start to delete the records before an offset.
        """
        return begin(self.partition.delete_before(offset))

    def test_within_a_segment(self) -> None:
        """
        The segment that holds the new log start stays.
        """
        before = self.shared.record().stored_bytes
        self.assertEqual(self.successResultOf(self.move(3)), 3)
        self.assertEqual(self.shared.segments(), [2, 4])
        record = self.shared.record()
        self.assertEqual((record.log_start, record.first_segment), (3, 2))
        self.assertEqual(record.stored_bytes, before * 2 // 3)
        self.assertEqual(self.read_all(self.main), [b"b", b"a", b"b", b"a", b"b"])
        self.assertRaises(OffsetOutOfRange, self.partition.read, 2, 100, True)

    def test_backwards(self) -> None:
        """
        The log start never goes back, nor past the high watermark.
        """
        self.successResultOf(self.move(3))
        for offset in (9, -2):
            self.failureResultOf(self.move(offset), OffsetOutOfRange)
        self.assertEqual(self.successResultOf(self.move(2)), 3)
        self.assertEqual(self.successResultOf(self.move(3)), 3)

    def test_two_at_once(self) -> None:
        """
        Two moves at once are both done, in whichever order.
        """
        self.main.obey(hold("commit", metadata_keys.PARTITIONS))
        moves = [self.move(5), self.move(3)]
        self.main.settle()
        self.assertEqual([self.successResultOf(move) for move in moves], [5, 5])
        self.assertEqual(self.shared.segments(), [4])

    def test_a_store_that_does_not_delete(self) -> None:
        """
        The log start has moved, and that is answered. The next move deletes what
        is left, and does not count it twice.
        """
        before = self.shared.record().stored_bytes
        self.main.obey(
            lambda operation: Verdict.FAIL if operation.kind == "delete" else Verdict.SUCCEED
        )
        moving = self.move(2)
        for _ in range(40):
            self.main.clock.advance(1)
        self.assertEqual(self.successResultOf(moving), 2)
        self.assertEqual(self.shared.segments(), [0, 2, 4])
        self.main.obey(let_pass)
        self.assertEqual(self.successResultOf(self.move(4)), 4)
        self.assertEqual(self.shared.segments(), [4])
        self.assertEqual(self.shared.record().stored_bytes, before // 3)

    def test_of_a_partition_that_is_dropped_meanwhile(self) -> None:
        """
        The partition is not led any more.
        """
        self.main.obey(hold("commit", metadata_keys.PARTITIONS))
        rolling = begin(self.main.roll(self.partition))
        moving = self.move(3)
        self.partition.drop()
        self.main.settle()
        self.successResultOf(rolling)
        self.failureResultOf(moving, NotLeaderOrFollower)

    def test_who_was_replaced(self) -> None:
        """
        A segment is missing because a successor has deleted it: the broker finds
        that it was replaced.
        """
        successor = self.leader(PARTITIONS)
        now(successor.partition().delete_before(6))
        self.partition.segments.forget_footers()
        self.failureResultOf(self.move(1), NotLeaderOrFollower)
        self.assertTrue(self.main.fenced)

    def test_epochs(self) -> None:
        """
        The history of epochs begins at the new log start.
        """
        self.main.crash()
        successor = self.leader(PARTITIONS)
        partition = successor.partition()
        self.assertEqual(partition.epochs.entries, ((0, 0), (1, 8)))
        now(partition.delete_before(3))
        self.assertEqual(partition.epochs.entries, ((0, 3), (1, 8)))
        self.assertEqual(self.shared.record().epochs, ((0, 3), (1, 8)))
