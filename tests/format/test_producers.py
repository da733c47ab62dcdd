"""
The states of idempotent producers as they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format.errors import CorruptObject
from kafscale.format.producers import (
    NOT_KNOWN,
    ProducedBatch,
    ProducerState,
    has_transactions,
    read_producers,
    write_producers,
)

STATE = ProducerState(7, 1, 4_096, (ProducedBatch(5, 6, 256, 1_001),))

SNAPSHOT = bytes.fromhex(
    "02"                # version
    "00000001"          # one producer
    "0000000000002000"  # from 8192 on producers are new
    "0000000000000007"  # its id
    "0001"              # epoch 1
    "0000000000001000"  # seen at 4096
    "01"                # one batch
    "00000005"          # from sequence 5
    "00000006"          # to sequence 6
    "0000000000000100"  # at offset 256
    "00000000000003e9"  # largest timestamp 1001
)  # fmt: skip

ENDED = ProducerState(8, 2, 4_096, (), 3, -1, 5_000)

OPEN = ProducerState(7, 1, 4_096, (ProducedBatch(5, 6, 256, 1_001),), 3, 256)

TRANSACTIONS = bytes.fromhex(
    "03"                # version
    "00000002"          # two producers
    "0000000000002000"  # from 8192 on producers are new
    "0000000000000008"  # its id
    "0002"              # epoch 2
    "0000000000001000"  # seen at 4096
    "00"                # no batch
    "00000003"          # its transaction 3 has ended here
    "ffffffffffffffff"  # none is open
    "0000000000001388"  # the marker is of 5000
    "0000000000000007"  # its id
    "0001"              # epoch 1
    "0000000000001000"  # seen at 4096
    "01"                # one batch
    "00000003"          # its transaction 3 has ended here
    "0000000000000100"  # the one that is open began at 256
    "ffffffffffffffff"  # no marker came after the batch
    "00000005"          # from sequence 5
    "00000006"          # to sequence 6
    "0000000000000100"  # at offset 256
    "00000000000003e9"  # largest timestamp 1001
)  # fmt: skip

LEVEL_0 = b"\1" + SNAPSHOT[1:5] + SNAPSHOT[13:]

LONG = st.integers(-(2**63), 2**63 - 1)
INT = st.integers(-(2**31), 2**31 - 1)
BATCHES = st.lists(st.builds(ProducedBatch, INT, INT, LONG, LONG), min_size=1, max_size=2)
EPOCH = st.integers(-(2**15), 2**15 - 1)
COUNT, OPT = st.integers(0, 2**31 - 1), st.integers(-1, 2**63 - 1)
STATES = st.builds(ProducerState, LONG, EPOCH, LONG, BATCHES.map(tuple)) | st.builds(
    ProducerState, LONG, EPOCH, LONG, st.just(()) | BATCHES.map(tuple), COUNT, OPT, OPT
)


class ProducersTests(SynchronousTestCase):
    """
    What stands in a segment's footer.
    """

    def test_layout(self) -> None:
        """
        Each field is where the layout says.
        """
        self.assertEqual(write_producers([STATE], 8192, 1).hex(" "), SNAPSHOT.hex(" "))
        self.assertEqual(read_producers(SNAPSHOT), ([STATE], 8192))
        self.assertEqual(NOT_KNOWN, -1)

    def test_level_0(self) -> None:
        """
        At level 0 there is no mark.
        """
        self.assertEqual(write_producers([STATE], 8192, 0).hex(" "), LEVEL_0.hex(" "))
        self.assertEqual(read_producers(LEVEL_0), ([STATE], None))

    def test_transactions(self) -> None:
        """
        At level 2 there are transactions. It is written where, and only where, there
        are some.
        """
        for level in (0, 1, 2):
            written = write_producers([ENDED, OPEN], 8192, level)
            self.assertEqual(written.hex(" "), TRANSACTIONS.hex(" "))
            self.assertTrue(has_transactions(written))
        self.assertEqual(read_producers(TRANSACTIONS), ([ENDED, OPEN], 8192))
        self.assertEqual(write_producers([STATE], 8192, 2), SNAPSHOT)
        for written in (SNAPSHOT, LEVEL_0, b""):
            self.assertFalse(has_transactions(written))

    def test_plain(self) -> None:
        """
        Anything that is known of transactions makes a producer one that had them.
        """
        self.assertTrue(STATE.is_plain)
        for number, open_from, marked in ((1, -1, -1), (0, 0, -1), (0, -1, 0)):
            state = ProducerState(7, 1, 0, STATE.batches, number, open_from, marked)
            self.assertFalse(state.is_plain)
        self.assertFalse(ProducerState(7, 1, 0, ()).is_plain)

    def test_nothing(self) -> None:
        """
        No states are in empty bytes.
        """
        self.assertEqual(read_producers(b""), ([], None))
        self.assertEqual(read_producers(write_producers([], 0, 0)), ([], None))
        self.assertEqual(read_producers(write_producers([], 7, 1)), ([], 7))

    @given(st.lists(STATES, max_size=2), LONG)
    def test_round_trip(self, states: Sequence[ProducerState], mark: int) -> None:
        """
        What is written is read, in its order.
        """
        self.assertEqual(read_producers(write_producers(states, mark, 1)), (states, mark))

    def test_broken(self) -> None:
        """
        Bytes cut short and a producer without batches are refused.
        """
        for snapshot in (SNAPSHOT, LEVEL_0, TRANSACTIONS):
            for size in range(1, len(snapshot)):
                self.assertRaises(CorruptObject, read_producers, snapshot[:size])
        at = SNAPSHOT.index(b"\x01\0\0\0\x05")
        self.assertRaises(CorruptObject, read_producers, SNAPSHOT[:at] + b"\0")
