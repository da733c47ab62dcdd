"""
The last stable offset and the aborted transactions of a partition, beside a naive
account that reads the whole log each time.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format.segment import AbortedTransaction
from kafscale.log.partition.transactions import Transactions
from kafscale.wire.control_batches import Marker, build_marker
from kafscale.wire.records import Record, build_batch, read_batch_header, stamp

Log = list[tuple[int, str]]
"""A batch of one record for each: producer, and C{d} data, C{p} data outside of a
transaction, C{C} commit marker, C{A} abort marker. The index is the offset."""

ENTRIES = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ddpCA")), max_size=16)


def bytes_of(log: Log) -> list[bytes]:
    """
    The batches of a log.
    """
    batches = []
    for offset, (producer, kind) in enumerate(log):
        if kind in "dp":
            batches.append(
                build_batch(
                    [Record(offset, 0, None, b"")],
                    producer_id=producer,
                    producer_epoch=0,
                    base_sequence=0,
                    transactional=kind == "d",
                )
            )
        else:
            built = build_marker(Marker(producer, 0, kind == "C", 1), 0)
            batches.append(stamp(memoryview(built), read_batch_header(built), offset, 0))
    return batches


class Account:
    """
    What a log says, read from its beginning.

    @ivar open_from: First offsets of what is open, by producers.
    @ivar aborted: In the order of the markers.
    """

    def __init__(self, log: Log, end: int) -> None:
        self.open_from: dict[int, int] = {}
        self.aborted: list[AbortedTransaction] = []
        for offset, (producer, kind) in enumerate(log[:end]):
            if kind == "d":
                self.open_from.setdefault(producer, offset)
            elif kind != "p":
                first = self.open_from.pop(producer, None)
                if first is not None and kind == "A":
                    self.aborted.append(AbortedTransaction(producer, first, offset))
        self.stable_end = min([end, *self.open_from.values()])


class AccountTests(SynchronousTestCase):
    """
    Any log, cut anywhere.
    """

    @given(ENTRIES, st.integers(0, 16), st.integers(0, 16))
    def test_the_same_as_the_account(self, log: Log, rolled: int, durable: int) -> None:
        """
        Rebuilt from the open transactions at the segments' end and the tail, with any high
        watermark: the last stable offset, and the aborted transactions that are in no
        segment.
        """
        rolled = min(rolled, len(log))
        durable = max(rolled, min(durable, len(log)))
        transactions = Transactions(Account(log, rolled).open_from)
        transactions.replay(bytes_of(log)[rolled:])
        transactions.show(durable)
        known = Account(log, durable)
        self.assertEqual(transactions.stable_end(durable), known.stable_end)
        tail = [each for each in known.aborted if each.marker_offset >= rolled]
        self.assertEqual(list(transactions.aborted(0, len(log))), tail)

    @given(ENTRIES, st.lists(st.integers(1, 3)))
    def test_step_by_step(self, log: Log, steps: list[int]) -> None:
        """
        The last stable offset never goes back, and is that of the account at each high
        watermark, however far the appends are ahead (rule T36).
        """
        transactions = Transactions()
        transactions.replay(bytes_of(log))
        durable, before = 0, 0
        for step in steps:
            durable = min(len(log), durable + step)
            transactions.show(durable)
            stable = transactions.stable_end(durable)
            self.assertEqual(stable, Account(log, durable).stable_end)
            self.assertGreaterEqual(stable, before)
            before = stable

    @given(ENTRIES, st.integers(0, 16), st.integers(0, 16), st.integers(0, 16))
    def test_rolled(self, log: Log, rolled: int, offset: int, end: int) -> None:
        """
        What is rolled is told for the footer, in the order of the markers, and then
        dropped. A reader is told of what it meets, and of no marker before it.
        """
        rolled = min(rolled, len(log))
        transactions = Transactions()
        transactions.replay(bytes_of(log))
        transactions.show(len(log))
        aborted = Account(log, len(log)).aborted
        self.assertEqual(
            list(transactions.to_roll(rolled)),
            [each for each in aborted if each.marker_offset < rolled],
        )
        transactions.drop_before(rolled)
        self.assertEqual(
            list(transactions.aborted(offset, end)),
            [
                each
                for each in aborted
                if each.marker_offset >= max(rolled, offset) and each.first_offset < end
            ],
        )


class TransactionsTests(SynchronousTestCase):
    """
    Single properties.
    """

    def test_t36_open_until_the_marker_is_durable(self) -> None:
        """
        A marker that is only in memory decides nothing.
        """
        transactions = Transactions()
        transactions.appended(7, 5)
        transactions.show(6)
        transactions.ended(7, 6, committed=False)
        self.assertEqual(transactions.stable_end(6), 5)
        self.assertEqual(transactions.aborted(0, 9), [])
        self.assertEqual(transactions.marker_under_way(7), 6)
        transactions.show(7)
        self.assertEqual(transactions.stable_end(7), 7)
        self.assertEqual(transactions.aborted(0, 9), [AbortedTransaction(7, 5, 6)])
        self.assertIsNone(transactions.marker_under_way(7))

    def test_the_last_marker_under_way(self) -> None:
        """
        Of several the last one is told, whether it ended anything or not.
        """
        transactions = Transactions()
        for offset, producer in ((0, 7), (1, 8), (2, 7)):
            transactions.ended(producer, offset, committed=True)
        self.assertEqual(transactions.marker_under_way(7), 2)
        self.assertEqual(transactions.marker_under_way(8), 1)
        self.assertIsNone(transactions.marker_under_way(9))

    def test_the_next_transaction_begins_meanwhile(self) -> None:
        """
        It is a transaction of its own.
        """
        transactions = Transactions({7: 3})
        transactions.ended(7, 10, committed=True)
        transactions.appended(7, 11)
        transactions.show(11)
        self.assertEqual(transactions.stable_end(11), 11)
        transactions.show(12)
        self.assertEqual(transactions.stable_end(12), 11)
