"""
Record batches: headers, against a real batch and hostile bytes.
"""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch as KafkaBatch
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import (
    CorruptMessage,
    InvalidRecord,
    KafkaError,
    UnsupportedCompressionType,
)
from kafscale.wire.compression import Codec
from kafscale.wire.records import (
    BatchHeader,
    Record,
    build_batch,
    check_batch,
    iterate,
    read_batch_header,
    read_records,
    stamp,
)
from tests.wire.batches import LIMIT, RECORDS, changed

# One record, as kafka-python 3.0 sends it.
BATCH = bytes.fromhex(
    "0000000000000000"  # base offset 0
    "00000045"          # length 69: what follows
    "00000000"          # partition leader epoch 0
    "02"                # magic 2
    "528c3da3"          # CRC-32C
    "0000"              # attributes: no codec, create time, no transaction
    "00000000"          # last offset delta 0
    "0000019000000000"  # base timestamp
    "0000019000000000"  # max timestamp
    "0000000000000fa0"  # producer id 4000
    "0002"              # producer epoch 2
    "00000007"          # base sequence 7
    "00000001"          # one record
    "26"                # record: 19 bytes
    "00"                # attributes
    "00"                # timestamp delta 0
    "00"                # offset delta 0
    "06" "6b6579"       # key: 3 bytes, "key"
    "0a" "76616c7565"   # value: 5 bytes, "value"
    "02"                # one header
    "02" "68"           # its name: "h"
    "04" "3132"         # its value: "12"
)  # fmt: skip


class HeaderTests(SynchronousTestCase):
    """
    Properties of a batch that its header has.
    """

    def test_real_batch(self) -> None:
        """
        Each field is at the documented position.
        """
        self.assertEqual(
            check_batch(memoryview(BATCH)),
            BatchHeader(
                base_offset=0,
                length=69,
                leader_epoch=0,
                magic=2,
                crc=0x528C3DA3,
                attributes=0,
                last_offset_delta=0,
                base_timestamp=0x19000000000,
                max_timestamp=0x19000000000,
                producer_id=4000,
                producer_epoch=2,
                base_sequence=7,
                record_count=1,
            ),
        )
        self.assertEqual(
            list(read_records(BATCH, LIMIT)),
            [Record(0, 0x19000000000, b"key", b"value", ((b"h", b"12"),))],
        )

    def test_build(self) -> None:
        """
        The same record is built to the same bytes.
        """
        record = Record(0, 0x19000000000, b"key", b"value", ((b"h", b"12"),))
        built = build_batch(
            [record], leader_epoch=0, producer_id=4000, producer_epoch=2, base_sequence=7
        )
        self.assertEqual(built.hex(), BATCH.hex())

    def test_attributes(self) -> None:
        """
        Each bit of the attributes has a property.
        """
        header = read_batch_header(BATCH)
        for bits, name in ((8, "log_append_time"), (16, "transactional"), (32, "control")):
            self.assertFalse(getattr(header, name))
            self.assertTrue(getattr(header._replace(attributes=bits), name))
        self.assertEqual(header._replace(attributes=0xFC).codec, Codec.ZSTD)

    def test_ends(self) -> None:
        """
        Size, last offset and next offset follow from the header.
        """
        header = read_batch_header(BATCH)._replace(base_offset=10, last_offset_delta=4)
        self.assertEqual((header.size, header.last_offset, header.next_offset), (81, 14, 15))

    def test_sequence_wraps(self) -> None:
        """
        Sequence 2^31-1 is followed by 0; without a producer id there is none.
        """
        header = read_batch_header(BATCH)
        wrapping = header._replace(base_sequence=2**31 - 2, last_offset_delta=3)
        self.assertEqual(wrapping.last_sequence, 1)
        self.assertEqual(header._replace(base_sequence=-1).last_sequence, -1)


class CheckTests(SynchronousTestCase):
    """
    Batches that producers must not send.
    """

    def refused(self, error: type[KafkaError], batch: bytes | memoryview) -> None:
        """
        Check that the batch is refused with exactly this error.
        """
        raised = self.assertRaises(KafkaError, check_batch, memoryview(batch))
        self.assertIs(type(raised), error, raised)

    def test_nothing(self) -> None:
        """
        Empty records are refused.
        """
        self.refused(InvalidRecord, b"")

    def test_cut_short(self) -> None:
        """
        A batch truncated anywhere is corrupt.
        """
        for size in range(1, len(BATCH)):
            self.refused(CorruptMessage, BATCH[:size])

    def test_old_formats(self) -> None:
        """
        Message sets of magic 0 and 1 are refused in today's versions of Produce.
        """
        for magic in (0, 1, 3):
            self.refused(InvalidRecord, changed(BATCH, 16, bytes([magic])))

    def test_several(self) -> None:
        """
        Two batches are refused: to store the first alone would lose the second.
        """
        self.refused(InvalidRecord, BATCH + BATCH)

    def test_length(self) -> None:
        """
        The length field must match the size of the batch.
        """
        self.refused(CorruptMessage, changed(BATCH, 8, struct.pack(">i", 70)))
        self.refused(CorruptMessage, changed(BATCH, 8, struct.pack(">i", -1)))
        self.refused(CorruptMessage, changed(BATCH, 8, struct.pack(">i", 2**31 - 1)))
        self.refused(InvalidRecord, changed(BATCH, 8, struct.pack(">i", 68)))

    def test_any_flipped_bit(self) -> None:
        """
        The CRC covers all bytes from the attributes on.
        """
        for at in range(17, len(BATCH)):
            torn = bytearray(BATCH)
            torn[at] ^= 0x10
            self.refused(CorruptMessage, bytes(torn))

    def test_record_count(self) -> None:
        """
        The number of records must agree with the last offset delta, or the log would have
        gaps in its offsets; and it must not be 0.
        """
        self.refused(InvalidRecord, changed(BATCH, 57, struct.pack(">i", 2)))
        self.refused(InvalidRecord, changed(BATCH, 23, struct.pack(">i", 5)))
        for count in (0, -1, -(2**31)):
            delta = (count - 1) if count > -(2**31) else 2**31 - 1
            both = changed(BATCH, 23, struct.pack(">i", delta))
            self.refused(InvalidRecord, changed(both, 57, struct.pack(">i", count)))

    def test_control(self) -> None:
        """
        Control batches of clients are refused.
        """
        self.refused(InvalidRecord, changed(BATCH, 21, b"\x00\x20"))

    def test_producer(self) -> None:
        """
        A producer id requires an epoch and a sequence. Without an id, both are ignored.
        """
        self.refused(InvalidRecord, changed(BATCH, 53, b"\xff\xff\xff\xff"))
        self.refused(InvalidRecord, changed(BATCH, 51, b"\xff\xff"))
        check_batch(memoryview(build_batch(RECORDS)))

    def test_unknown_codec(self) -> None:
        """
        Codecs 5 to 7 are refused, because no client could read the batch.
        """
        for codec in (5, 6, 7):
            self.refused(UnsupportedCompressionType, changed(BATCH, 21, bytes([0, codec])))

    @given(st.binary(max_size=200))
    @settings(max_examples=100, deadline=None)
    def test_arbitrary_bytes(self, data: bytes) -> None:
        """
        Arbitrary bytes raise Kafka's errors only.
        """
        self.assertRaises(KafkaError, check_batch, memoryview(data))


class StampTests(SynchronousTestCase):
    """
    The fields that the broker writes into a batch.
    """

    def test_offset_and_epoch_only(self) -> None:
        """
        All other bytes are unchanged, and the CRC is valid.
        """
        view = memoryview(BATCH)
        stamped = stamp(view, read_batch_header(view), 2**40, 7)
        header = check_batch(memoryview(stamped))
        self.assertEqual((header.base_offset, header.leader_epoch), (2**40, 7))
        self.assertEqual(stamped[8:12] + stamped[16:], BATCH[8:12] + BATCH[16:])

    def test_log_append_time(self) -> None:
        """
        Attribute and max timestamp are set; other clients find a valid CRC, and the broker's
        time in each record.
        """
        view = memoryview(build_batch(RECORDS, codec=Codec.GZIP))
        stamped = stamp(view, read_batch_header(view), 10, 1, append_time=5_000)
        header = check_batch(memoryview(stamped))
        self.assertTrue(header.log_append_time)
        self.assertEqual((header.codec, header.base_timestamp), (Codec.GZIP, 1_000))
        self.assertEqual(header.max_timestamp, 5_000)
        theirs = KafkaBatch(stamped)
        self.assertTrue(theirs.validate_crc())
        self.assertEqual([record.timestamp for record in theirs], [5_000] * 4)
        self.assertEqual([record.timestamp for record in read_records(stamped, LIMIT)], [5_000] * 4)


class IterateTests(SynchronousTestCase):
    """
    Iteration over batches.
    """

    def test_walk(self) -> None:
        """
        Consecutive batches are found.
        """
        batches = [build_batch(RECORDS[:n]) for n in (1, 2, 3)]
        found = list(iterate(b"".join(batches)))
        starts = [0, len(batches[0]), len(batches[0]) + len(batches[1])]
        self.assertEqual([at for at, _ in found], starts)
        self.assertEqual([header.record_count for _, header in found], [1, 2, 3])

    def test_part(self) -> None:
        """
        The iteration can begin and end at any batch.
        """
        size = len(BATCH)
        found = list(iterate(BATCH * 4, size, 3 * size))
        self.assertEqual([at for at, _ in found], [size, 2 * size])

    def test_not_whole(self) -> None:
        """
        A truncated batch, or an invalid length, ends the iteration with an error.
        """
        self.assertRaises(CorruptMessage, list, iterate(BATCH + BATCH[:-1]))
        self.assertRaises(CorruptMessage, list, iterate(BATCH + BATCH[:20]))
        self.assertRaises(CorruptMessage, list, iterate(changed(BATCH, 8, bytes(4))))
