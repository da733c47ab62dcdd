"""
What is known of producers with transactions: which batches and markers are taken, and
who is forgotten (rules T32 to T35, and T37).
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import (
    ConcurrentTransactions,
    InvalidProducerEpoch,
    InvalidTxnState,
    NotEnoughReplicas,
    OutOfOrderSequenceNumber,
    TransactionCoordinatorFenced,
)
from kafscale.format.producers import NOT_KNOWN, has_transactions
from kafscale.log.partition.producers import ProducerStates
from kafscale.wire.control_batches import Marker, build_marker
from kafscale.wire.records import BatchHeader, Record, build_batch, read_batch_header, stamp

DAY = 86_400_000

MARK = 100


def data(
    sequence: int,
    *,
    producer: int = 7,
    epoch: int = 0,
    offset: int = 0,
    transactional: bool = True,
) -> bytes:
    """
    A batch of one record.
    """
    return build_batch(
        [Record(offset, 1_000, None, b"")],
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        transactional=transactional,
    )


def header(sequence: int, **fields: int) -> BatchHeader:
    """
    The header of a batch of one record.
    """
    return read_batch_header(data(sequence, **fields))  # type: ignore[arg-type]


def marker(number: int, *, producer: int = 7, epoch: int = 0) -> Marker:
    """
    A marker that commits.
    """
    return Marker(producer, epoch, True, number)


def at(offset: int, batch: bytes) -> bytes:
    """
    A batch as it is in the log.
    """
    return stamp(memoryview(batch), read_batch_header(batch), offset, 0)


class TransactionalTestCase(SynchronousTestCase):
    """
    The states of a partition.
    """

    def setUp(self) -> None:
        """
        There is none yet.
        """
        self.states = ProducerStates(MARK)

    def append(
        self, sequence: int, offset: int, number: int | None = None, now: int = 0, **fields: int
    ) -> None:
        """
        Check a batch and append it.
        """
        found = header(sequence, **fields)
        self.assertIsNone(self.states.check(found, now, number))
        self.states.append(found, offset, now)

    def end(self, number: int, now: int = 0, **fields: int) -> None:
        """
        Check a marker and append it.
        """
        ending = marker(number, **fields)
        self.assertFalse(self.states.is_late(ending))
        self.states.check_marker(ending)
        self.states.end(ending, 2_000, now)

    def refuses(
        self, error: type[Exception], sequence: int, number: int | None = None, **fields: int
    ) -> None:
        """
        A batch is refused.
        """
        self.assertRaises(error, self.states.check, header(sequence, **fields), 0, number)


class BatchTests(TransactionalTestCase):
    """
    Batches of transactions, and beside them.
    """

    def test_t32_the_first_needs_the_coordinators_word(self) -> None:
        """
        The first batch of a transaction is taken with a number only; those after it need
        none.
        """
        self.refuses(InvalidTxnState, 0)
        self.append(0, 10, number=1)
        self.append(1, 11)
        self.assertEqual(self.states.open_from(), {7: 10})

    def test_t33_the_number_is_above_that_of_the_last_marker(self) -> None:
        """
        A coordinator's answer that comes after the marker of the transaction does not
        count. That of a later transaction does.
        """
        self.append(0, 10, number=1)
        self.end(1)
        for number in (None, 0, 1):
            self.refuses(InvalidTxnState, 1, number)
        self.append(1, 12, number=2)
        self.assertEqual(self.states.open_from(), {7: 12})

    def test_t33_a_marker_before_the_first_batch(self) -> None:
        """
        A marker is remembered of a producer that has appended nothing.
        """
        self.end(3)
        self.refuses(InvalidTxnState, 0, 3)
        self.append(0, 10, number=4)

    def test_t35_a_marker_raises_the_epoch(self) -> None:
        """
        After a marker with a higher epoch, batches of the former are refused, and
        sequences begin at 0.
        """
        self.append(0, 10, number=1)
        self.end(1, epoch=1)
        self.refuses(InvalidProducerEpoch, 1, 2, epoch=0)
        self.refuses(InvalidProducerEpoch, 0, 2, epoch=0)
        self.refuses(OutOfOrderSequenceNumber, 1, 2, epoch=1)
        self.append(0, 12, number=2, epoch=1)

    def test_t35_within_an_epoch(self) -> None:
        """
        A marker of the same epoch leaves the sequences, and what was appended before is
        known: a late copy is answered, and not appended again.
        """
        self.append(0, 10, number=1)
        self.end(1)
        original = self.states.check(header(0), 0, 2)
        assert original is not None
        self.assertEqual(original.base_offset, 10)
        self.refuses(OutOfOrderSequenceNumber, 2, 2)
        self.append(1, 12, number=2)

    def test_t35_a_later_epoch_waits_for_the_marker(self) -> None:
        """
        A batch of a higher epoch than the open transaction's is for later.
        """
        self.append(0, 10, number=1)
        self.refuses(ConcurrentTransactions, 0, 2, epoch=1)
        self.end(1, epoch=1)
        self.append(0, 12, number=2, epoch=1)

    def test_beside_a_transaction(self) -> None:
        """
        A producer with an open transaction appends nothing outside of it; before and
        after, it may.
        """
        self.append(0, 9, transactional=False)
        self.append(1, 10, number=1)
        self.refuses(InvalidTxnState, 2, transactional=False)
        self.end(1)
        self.append(2, 12, transactional=False)
        self.assertEqual(self.states.open_from(), {})

    def test_new_producers_begin_at_0(self) -> None:
        """
        As all do (rule 25).
        """
        self.refuses(OutOfOrderSequenceNumber, 1, 1, producer=MARK)
        self.append(0, 10, number=1, producer=MARK)


class MarkerTests(TransactionalTestCase):
    """
    Markers.
    """

    def test_t34_late(self) -> None:
        """
        A marker is late if its number is not above the last one's.
        """
        self.assertFalse(self.states.is_late(marker(1)))
        self.append(0, 10, number=2)
        self.assertFalse(self.states.is_late(marker(1)))
        self.end(2)
        for number, late in ((1, True), (2, True), (3, False)):
            self.assertEqual(self.states.is_late(marker(number)), late)
        self.append(1, 12, number=3)
        self.assertTrue(self.states.is_late(marker(2)))
        self.assertFalse(self.states.is_late(marker(3)))

    def test_refused(self) -> None:
        """
        A lower epoch, and a lower number.
        """
        self.append(0, 10, number=2, epoch=1)
        self.assertRaises(
            InvalidProducerEpoch, self.states.check_marker, marker(3, epoch=0)
        )
        self.end(2, epoch=1)
        self.assertRaises(
            TransactionCoordinatorFenced, self.states.check_marker, marker(1, epoch=1)
        )
        self.states.check_marker(marker(2, epoch=1))  # as an operator sends it

    def test_an_operators_marker(self) -> None:
        """
        It ends what is open, and the number stays.
        """
        self.append(0, 10, number=1)
        self.end(1)
        self.append(1, 12, number=2)
        self.states.end(marker(0), 2_000, 0)
        state = self.states.get(7)
        assert state is not None
        self.assertEqual((state.number, state.open_from), (1, -1))

    def test_described(self) -> None:
        """
        What DescribeProducers tells of open and of ended transactions, as measured on
        Apache Kafka.
        """
        self.append(0, 10, number=1)
        self.end(1)
        (state,) = self.states.all()
        self.assertEqual((state.last_sequence, state.last_timestamp), (0, 2_000))
        self.append(1, 12, number=2)
        (state,) = self.states.all()
        self.assertEqual(
            (state.number, state.open_from, state.last_timestamp), (1, 12, 1_000)
        )
        self.end(2, epoch=1)
        (state,) = self.states.all()
        self.assertEqual(
            (state.producer_epoch, state.last_sequence, state.last_timestamp, state.open_from),
            (1, -1, 2_000, -1),
        )


class KeptTests(TransactionalTestCase):
    """
    Who is forgotten when.
    """

    def producers(self) -> Sequence[int]:
        """
        Those that are known.
        """
        return [state.producer_id for state in self.states.all()]

    def test_t37_open_transactions_do_not_expire(self) -> None:
        """
        A producer with an open transaction is known for as long as it is open, and then
        for a day, as all are.
        """
        self.append(0, 10, number=1, now=0)
        self.states.expire(100 * DAY)
        self.assertEqual(self.producers(), [7])
        self.end(1, now=100 * DAY)
        self.states.expire(101 * DAY - 1)
        self.assertEqual(self.producers(), [7])
        self.states.expire(101 * DAY)
        self.assertEqual(self.producers(), [])

    def test_t37_those_without_transactions_go_first(self) -> None:
        """
        Of too many the longest idle one goes that had no transaction.
        """
        self.states = ProducerStates(MARK, limit=3)
        self.append(0, 10, number=1, producer=1)
        self.append(0, 11, number=1, producer=2)
        self.end(1, producer=2)
        self.append(0, 13, producer=3, transactional=False)
        self.append(0, 14, producer=4, transactional=False)
        self.assertEqual(self.producers(), [4, 2, 1])
        self.append(0, 15, number=1, producer=5)
        self.assertEqual(self.producers(), [2, 1, 5])

    def test_t37_no_one_is_taken_when_all_had_transactions(self) -> None:
        """
        Then a new producer is refused with an error that lets it try again. Those that
        are known go on, and a day later there is room.
        """
        self.states = ProducerStates(MARK, limit=2)
        self.append(0, 10, number=1, producer=1)
        self.append(0, 11, number=1, producer=2)
        self.end(1, producer=2)
        self.refuses(NotEnoughReplicas, 0, 1, producer=3)
        self.refuses(NotEnoughReplicas, 0, producer=3, transactional=False)
        self.assertTrue(NotEnoughReplicas.retriable)
        self.append(1, 13, number=2, producer=2)
        self.append(1, 14, producer=1)
        self.end(2, producer=2)
        self.append(0, 16, number=1, producer=3, now=DAY)
        self.assertEqual(self.producers(), [1, 3])

    def test_t37_markers_are_taken(self) -> None:
        """
        A marker is never refused for want of room, nor is what the log has: a state over
        the limit stays.
        """
        self.states = ProducerStates(MARK, limit=1)
        self.append(0, 10, number=1, producer=1)
        self.end(1, producer=2)
        self.states.append(header(0, producer=3, transactional=False), 12)
        self.states.append(header(0, producer=4, transactional=False), 13)
        self.assertEqual(self.producers(), [4, 2, 1])


class StoredTests(TransactionalTestCase):
    """
    Footers of segments, and the log after them.
    """

    def test_without_transactions(self) -> None:
        """
        What had no transaction is stored as it always was.
        """
        self.append(0, 10, transactional=False)
        for level in (0, 1, 2):
            snapshot = self.states.snapshot(level)
            self.assertFalse(has_transactions(snapshot))
            self.assertEqual(snapshot[0], min(level, 1) + 1)

    def test_t39_a_footer_has_open_transactions_and_numbers(self) -> None:
        """
        All is restored: who is open since when, epochs, numbers, sequences; at whatever
        level others are written.
        """
        self.append(0, 10, number=1)
        self.append(0, 11, number=1, producer=8)
        self.end(1, producer=8, epoch=1)
        self.append(0, 13, producer=9, transactional=False)
        self.append(0, 14, number=1, producer=10)
        self.end(1, producer=10)
        for level in (0, 1, 2):
            snapshot = self.states.snapshot(level)
            self.assertTrue(has_transactions(snapshot))
            self.assertEqual(snapshot[0], 3)
            restored = ProducerStates(0)
            restored.restore(snapshot)
            self.assertEqual(restored.all(), self.states.all())
            self.assertEqual(restored.open_from(), {7: 10})
            self.assertEqual(restored.mark, MARK)
            self.assertTrue(restored.is_late(marker(1, producer=8)))

    def test_t39_the_log_is_replayed(self) -> None:
        """
        The batches after a footer do what they did when they were appended.
        """
        before = self.states.copy()
        self.append(0, 10, number=1)
        self.append(1, 11)
        self.end(1, epoch=1)
        self.append(0, 13, number=1, producer=8)
        batches = [
            data(0, offset=10),
            data(1, offset=11),
            at(12, build_marker(marker(1, epoch=1), 2_000)),
            data(0, producer=8, offset=13),
        ]
        again = before.after(batches, 0)
        self.assertEqual(again.all(), self.states.all())
        self.assertEqual(len(before), 0)

    def test_a_copy_is_independent(self) -> None:
        """
        What is appended later is not in a copy.
        """
        self.append(0, 10, number=1)
        other = self.states.copy()
        self.end(1)
        self.assertEqual(other.open_from(), {7: 10})
        self.assertEqual(self.states.open_from(), {})

    def test_rebuilt(self) -> None:
        """
        An ended transaction that is known from the log alone counts as seen at the first
        check.
        """
        self.states.end(marker(1), 2_000)
        self.assertEqual([state.seen for state in self.states.all()], [NOT_KNOWN])
        self.states.expire(50 * DAY)
        self.states.expire(51 * DAY - 1)
        self.assertEqual(len(self.states), 1)
        self.states.expire(51 * DAY)
        self.assertEqual(len(self.states), 0)
