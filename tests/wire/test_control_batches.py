"""
Markers: their bytes, and what is read of them.
"""

from __future__ import annotations

from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import InvalidRecord
from kafscale.wire.batches import Record, read_batch_header
from kafscale.wire.building import build_batch
from kafscale.wire.control_batches import MARKER_SIZE, Marker, build_marker, read_marker
from kafscale.wire.records import stamp

COMMIT = bytes.fromhex(
    "0000000000000000"  # base offset
    "00000042"          # length: 66 bytes follow
    "ffffffff"          # leader epoch
    "02"                # magic
    "00000000"          # CRC-32C, see below
    "0030"              # transactional, control
    "00000000"          # last offset delta
    "00000000000003e8"  # base timestamp 1000
    "00000000000003e8"  # max timestamp 1000
    "0000000000000007"  # producer id 7
    "0002"              # producer epoch 2
    "ffffffff"          # base sequence -1
    "00000001"          # one record
    "20"                # of 16 bytes
    "00"                # attributes
    "00"                # timestamp delta
    "00"                # offset delta
    "08" "0000" "0001"  # the key, 4 bytes: version 0, commit
    "0c" "0000" "00000003"  # the value, 6 bytes: version 0, number 3
    "00"                # no header
)  # fmt: skip


def with_crc(batch: bytes) -> bytes:
    """
    The batch with the checksum of what follows it.
    """
    return batch[:17] + crc32c(batch[21:]).to_bytes(4, "big") + batch[21:]


class MarkerTests(SynchronousTestCase):
    """
    The layout that Apache Kafka 4.4.0 writes.
    """

    def test_commit(self) -> None:
        """
        A commit marker, byte for byte.
        """
        built = build_marker(Marker(7, 2, committed=True, number=3), 1_000)
        self.assertEqual(built.hex(" "), with_crc(COMMIT).hex(" "))
        self.assertEqual(len(built), MARKER_SIZE)

    def test_abort(self) -> None:
        """
        An abort marker differs in its type only.
        """
        built = build_marker(Marker(7, 2, committed=False, number=3), 1_000)
        at = COMMIT.index(bytes.fromhex("0800000001")) + 4
        self.assertEqual(built, with_crc(COMMIT[:at] + b"\0" + COMMIT[at + 1 :]))

    def test_header(self) -> None:
        """
        Its header says that consumers do not see it.
        """
        header = read_batch_header(build_marker(Marker(7, 2, committed=True, number=3), 1_000))
        self.assertTrue(header.control)
        self.assertTrue(header.transactional)
        self.assertEqual((header.base_sequence, header.last_sequence), (-1, -1))

    def test_oracle(self) -> None:
        """
        kafka-python sees a control batch, and what it does.
        """
        for committed in (True, False):
            batch = DefaultRecordBatch(build_marker(Marker(7, 2, committed, 3), 1_000))
            self.assertTrue(batch.validate_crc())
            self.assertTrue(batch.is_control_batch)
            self.assertTrue(batch.is_transactional)
            (record,) = batch
            self.assertEqual((record.abort, record.commit), (not committed, committed))

    @given(
        st.builds(
            Marker,
            st.integers(0, 2**63 - 1),
            st.integers(0, 2**15 - 1),
            st.booleans(),
            st.integers(0, 2**31 - 1),
        ),
        st.integers(-1, 2**62),
    )
    def test_round_trip(self, marker: Marker, timestamp: int) -> None:
        """
        What is built is read, also with an offset.
        """
        built = build_marker(marker, timestamp)
        self.assertEqual(len(built), MARKER_SIZE)
        stamped = stamp(memoryview(built), read_batch_header(built), 4_711, 5)
        self.assertEqual(read_marker(stamped), marker)
        self.assertEqual(read_batch_header(stamped).max_timestamp, timestamp)

    def test_other_control_records(self) -> None:
        """
        Another type of control record is no marker; what is too short is refused.
        """
        whole = b"\0\0\0\0\0\3"
        for key in (b"\0\0\0\2", b"\0\0\0\5more"):
            built = build_batch([Record(0, 0, key, whole)], producer_id=7, control=True)
            self.assertIsNone(read_marker(built))
        for short, value in ((b"\0\0\0", whole), (None, whole), (b"\0\0\0\1", b"\0\0\0")):
            built = build_batch([Record(0, 0, short, value)], producer_id=7, control=True)
            self.assertRaises(InvalidRecord, read_marker, built)

    def test_cleaned(self) -> None:
        """
        Of a marker that a cleaner has emptied only the header is there.
        """
        empty = with_crc(
            COMMIT[:8] + (61 - 12).to_bytes(4, "big") + COMMIT[12:57] + b"\0\0\0\0"
        )
        self.assertIsNone(read_marker(empty))
