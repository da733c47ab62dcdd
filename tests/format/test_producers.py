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

LEVEL_0 = b"\1" + SNAPSHOT[1:5] + SNAPSHOT[13:]

LONG = st.integers(-(2**63), 2**63 - 1)
INT = st.integers(-(2**31), 2**31 - 1)
BATCHES = st.lists(st.builds(ProducedBatch, INT, INT, LONG, LONG), min_size=1, max_size=2)
STATES = st.builds(
    ProducerState, LONG, st.integers(-(2**15), 2**15 - 1), LONG, BATCHES.map(tuple)
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
        for snapshot in (SNAPSHOT, LEVEL_0):
            for size in range(1, len(snapshot)):
                self.assertRaises(CorruptObject, read_producers, snapshot[:size])
        at = SNAPSHOT.index(b"\x01\0\0\0\x05")
        self.assertRaises(CorruptObject, read_producers, SNAPSHOT[:at] + b"\0")
