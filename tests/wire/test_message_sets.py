"""
Message sets of magic 0 and 1: against kafka-python, and against hostile bytes.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Sequence
from typing import Any, TypeVar
from zlib import crc32

from aiokafka.record.legacy_records import LegacyRecordBatchBuilder as AioBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.legacy_records import LegacyRecordBatchBuilder as KafkaBuilder
from kafka.record.memory_records import MemoryRecords
from twisted.trial.unittest import SynchronousTestCase

from kafscale import errors
from kafscale.wire.compression import Codec, deflate, mend_lz4
from kafscale.wire.message_sets import (
    MessageSet,
    build_message,
    is_message_set,
    read_messages,
    to_batch,
    to_messages,
)
from kafscale.wire.records import (
    Record,
    build_batch,
    check_batch,
    read_batch_header,
    read_records,
    stamp,
)
from kafscale.wire.steps import Steps

T = TypeVar("T")

LIMIT = 1 << 20
TIME = 1_700_000_000_000
ROWS = [
    Record(0, TIME, b"key", b"value"),
    Record(1, TIME - 5, None, b"only a value"),
    Record(2, TIME + 9, b"only a key", None),
    Record(3, TIME, b"", b""),
]
OLD_CODECS = (Codec.NONE, Codec.GZIP, Codec.SNAPPY, Codec.LZ4)

MESSAGE_0 = bytes.fromhex(
    "0000000000000005"  # offset 5
    "00000011"  # 17 bytes follow
    "61505427"  # CRC-32 of what follows
    "00"  # magic 0
    "00"  # no codec
    "00000001 6b"  # key
    "00000002 7631"  # value
)
MESSAGE_1 = bytes.fromhex(
    "0000000000000005"  # offset 5
    "00000018"  # 24 bytes follow
    "63f41d7e"  # CRC-32 of what follows
    "01"  # magic 1
    "08"  # no codec; the broker gave the timestamp
    "0000018bcfe56800"  # timestamp
    "ffffffff"  # no key
    "00000002 7631"  # value
)


def done(work: Steps[T]) -> tuple[T, int]:
    """
    Run all steps; return the result, and the number of steps.
    """
    steps = 0
    try:
        step = next(work)
        while True:
            steps += 1
            try:
                wanted = step() if step is not None else None
            except errors.KafkaError as error:
                step = work.throw(error)
            else:
                step = work.send(wanted)
    except StopIteration as end:
        return end.value, steps


def changed(data: bytes, at: int, to: bytes) -> bytes:
    """
    Return the data with other bytes at one position.
    """
    return data[:at] + to + data[at + len(to) :]


def batch_of(messages: bytes, max_bytes: int = LIMIT, limit: int = LIMIT) -> bytes:
    """
    Return a message set as one batch.
    """
    return done(to_batch(memoryview(messages), max_bytes, limit))[0]


def messages_of(
    *batches: bytes,
    magic: int = 1,
    offset: int = 0,
    max_bytes: int = LIMIT,
    at_least_one: bool = True,
    limit: int = LIMIT,
) -> MessageSet:
    """
    Return batches as a message set.
    """
    return done(to_messages(batches, magic, offset, max_bytes, at_least_one, limit))[0]


def message_set(magic: int, records: Sequence[Record], attributes: int = 0) -> bytes:
    """
    Return the messages as a set.
    """
    return b"".join(build_message(magic, record, attributes) for record in records)


def wrapper(magic: int, codec: int, inside: bytes, attributes: int = 0) -> bytes:
    """
    Return a message whose value is these compressed bytes.
    """
    return build_message(magic, Record(0, TIME, None, inside), codec | attributes)


def broken_lz4(frame: bytes) -> bytes:
    """
    Return the frame with the header checksum of Kafka before 0.10, which includes the
    magic number (KAFKA-3160).
    """
    end = 14 if frame[4] & 0x08 else 6
    return changed(frame, end, bytes([frame[end] ^ 0x5A]))


def fields_of(records: Sequence[Record], magic: int) -> list[tuple[Any, ...]]:
    """
    Return the fields of records that messages have, too.
    """
    return [(r.offset, r.timestamp if magic else -1, r.key, r.value) for r in records]


class FormatTests(SynchronousTestCase):
    """
    Single messages, byte by byte.
    """

    def test_canonical(self) -> None:
        """
        Messages of both magics are encoded and decoded as documented.
        """
        record = Record(5, TIME, b"k", b"v1")
        self.assertEqual(build_message(0, record), MESSAGE_0)
        (message,) = read_messages(memoryview(MESSAGE_0), 0)
        self.assertEqual(tuple(message), (5, 0, -1, b"k", b"v1"))
        record = Record(5, TIME, None, b"v1")
        self.assertEqual(build_message(1, record, 8), MESSAGE_1)
        (message,) = read_messages(memoryview(MESSAGE_1), 1)
        self.assertEqual(tuple(message), (5, 8, TIME, None, b"v1"))

    def test_recognized(self) -> None:
        """
        A message set is distinguished from a batch by its magic.
        """
        self.assertTrue(is_message_set(memoryview(MESSAGE_0)))
        self.assertTrue(is_message_set(memoryview(MESSAGE_1)))
        for other in (build_batch(ROWS), b"", MESSAGE_0[:16], changed(MESSAGE_0, 16, b"\xff")):
            self.assertFalse(is_message_set(memoryview(other)))


class ToBatchTests(SynchronousTestCase):
    """
    Conversion of message sets of old producers.
    """

    def test_they_write(self) -> None:
        """
        Sets built by kafka-python and aiokafka become one batch in the same codec, with the
        same records. (Their lz4 of magic 0 needs a package; see L{test_lz4_of_magic_0}.)
        """
        for magic in (0, 1):
            for codec in OLD_CODECS:
                if magic == 0 and codec == Codec.LZ4:
                    continue
                options = {"magic": magic, "compression_type": int(codec), "batch_size": 1 << 16}
                for builder in (KafkaBuilder(**options), AioBuilder(**options)):
                    for offset, timestamp, key, value, _ in ROWS:
                        builder.append(offset, timestamp=timestamp, key=key, value=value)
                    batch = batch_of(bytes(builder.build()))
                    header = check_batch(memoryview(batch))
                    self.assertEqual((header.codec, header.producer_id), (codec, -1))
                    self.assertEqual(header.max_timestamp, TIME + 9 if magic else -1)
                    read = list(read_records(batch, LIMIT))
                    self.assertEqual(fields_of(read, 1), fields_of(ROWS, magic))

    def test_lz4_of_magic_0(self) -> None:
        """
        In magic 0 the checksum of the frame header is wrong (KAFKA-3160), in frames with a
        size and without. In magic 1 it must be right.
        """
        for magic in (0, 1):
            inside = message_set(magic, ROWS)
            frame = broken_lz4(deflate(Codec.LZ4, inside))
            data = wrapper(magic, Codec.LZ4, frame)
            if magic:
                self.assertRaises(errors.InvalidRecord, batch_of, data)
                continue
            read = list(read_records(batch_of(data), LIMIT))
            self.assertEqual(fields_of(read, 1), fields_of(ROWS, 0))

    def test_lz4_header(self) -> None:
        """
        The corrected checksum is that of the frame format, for any header.
        """
        for head, checksum in (
            ("04224d18 6040", "82"),
            ("04224d18 6440", "a7"),
            ("04224d18 6840 2c01000000000000", "84"),
            ("04224d18 6c40 2c01000000000000", "54"),
        ):
            frame = bytes.fromhex(head) + b"\xee" + b"rest"
            mended = bytes.fromhex(head + checksum) + b"rest"
            self.assertEqual(mend_lz4(memoryview(frame)), mended)
        for short in (b"", b"\x04\x22\x4d\x18", bytes.fromhex("04224d186840")):
            self.assertRaises(errors.InvalidRecord, mend_lz4, memoryview(short))

    def test_several_wrappers(self) -> None:
        """
        Several wrappers in a set are accepted, as in Kafka before 0.11, also beside
        uncompressed messages. The order is kept.
        """
        packed = [
            wrapper(1, Codec.GZIP, deflate(Codec.GZIP, message_set(1, [row]))) for row in ROWS
        ]
        batch = batch_of(packed[0] + message_set(1, ROWS[1:2]) + packed[2] + packed[3])
        self.assertEqual(read_batch_header(batch).codec, Codec.GZIP)
        self.assertEqual(fields_of(list(read_records(batch, LIMIT)), 1), fields_of(ROWS, 1))

    def test_offsets_do_not_matter(self) -> None:
        """
        The offsets of the producer are ignored; the log assigns consecutive ones.
        """
        offsets = (7, 7, -1, 0)
        rows = [row._replace(offset=offset) for row, offset in zip(ROWS, offsets, strict=True)]
        batch = batch_of(message_set(1, rows))
        check_batch(memoryview(batch))
        self.assertEqual([each.offset for each in read_records(batch, LIMIT)], [0, 1, 2, 3])

    def test_damaged(self) -> None:
        """
        A wrong checksum, outside or inside a wrapper, a truncated set, and inconsistent
        lengths are CORRUPT_MESSAGE.
        """
        for magic in (0, 1):
            plain = message_set(magic, ROWS)
            sets = [
                changed(plain, len(plain) - 1, bytes([plain[-1] ^ 1])),
                changed(plain, 15, bytes([plain[15] ^ 1])),
                plain[:-1],
                plain[:30],
                changed(plain, 8, struct.pack(">i", 4)),
                changed(plain, 8, struct.pack(">i", -1)),
                changed(plain, 8, struct.pack(">i", 2**31 - 1)),
            ]
            first = 18 + 8 * magic
            for size in (-2, 5, 2**31 - 1):
                body = plain[16:first] + struct.pack(">i", size) + bytes(4)
                sets.append(struct.pack(">qiI", 0, len(body) + 4, crc32(body)) + body)
            for data in sets:
                packed = wrapper(magic, Codec.GZIP, deflate(Codec.GZIP, data))
                self.assertRaises(errors.CorruptMessage, batch_of, data)
                self.assertRaises(errors.CorruptMessage, batch_of, packed)

    def test_not_valid(self) -> None:
        """
        Mixed magics, wrappers within wrappers, and empty wrappers are refused.
        """
        plain = message_set(1, ROWS)
        packed = wrapper(1, Codec.GZIP, deflate(Codec.GZIP, plain))
        for data in (
            MESSAGE_0 + message_set(1, ROWS),
            plain + build_batch(ROWS),
            wrapper(1, Codec.GZIP, deflate(Codec.GZIP, message_set(0, ROWS))),
            wrapper(1, Codec.GZIP, deflate(Codec.GZIP, packed)),
            wrapper(1, Codec.GZIP, deflate(Codec.GZIP, b"")),
            wrapper(1, Codec.GZIP, plain),
            build_message(1, Record(0, TIME, None, None), Codec.GZIP),
        ):
            self.assertRaises(errors.InvalidRecord, batch_of, data)

    def test_codecs(self) -> None:
        """
        zstd is refused, because it is newer than message sets; so are codecs 5 to 7.
        """
        for codec in (Codec.ZSTD, 5, 6, 7):
            data = wrapper(1, codec, deflate(Codec.ZSTD, message_set(1, ROWS)))
            self.assertRaises(errors.UnsupportedCompressionType, batch_of, data)

    def test_times(self) -> None:
        """
        The log append time attribute is refused, as are timestamps below -1, and those so
        large that deltas overflow.
        """
        self.assertRaises(errors.InvalidTimestamp, batch_of, message_set(1, ROWS, 8))
        inside = deflate(Codec.GZIP, message_set(1, ROWS))
        self.assertRaises(errors.InvalidTimestamp, batch_of, wrapper(1, 1, inside, 8))
        for time in (-2, -(2**63), 2**63 - 1):
            data = message_set(1, [*ROWS, Record(4, time, None, b"")])
            self.assertRaises(errors.InvalidTimestamp, batch_of, data)
        latest = [Record(0, -1, None, b""), Record(1, 2**63 - 2, None, b"")]
        batch = batch_of(message_set(1, latest))
        self.assertEqual(list(read_records(batch, LIMIT)), latest)

    def test_too_large(self) -> None:
        """
        A message, or a whole batch, above the limit of the topic is refused.
        """
        rows = [Record(0, TIME, None, b"x" * 100)] * 20
        data = message_set(1, rows)
        self.assertRaises(errors.MessageTooLarge, batch_of, data, 99)
        self.assertRaises(errors.MessageTooLarge, batch_of, data, 1000)
        batch = batch_of(data, 3000)
        self.assertGreater(len(batch), 2000)
        packed = wrapper(1, Codec.GZIP, deflate(Codec.GZIP, data))
        self.assertLess(len(batch_of(packed, 1000)), 1000)

    def test_bomb(self) -> None:
        """
        All wrappers together decompress to no more than the limit.
        """
        inside = message_set(1, [Record(0, TIME, None, bytes(100_000))])
        for codec in OLD_CODECS[1:]:
            packed = wrapper(1, codec, deflate(codec, inside))
            self.assertEqual(read_batch_header(batch_of(packed)).record_count, 1)
            self.assertRaises(errors.InvalidRecord, batch_of, packed, limit=99_999)
            self.assertRaises(errors.InvalidRecord, batch_of, packed * 11)

    def test_steps(self) -> None:
        """
        Many messages, or large ones, take many steps.
        """
        small = memoryview(message_set(1, [Record(0, TIME, None, b"")] * 10_000))
        large = memoryview(message_set(1, [Record(0, TIME, None, bytes(70_000))] * 10))
        self.assertGreater(done(to_batch(small, LIMIT, LIMIT))[1], 30)
        self.assertEqual(done(to_batch(large, LIMIT, LIMIT))[1], 10)

    @given(st.binary(max_size=60), st.integers(0, 200), st.sampled_from((0, 1)), st.booleans())
    @settings(max_examples=150, deadline=None)
    def test_any_bytes(self, noise: bytes, at: int, magic: int, inside: bool) -> None:
        """
        Arbitrary bytes raise Kafka's errors only.
        """
        data = message_set(magic, ROWS)
        data = data[:at] + noise + data[at + len(noise) :]
        if inside:
            data = wrapper(magic, Codec.SNAPPY, deflate(Codec.SNAPPY, data))
        if is_message_set(memoryview(data)):
            with contextlib.suppress(errors.KafkaError):
                batch_of(data)


class ToMessagesTests(SynchronousTestCase):
    """
    Conversion of batches for old consumers.
    """

    def stored(self, codec: int = 0, base: int = 0, records: Sequence[Record] = ROWS) -> bytes:
        """
        Return a batch as the log stores it.
        """
        batch = memoryview(build_batch(records, codec=codec))
        return stamp(batch, read_batch_header(batch), base, 3)

    def read(self, made: MessageSet, magic: int) -> list[tuple[Any, ...]]:
        """
        Return the messages as kafka-python decodes them, and check their checksums.
        """
        data = b"".join(made.pieces)
        self.assertEqual(made.size, len(data))
        got = []
        batches = MemoryRecords(data)
        while batches.has_next():
            batch = batches.next_batch()
            self.assertTrue(batch.validate_crc())
            for each in batch:
                self.assertEqual(each.magic, magic)
                got.append((each.offset, each.timestamp, each.key, each.value))
        self.assertEqual(made.messages, len(got))
        return got

    def test_they_read(self) -> None:
        """
        kafka-python decodes messages converted from batches of each codec of that time; in
        magic 0 without timestamps.
        """
        batches = [self.stored(codec, 4 * n) for n, codec in enumerate(OLD_CODECS)]
        rows = [row._replace(offset=i) for i, row in enumerate(ROWS * len(batches))]
        for magic in (0, 1):
            got = self.read(messages_of(*batches, magic=magic), magic)
            none = -1 if magic else None
            wanted = [
                (o, t if magic else none, k, v) for o, t, k, v in fields_of(rows, magic)
            ]
            self.assertEqual(got, wanted)

    def test_pieces_of_several(self) -> None:
        """
        A piece may have several batches, as those read from a segment.
        """
        piece = self.stored() + self.stored(Codec.GZIP, 4)
        self.assertEqual([each[0] for each in self.read(messages_of(piece), 1)], list(range(8)))

    def test_from_the_offset_on(self) -> None:
        """
        Messages begin at the offset, also within a batch.
        """
        for codec in OLD_CODECS:
            got = self.read(messages_of(self.stored(codec, 10), offset=12), 1)
            self.assertEqual([each[0] for each in got], [12, 13])

    def test_limit(self) -> None:
        """
        As many whole messages as fit are returned, and at least one if so requested.
        """
        batch = self.stored()
        whole = messages_of(batch).size
        ends = [
            messages_of(batch, max_bytes=size).messages for size in range(whole + 1)
        ]
        self.assertEqual(ends[0], 1)
        self.assertEqual((ends[whole - 1], ends[whole]), (3, 4))
        self.assertEqual(ends, sorted(ends))
        none = messages_of(batch, max_bytes=10, at_least_one=False)
        self.assertEqual((none.size, none.messages), (0, 0))
        for size in range(60, whole + 1):
            self.assertLessEqual(messages_of(batch, max_bytes=size).size, size)

    def test_headers_are_left_out(self) -> None:
        """
        Headers of records are left out.
        """
        batch = self.stored(records=[Record(0, TIME, b"k", b"v", ((b"name", b"held"),))])
        self.assertEqual(self.read(messages_of(batch), 1), [(0, TIME, b"k", b"v")])

    def test_log_append_time(self) -> None:
        """
        The broker's timestamp, and the attribute that marks it, are kept.
        """
        batch = memoryview(build_batch(ROWS))
        stamped = stamp(batch, read_batch_header(batch), 0, 3, TIME + 100)
        data = b"".join(messages_of(stamped).pieces)
        found = [(m.attributes, m.timestamp) for m in read_messages(memoryview(data), 1)]
        self.assertEqual(found, [(8, TIME + 100)] * 4)
        data = b"".join(messages_of(stamped, magic=0).pieces)
        self.assertEqual({m.attributes for m in read_messages(memoryview(data), 0)}, {0})

    def test_control_batches(self) -> None:
        """
        Control batches are left out.
        """
        end = build_batch([Record(0, TIME, b"\0\0\0\1", b"")], transactional=True, control=True)
        got = self.read(messages_of(end, self.stored(base=1)), 1)
        self.assertEqual([each[0] for each in got], [1, 2, 3, 4])

    def test_not_convertible(self) -> None:
        """
        The messages before a batch that cannot be converted are returned. zstd is
        UNSUPPORTED_COMPRESSION_TYPE; data that is invalid, or larger than the limit, is
        CORRUPT_MESSAGE.
        """
        good = self.stored()
        garbage = changed(self.stored(Codec.GZIP, 4), 61, b"garbage")
        for bad, error in (
            (self.stored(Codec.ZSTD, 4), errors.UnsupportedCompressionType),
            (garbage, errors.CorruptMessage),
        ):
            self.assertEqual(messages_of(good, bad).messages, 4)
            self.assertRaises(error, messages_of, bad, offset=4)
        large = self.stored(Codec.LZ4, 0, [Record(0, TIME, None, bytes(5000))])
        self.assertRaises(errors.CorruptMessage, messages_of, large, limit=4999)

    def test_steps(self) -> None:
        """
        Many records take many steps, also those that are skipped.
        """
        batch = self.stored(records=[Record(n, TIME, None, b"") for n in range(10_000)])
        for offset in (0, 9_999):
            work = to_messages([batch], 1, offset, LIMIT, True, LIMIT)
            self.assertGreater(done(work)[1], 30)


OPTIONAL = st.none() | st.binary(max_size=40)


class RoundTripTests(SynchronousTestCase):
    """
    Conversion of any records in both directions.
    """

    @given(
        st.sampled_from((0, 1)),
        st.sampled_from(OLD_CODECS),
        st.lists(st.tuples(st.integers(-1, 2**41), OPTIONAL, OPTIONAL), min_size=1, max_size=20),
    )
    @settings(max_examples=100, deadline=None)
    def test_round_trip(self, magic: int, codec: Codec, rows: list[Any]) -> None:
        """
        An old consumer gets the messages that an old producer sent, plain or compressed.
        """
        records = [Record(n, *row) for n, row in enumerate(rows)]
        data = plain = message_set(magic, records)
        if codec:
            packed = deflate(codec, plain)
            if codec == Codec.LZ4 and magic == 0:
                packed = broken_lz4(packed)
            data = wrapper(magic, codec, packed)
        made = messages_of(batch_of(data), magic=magic)
        self.assertEqual(b"".join(made.pieces), plain)
        self.assertEqual(made.messages, len(records))
