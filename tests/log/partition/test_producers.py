"""
Idempotent producers: Kafka's rules, one by one.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import InvalidProducerEpoch, OutOfOrderSequenceNumber
from kafscale.format.errors import CorruptObject, NewerFormat
from kafscale.format.producers import NOT_KNOWN, ProducedBatch
from kafscale.log.partition.producers import REFUSED, ProducerStates
from kafscale.wire.records import BatchHeader, Record, build_batch, read_batch_header

DAY = 86_400_000

MARK = 100
"""Producers from this id on are new."""


def batch(
    sequence: int, count: int = 1, epoch: int = 0, producer: int = 7, offset: int = 0
) -> BatchHeader:
    """
    Build the header of a batch of C{count} records.
    """
    records = [Record(offset + n, 1_000 + n, None, b"") for n in range(count)]
    built = build_batch(records, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)
    return read_batch_header(built)


def appended_at(found: ProducedBatch | None) -> int | None:
    """
    The base offset of a batch that was appended before.
    """
    return None if found is None else found.base_offset


class CheckTests(SynchronousTestCase):
    """
    New batches and duplicates.
    """

    def setUp(self) -> None:
        """
        A producer has appended the sequences 0 to 9 at offset 100, in epoch 3.
        """
        self.states = ProducerStates(MARK)
        self.states.append(batch(0, 10, epoch=3), 100, 0)

    def test_no_producer(self) -> None:
        """
        A batch without a producer id is always new, and is not remembered.
        """
        header = batch(-1, producer=-1, epoch=-1)
        self.states.append(header, 110, 0)
        self.assertIsNone(self.states.check(header, 0))
        self.assertEqual(len(self.states), 1)

    def test_next(self) -> None:
        """
        The next sequence is new; checking it changes nothing.
        """
        for _ in range(2):
            self.assertIsNone(self.states.check(batch(10, epoch=3), 0))

    def test_duplicate(self) -> None:
        """
        The same batch again has the offset that it got before.
        """
        self.assertEqual(appended_at(self.states.check(batch(0, 10, epoch=3), 0)), 100)

    def test_part_of_a_batch(self) -> None:
        """
        Records that came before, in a batch of another size, are no duplicate
        that could be answered with an offset.
        """
        for header in (batch(0, 9, epoch=3), batch(1, 9, epoch=3), batch(9, 2, epoch=3)):
            self.assertRaises(OutOfOrderSequenceNumber, self.states.check, header, 0)

    def test_gap(self) -> None:
        """
        A batch after a missing one is refused, so that it is sent again.
        """
        self.assertRaises(OutOfOrderSequenceNumber, self.states.check, batch(11, epoch=3), 0)

    def test_five_batches(self) -> None:
        """
        The last five batches are remembered, and the one before is not.
        """
        for n in range(5):
            header = batch(10 + n, epoch=3)
            self.assertIsNone(self.states.check(header, 0))
            self.states.append(header, 110 + n, 0)
        for n in range(5):
            self.assertEqual(appended_at(self.states.check(batch(10 + n, epoch=3), 0)), 110 + n)
        self.assertRaises(OutOfOrderSequenceNumber, self.states.check, batch(0, 10, epoch=3), 0)

    def test_unknown_producer(self) -> None:
        """
        An unknown producer whose id is below the mark may start with any sequence:
        it may have been forgotten.
        """
        self.assertIsNone(self.states.check(batch(500, producer=MARK - 1), 0))
        self.assertIsNone(self.states.check(batch(500, producer=8), 0))
        self.states.append(batch(500, producer=8), 110, 0)
        self.assertRaises(OutOfOrderSequenceNumber, self.states.check, batch(0, producer=8), 0)

    def test_new_producer(self) -> None:
        """
        A producer from the mark on is new, and starts with sequence 0, in whatever
        epoch; then it goes on.
        """
        for producer in (MARK, MARK + 1, 2**63 - 1):
            for sequence in (1, 500, 2**31 - 1):
                header = batch(sequence, epoch=2, producer=producer)
                error = self.assertRaises(OutOfOrderSequenceNumber, self.states.check, header, 0)
                self.assertIn("sequence 0 is next", str(error))
            first = batch(0, 3, epoch=2, producer=producer)
            self.assertIsNone(self.states.check(first, 0))
            self.states.append(first, 110, 0)
            self.assertIsNone(self.states.check(batch(3, epoch=2, producer=producer), 0))

    def test_refused_for_good(self) -> None:
        """
        A new producer whose first batches were refused for good may go on after them, or
        begin at 0; it may leave nothing else out, and not in another epoch.
        """
        states = ProducerStates(MARK)
        states.refuse(batch(0, 3, producer=MARK))
        states.refuse(batch(3, 2, producer=MARK))
        self.assertIsNone(states.check(batch(5, producer=MARK), 0))
        self.assertIsNone(states.check(batch(0, producer=MARK), 0))
        for other in (
            batch(3, producer=MARK),
            batch(6, producer=MARK),
            batch(5, epoch=1, producer=MARK),
            batch(5, producer=MARK + 1),
        ):
            self.assertRaises(OutOfOrderSequenceNumber, states.check, other, 0)

    def test_refused_later(self) -> None:
        """
        A batch that was not the first is no beginning, if it is refused for good: those
        before it, which another leader has refused, come again.
        """
        states = ProducerStates(MARK)
        states.refuse(batch(3, producer=MARK))
        self.assertRaises(OutOfOrderSequenceNumber, states.check, batch(4, producer=MARK), 0)
        self.assertEqual(states.refused, {})
        states.refuse(batch(-1, producer=-1, epoch=-1))
        self.assertEqual(states.refused, {})

    def test_refused_and_known(self) -> None:
        """
        Once a batch is appended, that is what counts.
        """
        states = ProducerStates(MARK)
        states.refuse(batch(0, 3, producer=MARK))
        states.append(batch(3, producer=MARK), 0, 0)
        states.refuse(batch(4, producer=MARK))
        self.assertRaises(OutOfOrderSequenceNumber, states.check, batch(5, producer=MARK), 0)
        self.assertIsNone(states.check(batch(4, producer=MARK), 0))

    def test_refused_wraps(self) -> None:
        """
        Sequences begin at 0 again after the largest.
        """
        states = ProducerStates(MARK)
        states.refused[MARK, 0] = 2**31 - 1
        states.refuse(batch(2**31 - 1, 2, producer=MARK))
        self.assertEqual(states.refused, {(MARK, 0): 1})

    def test_refused_many(self) -> None:
        """
        The producers that were refused latest are remembered.
        """
        states = ProducerStates(MARK)
        for producer in range(MARK, MARK + REFUSED):
            states.refuse(batch(0, producer=producer))
        states.refuse(batch(0, producer=MARK))
        states.refuse(batch(0, producer=MARK + REFUSED))
        self.assertEqual(len(states.refused), REFUSED)
        self.assertNotIn((MARK + 1, 0), states.refused)
        self.assertIn((MARK, 0), states.refused)

    def test_older_epoch(self) -> None:
        """
        An old epoch is refused, whatever the sequence.
        """
        for sequence in (0, 10, 99):
            header = batch(sequence, epoch=2)
            self.assertRaises(InvalidProducerEpoch, self.states.check, header, 0)

    def test_newer_epoch(self) -> None:
        """
        A new epoch starts at 0, and batches of the old one are no duplicates
        any more.
        """
        self.assertRaises(OutOfOrderSequenceNumber, self.states.check, batch(10, epoch=4), 0)
        header = batch(0, 10, epoch=4)
        self.assertIsNone(self.states.check(header, 0))
        self.states.append(header, 110, 0)
        self.assertEqual(appended_at(self.states.check(header, 0)), 110)
        self.assertRaises(InvalidProducerEpoch, self.states.check, batch(0, 10, epoch=3), 0)

    def test_sequence_wraps(self) -> None:
        """
        0 follows 2^31-1, between two batches and within one.
        """
        states = ProducerStates(MARK)
        states.append(batch(2**31 - 1), 0, 0)
        self.assertIsNone(states.check(batch(0), 0))
        states = ProducerStates(MARK)
        within = batch(2**31 - 2, 4)
        states.append(within, 0, 0)
        self.assertEqual(appended_at(states.check(within, 0)), 0)
        self.assertIsNone(states.check(batch(2), 0))
        self.assertRaises(OutOfOrderSequenceNumber, states.check, batch(0), 0)

    def test_described(self) -> None:
        """
        A state has what DescribeProducers returns.
        """
        (state,) = self.states.all()
        self.assertEqual(
            (state.producer_id, state.producer_epoch, state.last_sequence, state.last_timestamp),
            (7, 3, 9, 1_009),
        )


class ExpiryTests(SynchronousTestCase):
    """
    Forgetting producers.
    """

    def test_idle(self) -> None:
        """
        After a day without a batch a producer is forgotten, not before.
        """
        states = ProducerStates(MARK)
        states.append(batch(0), 0, 1_000)
        self.assertEqual(appended_at(states.check(batch(0), 1_000 + DAY - 1)), 0)
        self.assertIsNone(states.check(batch(0), 1_000 + DAY))
        self.assertEqual(len(states), 0)

    def test_active(self) -> None:
        """
        Each batch starts the day again; idle producers are forgotten while
        others stay.
        """
        states = ProducerStates(MARK)
        states.append(batch(0, producer=1), 0, 0)
        states.append(batch(0, producer=2), 1, 10)
        states.append(batch(1, producer=1), 2, DAY)
        states.expire(DAY + 10)
        self.assertEqual([state.producer_id for state in states.all()], [1])

    def test_old_timestamps(self) -> None:
        """
        The broker's time counts: a producer that copies old records is not
        idle.
        """
        states = ProducerStates(MARK)
        states.append(batch(0), 0, 50 * DAY)  # its records are of 1970
        self.assertEqual(appended_at(states.check(batch(0), 50 * DAY + 1)), 0)

    def test_rebuilt(self) -> None:
        """
        A producer known from the log alone counts as seen at the first check.
        """
        states = ProducerStates(MARK)
        states.replay(batch(0, producer=1, offset=30))
        states.replay(batch(0, producer=2, offset=31))
        self.assertEqual([state.seen for state in states.all()], [NOT_KNOWN] * 2)
        self.assertEqual(appended_at(states.check(batch(0, producer=1), 50 * DAY)), 30)
        states.expire(51 * DAY - 1)
        self.assertEqual(len(states), 2)
        states.expire(51 * DAY)
        self.assertEqual(len(states), 0)

    def test_bounded(self) -> None:
        """
        Of more producers than the limit, the longest idle are forgotten.
        """
        states = ProducerStates(MARK, limit=2)
        for producer in (1, 2, 1, 3):
            states.append(batch(0, producer=producer), 0, 0)
        self.assertEqual([state.producer_id for state in states.all()], [1, 3])


class MarkTests(SynchronousTestCase):
    """
    The mark rises above the ids that are forgotten.
    """

    def forgotten(self, states: ProducerStates, producer: int) -> None:
        """
        Check that this producer may go on with any sequence, and those after it not.
        """
        self.assertEqual(states.mark, producer + 1)
        self.assertIsNone(states.check(batch(9, producer=producer), DAY))
        after = batch(9, producer=producer + 1)
        self.assertRaises(OutOfOrderSequenceNumber, states.check, after, DAY)

    def test_expired(self) -> None:
        """
        A producer that was idle for too long is forgotten, and not new.
        """
        states = ProducerStates(MARK)
        states.append(batch(0, producer=MARK + 20), 0, 0)
        states.append(batch(0, producer=MARK + 10), 1, 0)
        states.expire(DAY)
        self.forgotten(states, MARK + 20)

    def test_displaced(self) -> None:
        """
        So is a producer that had to make room for another one.
        """
        states = ProducerStates(MARK, limit=2)
        for producer in (MARK + 7, MARK + 1, MARK + 2):
            self.assertEqual(states.mark, MARK)
            states.append(batch(0, producer=producer), 0, DAY)
        self.forgotten(states, MARK + 7)

    def test_displaced_while_replaying(self) -> None:
        """
        Also when the states are rebuilt from the log, and in the states after it only.
        """
        states = ProducerStates(MARK, limit=1)
        records = [Record(0, 1_000, None, b"")]
        batches = [
            build_batch(records, producer_id=producer, producer_epoch=0, base_sequence=0)
            for producer in (MARK + 1, MARK)
        ]
        self.forgotten(states.after(batches, DAY), MARK + 1)
        self.assertEqual(states.mark, MARK)

    def test_below(self) -> None:
        """
        A forgotten id below the mark does not change it.
        """
        states = ProducerStates(MARK)
        states.append(batch(0, producer=3), 0, 0)
        states.expire(DAY)
        self.forgotten(states, MARK - 1)

    def test_stored(self) -> None:
        """
        The mark is in a snapshot, also without any producer.
        """
        states = ProducerStates(MARK)
        states.append(batch(0, producer=MARK + 20), 0, 0)
        states.expire(DAY)
        restored = ProducerStates(MARK + 1000)
        restored.restore(states.snapshot(1))
        self.forgotten(restored, MARK + 20)

    def test_earlier_format(self) -> None:
        """
        Snapshots of level 0 have no mark: the one stays that the states have.
        """
        states = ProducerStates(MARK)
        states.append(batch(0, producer=3), 0, 0)
        for snapshot in (states.snapshot(0), b""):
            restored = ProducerStates(MARK + 1000)
            restored.restore(snapshot)
            self.assertEqual(restored.mark, MARK + 1000)


class SnapshotTests(SynchronousTestCase):
    """
    Storing and rebuilding.
    """

    def test_nothing(self) -> None:
        """
        The snapshot of no states, and empty bytes, restore no states.
        """
        for snapshot in (b"", ProducerStates(MARK).snapshot(1)):
            states = ProducerStates(MARK)
            states.append(batch(0), 0, 0)
            states.restore(snapshot)
            self.assertEqual(len(states), 0)

    def test_broken(self) -> None:
        """
        Bytes that are cut short or of another version are refused, and leave
        the states as they were.
        """
        states = ProducerStates(MARK)
        states.append(batch(0), 0, 0)
        snapshot = states.snapshot(1)
        for size in range(1, len(snapshot)):
            self.assertRaises(CorruptObject, states.restore, snapshot[:size])
        self.assertRaises(NewerFormat, states.restore, b"\x04" + snapshot[1:])
        self.assertEqual(len(states), 1)

    def test_copy(self) -> None:
        """
        A copy and its original do not change with one another.
        """
        states = ProducerStates(MARK)
        states.append(batch(0), 0, 0)
        other = states.copy()
        other.append(batch(1), 1, 0)
        self.assertIsNone(states.check(batch(1), 0))
        self.assertEqual(appended_at(other.check(batch(1), 0)), 1)

    @given(
        st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2), st.integers(1, 30)), max_size=40),
        st.integers(0, 40),
    )
    @settings(max_examples=60, deadline=None)
    def test_rebuilt(self, sends: list[tuple[int, int, int]], cut: int) -> None:
        """
        A stored snapshot and the batches after it give the same states as all
        batches, wherever the cut is.
        """
        whole = ProducerStates(MARK)
        headers = []
        sequences: dict[tuple[int, int], int] = {}
        offset = 0
        for producer, epoch, count in sends:
            sequence = sequences.get((producer, epoch), 0)
            sequences[producer, epoch] = sequence + count
            headers.append(batch(sequence, count, epoch, producer, offset))
            offset += count
        for header in headers:
            whole.replay(header)
        rebuilt = ProducerStates(MARK)
        for header in headers[:cut]:
            rebuilt.replay(header)
        stored = rebuilt.snapshot(1)
        rebuilt = ProducerStates(MARK)
        rebuilt.restore(stored)
        for header in headers[cut:]:
            rebuilt.replay(header)
        self.assertEqual(rebuilt.all(), whole.all())
        self.assertEqual(rebuilt.snapshot(1), whole.snapshot(1))
