"""
What a footer says of transactions is compared with the batches before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from kafscale.format.epochs import Epochs
from kafscale.format.producers import ProducedBatch, ProducerState, write_producers
from kafscale.format.segment import AbortedTransaction, whole_footer, write_footer
from kafscale.inspect.dump import dump
from kafscale.inspect.objects import check_segment
from kafscale.store.memory import MemoryObjectStore
from kafscale.wire.control_batches import Marker, build_marker
from kafscale.wire.records import Record, build_batch, read_batch_header, stamp
from tests.harness.coroutines import now

KEY = "default/topics/x/00000000000000000010.kfs"


def data(offset: int, producer: int = 7) -> bytes:
    """
    A batch of a transaction.
    """
    return build_batch(
        [Record(offset, 0, None, b"v")],
        leader_epoch=0,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        transactional=True,
    )


def end(offset: int, committed: bool, producer: int = 7) -> bytes:
    """
    A marker.
    """
    built = build_marker(Marker(producer, 0, committed, 3), 0)
    return stamp(memoryview(built), read_batch_header(built), offset, 0)


def opened(first: int, producer: int = 7) -> ProducerState:
    """
    A producer with an open transaction.
    """
    return ProducerState(producer, 0, 0, (ProducedBatch(0, 0, first, 0),), 0, first)


class TransactionsTests(SynchronousTestCase):
    """
    A segment from offset 10 on.
    """

    def found(
        self,
        batches: Sequence[bytes],
        aborted: Sequence[AbortedTransaction] = (),
        *states: ProducerState,
    ) -> list[str]:
        """
        What is wrong with a segment.
        """
        footer = write_footer(
            batches, Epochs([(0, 0)]), write_producers(states, 0, 1), aborted, level=1
        )
        whole = b"".join([*batches, footer])
        objects = MemoryObjectStore()
        now(objects.create(KEY, [whole]))
        findings = now(check_segment(objects, KEY, whole_footer(whole, len(whole))))
        self.reported: list[str] = []
        now(dump(objects, KEY, True, self.reported.append))
        return [each.text for each in findings]

    def test_right(self) -> None:
        """
        Transactions within the segment, from before, and into the next.
        """
        self.assertEqual(self.found([data(10), end(11, True)]), [])
        aborted = [AbortedTransaction(7, 10, 11), AbortedTransaction(8, 3, 12)]
        batches = [data(10), end(11, False), end(12, False, 8), data(13, 9)]
        self.assertEqual(self.found(batches, aborted, opened(13, 9)), [])
        self.assertEqual(self.found([data(10)], [], opened(4)), [])
        self.assertEqual(self.found([data(10, 9)], [], opened(4), opened(10, 9)), [])

    def test_an_abort_of_nothing(self) -> None:
        """
        A marker that ended nothing is not listed.
        """
        self.assertEqual(self.found([end(10, False)]), [])

    def test_aborted(self) -> None:
        """
        What is listed and was not aborted, or began elsewhere; what is not listed.
        """
        for batches, aborted, says in (
            ([data(10), end(11, True)], [AbortedTransaction(7, 10, 11)], "no abort marker"),
            ([data(10), end(11, False)], [AbortedTransaction(8, 10, 11)], "of producer 8 is"),
            ([data(10), end(11, False)], [AbortedTransaction(7, 11, 11)], "began at 10"),
            ([data(10), end(11, False)], [], "is not listed"),
            (
                [data(10), end(11, False), data(12), end(13, False)],
                [AbortedTransaction(7, 12, 13), AbortedTransaction(7, 10, 11)],
                "out of order",
            ),
        ):
            found = self.found(batches, aborted)
            self.assertTrue(found)
            self.assertIn(says, found[0])

    def test_open(self) -> None:
        """
        What is open and the footer does not say so, and the reverse.
        """
        for batches, states, says in (
            ([data(10)], [], "does not say so"),
            ([data(10), data(11, 8)], [opened(11), opened(11, 8)], "began at 10"),
            ([data(10), end(11, True)], [opened(10)], "has an open transaction"),
        ):
            (found,) = self.found(batches, [], *states)
            self.assertIn(says, found)

    def test_dump(self) -> None:
        """
        The aborted transactions, and what markers say.
        """
        self.found([data(10), end(11, False), end(12, True, 8)], [AbortedTransaction(7, 10, 11)])
        self.assertIn("  aborted: producer 7 from offset 10, marker at 11", self.reported)
        self.assertTrue(self.reported[-2].endswith(", transactional, abort of transaction 3"))
        self.assertTrue(self.reported[-1].endswith(", transactional, commit of transaction 3"))

    def test_a_control_batch_that_cannot_be_read(self) -> None:
        """
        It is reported.
        """
        broken = build_batch(
            [Record(10, 0, b"\0", b"")], leader_epoch=0, producer_id=7, control=True
        )
        (found,) = self.found([broken])
        self.assertIn("the control batch at offset 10", found)
        self.assertTrue(self.reported[-1].endswith(", control"))
