"""
Slots and seals as they are stored.
"""

from __future__ import annotations

from uuid import UUID

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import StoreError
from kafscale.format.errors import CorruptObject
from kafscale.format.slot import Range, Seal, read_slot, write_seal, write_slot_footer
from kafscale.format.trailer import TRAILER_SIZE, Kind, end_with, read_end

TOPIC = UUID("00112233-4455-6677-8899-aabbccddeeff")
FIRST = Range(TOPIC, 1, 2, 3, 4, 5, 0, 100, 6)
SECOND = Range(TOPIC, 2, 2, 2**40, 2**41, 2**42, 100, 50, 2**32 - 1)

# A slot that holds one range: its footer and its trailer.
FOOTER = bytes.fromhex(
    "00112233445566778899aabbccddeeff"  # topic id
    "00000001"          # partition 1
    "00000002"          # leader epoch 2
    "0000000000000003"  # first offset 3
    "0000000000000004"  # last offset 4
    "0000000000000005"  # largest timestamp 5
    "0000000000000000"  # at position 0
    "0000000000000064"  # 100 bytes
    "00000006"          # their CRC-32C
    "00000044"          # the footer has 68 bytes
    "0001"              # a slot
    "0001"              # version 1
    "619bf6cc"          # CRC-32C of all that before
    "6b61667363616c65"  # "kafscale"
)  # fmt: skip


class SlotTests(SynchronousTestCase):
    """
    What stands at the end of a slot.
    """

    def test_layout(self) -> None:
        """
        Each field is where the layout says.
        """
        self.assertEqual(write_slot_footer([FIRST]).hex(), FOOTER.hex())
        self.assertEqual(read_slot(FOOTER, 100 + len(FOOTER)), (FIRST,))

    def test_several_partitions(self) -> None:
        """
        The ranges come back in order, from any suffix that is long enough.
        """
        footer = write_slot_footer([FIRST, SECOND])
        size = 150 + len(footer)
        self.assertEqual(read_slot(footer, size), (FIRST, SECOND))
        self.assertEqual(read_slot(bytes(40) + footer, size), (FIRST, SECOND))

    def test_short_suffix(self) -> None:
        """
        From a suffix that is too short it is known how long it must be.
        """
        footer = write_slot_footer([FIRST, SECOND])
        size = 150 + len(footer)
        self.assertEqual(read_slot(footer[1:], size), len(footer))
        self.assertEqual(read_slot(footer[-TRAILER_SIZE:], size), len(footer))
        self.assertEqual(read_slot(footer[-5:], size), TRAILER_SIZE)

    def test_seal(self) -> None:
        """
        A seal is recognized, and names the incarnation that wrote it.
        """
        seal = write_seal(2**50)
        self.assertEqual(read_slot(seal, len(seal)), Seal(2**50))
        end = read_end(seal, len(seal))
        self.assertEqual(end, (Kind.SEAL, 0, b'{"sealed_by": 1125899906842624}'))

    def test_any_damage(self) -> None:
        """
        No changed byte goes unnoticed.
        """
        for at in range(len(FOOTER)):
            torn = bytearray(FOOTER)
            torn[at] ^= 0x40
            try:
                found = read_slot(bytes(torn), 100 + len(FOOTER))
            except CorruptObject:
                continue
            self.assertIsInstance(found, int)  # a larger footer is looked for

    def test_what_a_seal_does_not_say(self) -> None:
        """
        A seal that names no incarnation is damaged.
        """
        for footer in (b"", b"{}", b"[]", b'{"sealed_by": "15"}', b"\xff"):
            seal = end_with(Kind.SEAL, footer)
            self.assertRaises(CorruptObject, read_slot, seal, len(seal))

    def test_size(self) -> None:
        """
        Ranges that do not make up the object are not those of this object.
        """
        for size in (99, 101):
            self.assertRaises(CorruptObject, read_slot, FOOTER, size + len(FOOTER))
        gap = write_slot_footer([FIRST, attrs.evolve(SECOND, position=101)])
        self.assertRaises(CorruptObject, read_slot, gap, 151 + len(gap))

    def test_other_kinds(self) -> None:
        """
        What is no slot, or of a version that is not known, is refused.
        """
        segment = end_with(Kind.SEGMENT, b"")
        self.assertRaises(CorruptObject, read_slot, segment, len(segment))
        odd = end_with(Kind.SLOT, b"odd")
        self.assertRaises(CorruptObject, read_slot, odd, len(odd))
        self.assertRaises(CorruptObject, read_slot, b"short", 5)
        self.assertRaises(CorruptObject, read_slot, b"", 0)
        unknown = end_with(9, b"")  # type: ignore[arg-type]
        self.assertRaises(CorruptObject, read_slot, unknown, len(unknown))
        self.assertTrue(issubclass(CorruptObject, StoreError))

    @given(st.binary(max_size=120), st.integers(0, 200))
    @settings(max_examples=100, deadline=None)
    def test_arbitrary_bytes(self, suffix: bytes, more: int) -> None:
        """
        Any other bytes are refused, or more of them asked for.
        """
        size = len(suffix) + more
        try:
            needed = read_slot(suffix, size)
        except CorruptObject:
            return
        assert isinstance(needed, int)
        self.assertLess(len(suffix), needed)
        self.assertLessEqual(needed, max(size, TRAILER_SIZE))
