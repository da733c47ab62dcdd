"""
Single records: of other clients, and of hostile ones.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatch as AioBatch
from aiokafka.record.default_records import DefaultRecordBatchBuilder as AioBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch as KafkaBatch
from kafka.record.default_records import DefaultRecordBatchBuilder as KafkaBuilder
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import InvalidRecord
from kafscale.wire.compression import Codec, deflate
from kafscale.wire.records import (
    HEADER_SIZE,
    Record,
    build_batch,
    check_batch,
    first_at_or_after,
    read_batch_header,
    read_records,
    stamp,
)
from tests.wire.batches import LIMIT, RECORDS, changed

EXPECTED = [
    (r.offset, r.timestamp, r.key, r.value, [(k.decode(), v) for k, v in r.headers])
    for r in RECORDS
]


def with_body(codec: int, body: bytes) -> bytes:
    """
    Return a batch of one record with C{body} as its compressed part.
    """
    plain = build_batch([Record(0, 0, b"", b"")])[:HEADER_SIZE]
    size = struct.pack(">i", HEADER_SIZE - 12 + len(body))
    return bytes(changed(changed(plain + body, 21, struct.pack(">h", codec)), 8, size))


def ours(batch: bytes) -> list[tuple[Any, ...]]:
    """
    Return the records of a batch as we decode them, names as text.
    """
    return [
        (r.offset, r.timestamp, r.key, r.value, [(k.decode(), v) for k, v in r.headers])
        for r in read_records(batch, LIMIT)
    ]


def theirs(batch: Any) -> list[tuple[Any, ...]]:
    """
    Return the records of a batch as a client decodes them.
    """
    return [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in batch]


class AgreementTests(SynchronousTestCase):
    """
    Agreement with kafka-python and aiokafka, in each codec.
    """

    def built(self, builder: Any) -> bytes:
        """
        Return the records as a client's builder encodes them.
        """
        for offset, timestamp, key, value, headers in EXPECTED:
            builder.append(offset, timestamp, key, value, headers)
        return bytes(builder.build())

    def test_they_write(self) -> None:
        """
        We decode the batches of clients.
        """
        for codec in Codec:
            options = {
                "magic": 2,
                "compression_type": int(codec),
                "is_transactional": False,
                "producer_id": 77,
                "producer_epoch": 3,
                "base_sequence": 0,
                "batch_size": 1 << 20,
            }
            for builder in (KafkaBuilder, AioBuilder):
                batch = self.built(builder(**options))
                header = check_batch(memoryview(batch))
                self.assertEqual((header.codec, header.producer_id), (codec, 77))
                self.assertEqual(ours(batch), EXPECTED)

    def test_they_read(self) -> None:
        """
        Clients decode our batches.
        """
        for codec in Codec:
            batch = build_batch(RECORDS, codec=codec)
            for reader in (KafkaBatch(batch), AioBatch(batch)):
                self.assertTrue(reader.validate_crc())
                self.assertEqual(theirs(reader), EXPECTED)


OPTIONAL = st.none() | st.binary(max_size=40)


class RoundTripTests(SynchronousTestCase):
    """
    Round trips of any records, in any codec.
    """

    @given(
        st.sampled_from(Codec),
        st.lists(
            st.tuples(
                st.integers(0, 2**41),
                OPTIONAL,
                OPTIONAL,
                st.lists(st.tuples(st.binary(max_size=9), OPTIONAL), max_size=3).map(tuple),
            ),
            min_size=1,
            max_size=20,
        ),
        st.integers(0, 2**62),
    )
    @settings(max_examples=80, deadline=None)
    def test_round_trip(self, codec: Codec, rows: list[Any], base: int) -> None:
        """
        Records decode as they were built.
        """
        records = [Record(base + n, *row) for n, row in enumerate(rows)]
        batch = build_batch(records, codec=codec)
        check_batch(memoryview(batch))
        self.assertEqual(list(read_records(batch, LIMIT)), records)

    @given(st.sampled_from(Codec), st.binary(max_size=60), st.integers(0, 60))
    @settings(max_examples=150, deadline=None)
    def test_any_body(self, codec: Codec, noise: bytes, at: int) -> None:
        """
        Damaged records raise InvalidRecord only, if any error.
        """
        body = deflate(codec, build_batch(RECORDS)[HEADER_SIZE:])
        batch = with_body(codec, body[:at] + noise + body[at + len(noise) :])
        with contextlib.suppress(InvalidRecord):
            list(read_records(batch, LIMIT))

    def test_numbers_out_of_range(self) -> None:
        """
        A timestamp beyond INT64 counts as none; an offset beyond the last one of the
        header, and a number of more than 64 bits, are refused.
        """
        large = with_body(0, bytes.fromhex("1e 00 feffffffffffffffff01 00 01 01 00"))
        self.assertEqual(first_at_or_after(large, 0, LIMIT), (2**63 - 1, 0))
        beyond = changed(large, 27, struct.pack(">q", 1))
        self.assertIsNone(first_at_or_after(beyond, 0, LIMIT))
        second = with_body(0, bytes.fromhex("0c 00 00 02 01 01 00"))
        self.assertRaises(InvalidRecord, first_at_or_after, second, 0, LIMIT)
        endless = with_body(0, bytes.fromhex("1e 00 ffffffffffffffffffff 01 00"))
        self.assertRaises(InvalidRecord, first_at_or_after, endless, 0, LIMIT)

    def test_counts(self) -> None:
        """
        A batch with more or fewer records than its header states is refused.
        """
        batch = build_batch(RECORDS)
        for count in (3, 5, 2**31 - 1):
            wrong = changed(batch, 57, struct.pack(">i", count))
            self.assertRaises(InvalidRecord, list, read_records(wrong, LIMIT))


class LookUpTests(SynchronousTestCase):
    """
    Look-ups by timestamp, and checks of keys.
    """

    def setUp(self) -> None:
        """
        Build a batch with timestamps 1000, 3000, 2000, 3000 at offsets 100 to 103, in each
        codec.
        """
        rows = [record._replace(offset=100 + record.offset) for record in RECORDS]
        self.batches = [build_batch(rows, codec=codec) for codec in Codec]

    def test_first_at_or_after(self) -> None:
        """
        The result is the first record in order of offsets, not the nearest in time.
        """
        cases = [(0, (1000, 100)), (1000, (1000, 100)), (1001, (3000, 101)), (3001, None)]
        for batch in self.batches:
            for timestamp, expected in cases:
                self.assertEqual(first_at_or_after(batch, timestamp, LIMIT), expected)

    def test_header_may_lie(self) -> None:
        """
        A max timestamp that no record has is ignored.
        """
        batch = changed(self.batches[0], 35, struct.pack(">q", 2**60))
        self.assertIsNone(first_at_or_after(batch, 3001, LIMIT))

    def test_log_append_time(self) -> None:
        """
        All records have the timestamp of the batch, so the first one is returned.
        """
        view = memoryview(self.batches[0])
        batch = stamp(view, read_batch_header(view), 50, 0, append_time=9_000)
        self.assertEqual(first_at_or_after(batch, 9_000, LIMIT), (9_000, 50))
        self.assertIsNone(first_at_or_after(batch, 9_001, LIMIT))
