"""
Idempotent producers: Kafka's rules, one by one.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import InvalidProducerEpoch, OutOfOrderSequenceNumber
from kafscale.format.errors import CorruptObject, NewerFormat
from kafscale.format.producers import NOT_KNOWN
from kafscale.log.partition.producers import ProducerStates
from kafscale.wire.records import BatchHeader, Record, build_batch, read_batch_header

DAY = 86_400_000


def batch(
    sequence: int, count: int = 1, epoch: int = 0, producer: int = 7, offset: int = 0
) -> BatchHeader:
    """
    Build the header of a batch of C{count} records.
    """
    records = [Record(offset + n, 1_000 + n, None, b"") for n in range(count)]
    built = build_batch(records, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)
    return read_batch_header(built)


class CheckTests(SynchronousTestCase):
    """
    New batches and duplicates.
    """

    def setUp(self) -> None:
        """
        A producer has appended the sequences 0 to 9 at offset 100, in epoch 3.
        """
        self.states = ProducerStates()
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
        self.assertEqual(self.states.check(batch(0, 10, epoch=3), 0), 100)

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
            self.assertEqual(self.states.check(batch(10 + n, epoch=3), 0), 110 + n)
        self.assertRaises(OutOfOrderSequenceNumber, self.states.check, batch(0, 10, epoch=3), 0)

    def test_unknown_producer(self) -> None:
        """
        An unknown producer may start with any sequence.
        """
        self.assertIsNone(self.states.check(batch(500, producer=8), 0))
        self.states.append(batch(500, producer=8), 110, 0)
        self.assertRaises(OutOfOrderSequenceNumber, self.states.check, batch(0, producer=8), 0)

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
        self.assertEqual(self.states.check(header, 0), 110)
        self.assertRaises(InvalidProducerEpoch, self.states.check, batch(0, 10, epoch=3), 0)

    def test_sequence_wraps(self) -> None:
        """
        0 follows 2^31-1, between two batches and within one.
        """
        states = ProducerStates()
        states.append(batch(2**31 - 1), 0, 0)
        self.assertIsNone(states.check(batch(0), 0))
        states = ProducerStates()
        within = batch(2**31 - 2, 4)
        states.append(within, 0, 0)
        self.assertEqual(states.check(within, 0), 0)
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
        states = ProducerStates()
        states.append(batch(0), 0, 1_000)
        self.assertEqual(states.check(batch(0), 1_000 + DAY - 1), 0)
        self.assertIsNone(states.check(batch(0), 1_000 + DAY))
        self.assertEqual(len(states), 0)

    def test_active(self) -> None:
        """
        Each batch starts the day again; idle producers are forgotten while
        others stay.
        """
        states = ProducerStates()
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
        states = ProducerStates()
        states.append(batch(0), 0, 50 * DAY)  # its records are of 1970
        self.assertEqual(states.check(batch(0), 50 * DAY + 1), 0)

    def test_rebuilt(self) -> None:
        """
        A producer known from the log alone counts as seen at the first check.
        """
        states = ProducerStates()
        states.replay(batch(0, producer=1, offset=30))
        states.replay(batch(0, producer=2, offset=31))
        self.assertEqual([state.seen for state in states.all()], [NOT_KNOWN] * 2)
        self.assertEqual(states.check(batch(0, producer=1), 50 * DAY), 30)
        states.expire(51 * DAY - 1)
        self.assertEqual(len(states), 2)
        states.expire(51 * DAY)
        self.assertEqual(len(states), 0)

    def test_bounded(self) -> None:
        """
        Of more producers than the limit, the longest idle are forgotten.
        """
        states = ProducerStates(limit=2)
        for producer in (1, 2, 1, 3):
            states.append(batch(0, producer=producer), 0, 0)
        self.assertEqual([state.producer_id for state in states.all()], [1, 3])


class SnapshotTests(SynchronousTestCase):
    """
    Storing and rebuilding.
    """

    def test_nothing(self) -> None:
        """
        The snapshot of no states, and empty bytes, restore no states.
        """
        for snapshot in (b"", ProducerStates().snapshot()):
            states = ProducerStates()
            states.append(batch(0), 0, 0)
            states.restore(snapshot)
            self.assertEqual(len(states), 0)

    def test_broken(self) -> None:
        """
        Bytes that are cut short or of another version are refused, and leave
        the states as they were.
        """
        states = ProducerStates()
        states.append(batch(0), 0, 0)
        snapshot = states.snapshot()
        for size in range(1, len(snapshot)):
            self.assertRaises(CorruptObject, states.restore, snapshot[:size])
        self.assertRaises(NewerFormat, states.restore, b"\x02" + snapshot[1:])
        self.assertEqual(len(states), 1)

    def test_copy(self) -> None:
        """
        A copy and its original do not change with one another.
        """
        states = ProducerStates()
        states.append(batch(0), 0, 0)
        other = states.copy()
        other.append(batch(1), 1, 0)
        self.assertIsNone(states.check(batch(1), 0))
        self.assertEqual(other.check(batch(1), 0), 1)

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
        whole = ProducerStates()
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
        rebuilt = ProducerStates()
        for header in headers[:cut]:
            rebuilt.replay(header)
        stored = rebuilt.snapshot()
        rebuilt = ProducerStates()
        rebuilt.restore(stored)
        for header in headers[cut:]:
            rebuilt.replay(header)
        self.assertEqual(rebuilt.all(), whole.all())
        self.assertEqual(rebuilt.snapshot(), whole.snapshot())
