"""
Bundles of slots as they are stored.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format.bundle import read_bundle, write_bundle
from kafscale.format.errors import CorruptObject
from kafscale.format.trailer import Kind, end_with


class BundleTests(SynchronousTestCase):
    """
    Bytes of a bundle.
    """

    def test_layout(self) -> None:
        """
        The slots, then the footer, then the trailer.
        """
        self.assertEqual(
            b"".join(write_bundle(64, [[b"ab", b"c"], [b"de"]]))[:-12],
            b"abc"
            b"de"
            b"\0\0\0\0\0\0\0\x40"  # the first is slot 64
            b"\0\0\0\x03"  # it has three bytes
            b"\0\0\0\x02"  # and the next has two
            b"\0\0\0\x10"  # so much is the footer
            b"\0\x04"  # of a bundle
            b"\0\x01",  # in its first version
        )

    @given(st.integers(0, 2**62), st.lists(st.lists(st.binary(max_size=9)), max_size=5))
    def test_round_trip(self, first: int, slots: list[list[bytes]]) -> None:
        """
        What is written is read.
        """
        read = dict(read_bundle(b"".join(write_bundle(first, slots))))
        self.assertEqual(read, {first + place: b"".join(slot) for place, slot in enumerate(slots)})

    @given(st.binary(max_size=60))
    def test_garbage(self, data: bytes) -> None:
        """
        What is no bundle is refused.
        """
        self.assertRaises(CorruptObject, lambda: list(read_bundle(data)))

    def test_other_objects(self) -> None:
        """
        So is one that was cut.
        """
        data = b"".join(write_bundle(0, [[b"abc"], [b"de"]]))
        self.assertRaises(CorruptObject, lambda: list(read_bundle(data[1:])))

    def test_short_footers(self) -> None:
        """
        A footer that has no number of a first slot, or part of a length, is
        refused, too.
        """
        for size in (0, 4, 7, 9, 13):
            data = end_with(Kind.BUNDLE, bytes(size))
            self.assertRaises(CorruptObject, lambda data=data: list(read_bundle(data)))
