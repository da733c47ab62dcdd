"""
Volumes as they are stored.
"""

from __future__ import annotations

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.format.errors import CorruptObject
from kafscale.format.trailer import Kind, end_with
from kafscale.format.volume import VolumeRow, read_volume_footer, write_volume_footer

TOPIC = UUID("00112233-4455-6677-8899-aabbccddeeff")

# A volume with one chapter: its footer and its trailer, but for the checksum.
FOOTER = bytes.fromhex(
    "00112233445566778899aabbccddeeff"  # topic id
    "00000001"          # partition 1
    "0000000000000002"  # first offset 2
    "0000000000000000"  # at position 0
    "00000064"          # 100 bytes
    "00000028"          # the footer has 40 bytes
    "0005"              # a volume
    "0001"              # version 1
)  # fmt: skip


class VolumeTests(SynchronousTestCase):
    """
    What stands at the end of a volume.
    """

    ROWS = (VolumeRow(TOPIC, 0, 0, 0, 10), VolumeRow(UUID(int=2**128 - 1), 2**31 - 1, 2**62, 10, 5))

    def test_layout(self) -> None:
        """
        Each field is where the layout says.
        """
        written = write_volume_footer([VolumeRow(TOPIC, 1, 2, 0, 100)])
        self.assertEqual(written[:-12].hex(), FOOTER.hex())

    def test_rows(self) -> None:
        """
        They are read as they were written; from a suffix that is too short, the
        length of one that suffices is returned.
        """
        data = b"x" * 15 + write_volume_footer(self.ROWS)
        self.assertEqual(read_volume_footer(data, len(data)), list(self.ROWS))
        needed = read_volume_footer(data[-30:], len(data))
        self.assertEqual(needed, len(data) - 15)
        self.assertEqual(read_volume_footer(data[15:], len(data)), list(self.ROWS))

    def test_what_is_none(self) -> None:
        """
        Damaged, of another kind, or of another size.
        """
        data = b"x" * 15 + write_volume_footer(self.ROWS)
        broken = bytearray(data)
        broken[20] ^= 1
        odd = end_with(Kind.VOLUME, b"y" * 41)
        other = data[:15] + end_with(Kind.SEGMENT, b"y" * 80)
        for bad in (bytes(broken), data[1:], odd, other, b"", b"x" * 200, data[:-1]):
            self.assertRaises(CorruptObject, read_volume_footer, bad, len(bad))
