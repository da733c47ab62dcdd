"""
Looking into produced batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from struct import pack
from typing import Any

from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.errors import (
    CorruptMessage,
    InvalidRecord,
    InvalidTimestamp,
    KafkaError,
    MessageTooLarge,
    TransactionalIdAuthorizationFailed,
)
from kafscale.interfaces import AppendRules
from kafscale.services.records.inspection import (
    FaultyRecords,
    FaultyTimestamps,
    Inspected,
    check_header,
    inspect_at_once,
    inspect_small,
    inspect_steps,
)
from kafscale.wire.batches import LOG_APPEND_TIME, TRANSACTIONAL
from kafscale.wire.compression import Codec
from kafscale.wire.record_walk import is_compiled
from kafscale.wire.records import Record, build_batch, check_batch, read_records
from tests.services.records.producing import ProduceCase
from tests.wire.batches import LIMIT, changed, with_header

NOW = 1_700_000_000_000
HOUR = 3_600_000

RULES = AppendRules(after_ms=HOUR)
PRODUCER: dict[str, Any] = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 3}


def batch_of(
    *times: int, codec: int = Codec.NONE, keys: Sequence[bytes | None] = (), **fields: int
) -> memoryview:
    """
    A batch of records with these timestamps, and other fields in its header.
    """
    records = [
        Record(index, time, keys[index] if keys else b"k", b"value")
        for index, time in enumerate(times)
    ]
    return memoryview(with_header(build_batch(records, codec=codec), None, **fields))


class InspectionCase(SynchronousTestCase):
    """
    Looks into batches in each way that there is.
    """

    def inspect(self, batch: memoryview, rules: AppendRules = RULES) -> Inspected:
        """
        What is appended of a batch. It is the same whether the batch is looked into
        at once or in steps, or is small and passes in one step.

        @raise KafkaError: the batch is refused.
        """
        small = inspect_small(batch, rules, NOW)
        try:
            header = check_header(batch, rules)
        except KafkaError:
            self.assertIsNone(small)
            raise
        outcomes: list[Inspected | KafkaError] = []
        queue = WorkQueue(Clock(), execute)
        work: Deferred[Inspected] = queue.run(inspect_steps(batch, header, rules, NOW))
        work.addErrback(lambda failure: failure.value)
        outcomes.append(self.successResultOf(work))
        try:
            at_once = inspect_at_once(batch, header, rules, NOW)
            if at_once is not None:
                outcomes.append(at_once)
        except KafkaError as error:
            outcomes.append(error)
        if small is not None:
            outcomes.append(small)
        said = [
            (type(each), str(each)) if isinstance(each, KafkaError) else each for each in outcomes
        ]
        self.assertEqual(said, said[:1] * len(said))
        if isinstance(outcomes[0], KafkaError):
            raise outcomes[0]
        return outcomes[0]

    def faults(self, error: type[Exception], batch: memoryview, rules: AppendRules) -> list[int]:
        """
        The indices of the records because of which a batch is refused.
        """
        raised: Any = self.assertRaises(error, self.inspect, batch, rules)
        self.assertTrue(all(message for _, message in raised.record_errors))
        return [index for index, _ in raised.record_errors]


class SmallTests(InspectionCase):
    """
    Small batches that pass in one step, which only the compiled module does.
    """

    def test_sound(self) -> None:
        """
        Batches with which nothing is wrong, of every size up to the limit. A checksum
        covers any number of bytes.
        """
        for size in range(300):
            records = [Record(0, NOW, b"k", bytes(size)), Record(1, NOW - 1, b"", None)]
            batch = memoryview(build_batch(records, **PRODUCER))
            expected = Inspected(batch, check_header(batch, RULES)) if is_compiled() else None
            self.assertEqual(inspect_small(batch, RULES, NOW), expected)
        large = memoryview(build_batch([Record(0, NOW, None, bytes(4096))]))
        self.assertIsNone(inspect_small(large, RULES, NOW))

    def test_rules(self) -> None:
        """
        Rules of the topic that a batch does not comply with are for the longer way.
        """
        batch = batch_of(NOW, keys=[None])
        for rules in (
            AppendRules(max_bytes=len(batch) - 1),
            AppendRules(compacted=True),
            AppendRules(before_ms=-1),
            AppendRules(after_ms=-1),
            AppendRules(codec=Codec.LZ4),
        ):
            self.assertIsNone(inspect_small(batch, rules, NOW))

    def test_any_byte(self) -> None:
        """
        Whatever byte of a batch is changed, with and without the right checksum, what
        passes in one step passes the longer way, as it came.
        """
        records = [Record(0, NOW, b"k", b"value", ((b"h", None),)), Record(1, NOW, None, b"v")]
        good = build_batch(records, **PRODUCER)
        self.inspect(memoryview(good))
        for at in range(len(good)):
            for byte in {0, 1, 0x7F, 0x80, 0xFF, good[at] ^ 1, good[at] ^ 2} - {good[at]}:
                wrong = changed(good, at, bytes([byte]))
                for batch in (wrong, changed(wrong, 17, pack(">I", crc32c(wrong[21:])))):
                    with contextlib.suppress(KafkaError):
                        self.inspect(batch)

    def test_any_end(self) -> None:
        """
        A batch that is cut short or followed by bytes.
        """
        good = memoryview(batch_of(NOW, NOW))
        for size in range(len(good)):
            self.assertRaises(KafkaError, self.inspect, good[:size])
        self.assertRaises(KafkaError, self.inspect, memoryview(bytes(good) + b"x"))


class LargestTimestampTests(InspectionCase):
    """
    The largest timestamp of the records is what is stored.
    """

    def assert_stored(self, batch: memoryview, largest: int, rules: AppendRules = RULES) -> None:
        """
        Assert that the header has this largest timestamp, and that all else is as it
        came.
        """
        stored = self.inspect(batch, rules)
        header = check_batch(stored.batch)
        self.assertEqual(header, stored.header._replace(crc=header.crc))
        self.assertEqual((header.max_timestamp, header.log_append_time), (largest, False))
        before = check_batch(batch)
        self.assertEqual(
            header._replace(crc=0),
            before._replace(
                crc=0,
                max_timestamp=largest,
                attributes=before.attributes & ~LOG_APPEND_TIME,
            ),
        )
        self.assertEqual(stored.batch[61:], batch[61:])

    def test_true(self) -> None:
        """
        A true header is not touched: nothing is copied.
        """
        for codec in Codec:
            batch = batch_of(NOW, NOW + 5, NOW - 5, codec=codec)
            self.assertIs(self.inspect(batch).batch, batch)
            self.assert_stored(batch, NOW + 5)

    def test_wrong(self) -> None:
        """
        Sarama before 1.45.1 states -1, kafkajs at times that of the first record. What
        the header states is not compared with the limits.
        """
        for codec in Codec:
            for stated in (-1, NOW - HOUR, NOW + 9 * HOUR, -(2**63), 2**63 - 1):
                batch = batch_of(NOW - HOUR, NOW, codec=codec, max_timestamp=stated)
                self.assert_stored(batch, NOW)

    def test_none(self) -> None:
        """
        Records without a timestamp are within any limit.
        """
        rules = AppendRules(before_ms=1, after_ms=1)
        self.assert_stored(batch_of(-1, -1), -1, rules)
        self.assert_stored(batch_of(-1, NOW, -1), NOW, rules)

    def test_marked_by_the_client(self) -> None:
        """
        A client's mark for log append time is removed, and the records keep their
        times; except if they had none then.
        """
        batch = batch_of(NOW - 7, NOW - 9, attributes=LOG_APPEND_TIME, max_timestamp=NOW)
        self.assert_stored(batch, NOW - 7)
        batch = batch_of(NOW, NOW, attributes=LOG_APPEND_TIME, max_timestamp=-1)
        self.assertEqual(self.faults(FaultyTimestamps, batch, RULES), [0, 1])

    def test_log_append_time(self) -> None:
        """
        In topics with LogAppendTime any timestamp is taken, and left to be replaced;
        the client's mark is refused.
        """
        rules = AppendRules(log_append_time=True, before_ms=1, after_ms=1)
        batch = batch_of(1, 2**60, max_timestamp=-1)
        self.assertIs(self.inspect(batch, rules).batch, batch)
        marked = batch_of(NOW, NOW, NOW, attributes=LOG_APPEND_TIME)
        self.assertEqual(self.faults(FaultyTimestamps, marked, rules), [0, 1, 2])

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.integers(-(2**40), 2**44), min_size=1, max_size=20),
        st.integers(-(2**63), 2**63 - 1),
        st.sampled_from(Codec),
    )
    def test_any(self, times: list[int], stated: int, codec: Codec) -> None:
        """
        Whatever a header states, the stored one states what a reader finds.
        """
        rules = AppendRules(after_ms=2**60)
        stored = self.inspect(batch_of(*times, codec=codec, max_timestamp=stated), rules)
        found = [record.timestamp for record in read_records(stored.batch, LIMIT)]
        self.assertEqual(found, times)
        self.assertEqual(check_batch(stored.batch).max_timestamp, max(-1, *times))


class FaultTests(InspectionCase):
    """
    Every record at fault is named.
    """

    def test_too_far(self) -> None:
        """
        Each record's timestamp is compared with both limits.
        """
        rules = AppendRules(before_ms=HOUR, after_ms=HOUR)
        at_limit = batch_of(NOW - HOUR, NOW + HOUR)
        self.assertIs(self.inspect(at_limit, rules).batch, at_limit)
        for codec in Codec:
            batch = batch_of(NOW, NOW - HOUR - 1, NOW, NOW + HOUR + 1, codec=codec)
            self.assertEqual(self.faults(FaultyTimestamps, batch, rules), [1, 3])
        error = self.assertRaises(InvalidTimestamp, self.inspect, batch, rules)
        self.assertIn(
            "record 1: Its timestamp is 2023-11-14 21:13:19.999 UTC, and the topic takes none"
            " before 2023-11-14 21:13:20.000 UTC (message.timestamp.before.max.ms); record 3: Its"
            " timestamp is 2023-11-14 23:13:20.001 UTC, and the topic takes none after"
            " 2023-11-14 23:13:20.000 UTC (message.timestamp.after.max.ms)",
            str(error),
        )

    def test_far_off(self) -> None:
        """
        A timestamp that no calendar has is stated as a number.
        """
        error = self.assertRaises(
            InvalidTimestamp, self.inspect, batch_of(2**62), AppendRules(after_ms=HOUR)
        )
        self.assertIn(f"Its timestamp is {2**62} ms since 1970, and", str(error))

    def test_base_is_no_record(self) -> None:
        """
        The base timestamp of the header is not compared: it need not be a record's.
        """
        batch = batch_of(NOW)
        before = bytes(batch)
        moved = with_header(before, base_timestamp=NOW - 9 * HOUR)
        rules = AppendRules(before_ms=10 * HOUR)
        stored = self.inspect(memoryview(moved), rules)
        self.assertEqual(stored.header.max_timestamp, NOW - 9 * HOUR)

    def test_overflow(self) -> None:
        """
        A timestamp that is no INT64 is refused.
        """
        batch = batch_of(NOW, NOW + 1, base_timestamp=2**63 - 1)
        self.assertEqual(self.faults(FaultyTimestamps, batch, AppendRules(after_ms=2**63 - 1)), [1])

    def test_no_key(self) -> None:
        """
        In a compacted topic every record has a key, which may be empty.
        """
        rules = AppendRules(compacted=True)
        batch = batch_of(NOW, NOW, NOW, NOW, keys=[b"", None, b"k", None])
        self.assertEqual(self.faults(FaultyRecords, batch, rules), [1, 3])
        self.inspect(batch)

    def test_timestamp_comes_first(self) -> None:
        """
        With faults of both kinds the error is INVALID_TIMESTAMP, as in Kafka.
        """
        rules = AppendRules(compacted=True)
        batch = batch_of(NOW, NOW + 9 * HOUR, keys=[None, b"k"])
        self.assertEqual(self.faults(FaultyTimestamps, batch, rules), [0, 1])

    def test_wrong_offset(self) -> None:
        """
        Records are numbered from 0 on.
        """
        records = [Record(offset, NOW, b"k", b"v") for offset in (0, 2, 3)]
        batch = with_header(build_batch(records), last_offset_delta=2)
        self.assertEqual(self.faults(FaultyRecords, memoryview(batch), RULES), [1, 2])

    def test_many(self) -> None:
        """
        The answer names a limited number of them, and the message says how many
        there are.
        """
        batch = batch_of(*[NOW + 9 * HOUR] * 10_001)
        header = check_header(batch, RULES)
        failed = WorkQueue(Clock(), execute).run(inspect_steps(batch, header, RULES, NOW))
        error: Any = self.failureResultOf(failed, FaultyTimestamps).value
        self.assertEqual(len(error.record_errors), 10_000)
        self.assertIn("10001", str(error))
        self.assertLess(len(str(error)), 1000)


class UnreadableTests(InspectionCase):
    """
    Batches that no consumer could read are refused.
    """

    def refused(self, batch: bytes) -> None:
        """
        Assert that the batch is refused as a whole.
        """
        error = self.assertRaises(InvalidRecord, self.inspect, memoryview(batch))
        self.assertNotIsInstance(error, FaultyRecords)

    def test_count(self) -> None:
        """
        There are as many records as the header states.
        """
        for codec in Codec:
            good = batch_of(NOW, NOW, NOW, codec=codec)
            for count in (2, 4):
                self.refused(with_header(good, record_count=count, last_offset_delta=count - 1))

    def test_body(self) -> None:
        """
        The records end where the batch ends.
        """
        good = bytes(batch_of(NOW, NOW))
        self.refused(with_header(good, good[61:] + b"\0"))
        self.refused(with_header(good, good[61:-1]))
        self.refused(with_header(good, b"\xff" * 40))

    def test_not_compressed_so(self) -> None:
        """
        What cannot be inflated is refused.
        """
        for codec in list(Codec)[1:]:
            good = bytes(batch_of(NOW, NOW, codec=codec))
            self.refused(with_header(good, good[61:-5]))
            self.refused(with_header(good, bytes(batch_of(NOW, NOW)[61:])))

    def test_too_much(self) -> None:
        """
        So is what inflates to more than the limit, which the message names.
        """
        records = [Record(0, NOW, b"k", bytes(200_000))]
        for codec in list(Codec)[1:]:
            batch = memoryview(build_batch(records, codec=codec))
            self.inspect(batch)
            rules = AppendRules(after_ms=HOUR, max_inflated=150_000)
            error = self.assertRaises(InvalidRecord, self.inspect, batch, rules)
            self.assertIn("150000", str(error))


class CodecTests(InspectionCase):
    """
    C{compression.type} other than C{producer}.
    """

    def test_each(self) -> None:
        """
        A batch is stored in the topic's codec, with the same records and all else of
        its header; one that comes in that codec is not touched.
        """
        for codec in Codec:
            rules = AppendRules(after_ms=HOUR, codec=codec, level=3)
            for sent in Codec:
                batch = batch_of(NOW, NOW - 5, codec=sent, producer_id=7, base_sequence=3)
                batch = memoryview(with_header(batch, None, producer_epoch=2))
                stored = self.inspect(batch, rules)
                header = check_batch(stored.batch)
                self.assertEqual((header, header.codec), (stored.header, codec))
                before = check_batch(batch)
                same = {"crc": 0, "length": 0, "attributes": 0}
                self.assertEqual(header._replace(**same), before._replace(**same))
                self.assertEqual(
                    list(read_records(stored.batch, LIMIT)), list(read_records(batch, LIMIT))
                )
                self.assertEqual(stored.batch is batch, sent == codec)

    def test_mended_too(self) -> None:
        """
        A wrong largest timestamp is replaced, too.
        """
        rules = AppendRules(after_ms=HOUR, codec=Codec.ZSTD)
        stored = self.inspect(batch_of(NOW, max_timestamp=-1), rules)
        self.assertEqual(check_batch(stored.batch).max_timestamp, NOW)

    def test_too_large_then(self) -> None:
        """
        C{max.message.bytes} holds for what is stored.
        """
        batch = memoryview(build_batch([Record(0, NOW, b"k", bytes(5000))], codec=Codec.GZIP))
        rules = AppendRules(1000, after_ms=HOUR, codec=Codec.NONE)
        self.assertRaises(MessageTooLarge, self.inspect, batch, rules)

    def test_levels(self) -> None:
        """
        A higher level compresses more.
        """
        values = [b"%d" % (number * 7919) for number in range(2000)]
        records = [Record(index, NOW, b"k", value) for index, value in enumerate(values)]
        batch = memoryview(build_batch(records))
        for codec, low, high in ((Codec.GZIP, 1, 9), (Codec.LZ4, 9, 12), (Codec.ZSTD, -50, 19)):
            sizes = [
                len(self.inspect(batch, AppendRules(after_ms=HOUR, codec=codec, level=level)).batch)
                for level in (low, high)
            ]
            self.assertGreater(sizes[0], sizes[1], codec)


class HeaderTests(InspectionCase):
    """
    What is checked before the records.
    """

    def test_too_large(self) -> None:
        """
        C{max.message.bytes} counts the whole batch.
        """
        batch = batch_of(NOW)
        self.assertRaises(MessageTooLarge, self.inspect, batch, AppendRules(len(batch) - 1))
        self.inspect(batch, AppendRules(len(batch)))

    def test_corrupt(self) -> None:
        """
        The CRC is checked first: a damaged batch may be sent again.
        """
        damaged = bytearray(batch_of(NOW, attributes=TRANSACTIONAL))
        damaged[-1] ^= 1
        self.assertRaises(CorruptMessage, self.inspect, memoryview(bytes(damaged)))

    def test_base_offset(self) -> None:
        """
        A batch with a base offset is refused: offsets are the broker's.
        """
        for base in (1, -1, 2**40):
            batch = bytearray(batch_of(NOW))
            batch[:8] = base.to_bytes(8, "big", signed=True)
            with self.assertRaises(InvalidRecord) as caught:
                check_header(memoryview(batch), RULES)
            self.assertIn(f"must be 0, not {base}", str(caught.exception))

    def test_transactional(self) -> None:
        """
        There are no transactions.
        """
        batch = batch_of(NOW, attributes=TRANSACTIONAL, producer_id=1, producer_epoch=0)
        self.assertRaises(
            TransactionalIdAuthorizationFailed, self.inspect, changed(batch, 53, bytes(4))
        )


class AnswerTests(ProduceCase):
    """
    What is wrong with a batch is in the answer.
    """

    def test_record_errors(self) -> None:
        """
        From version 8 on the answer names the records at fault, with a message of
        each and one for all.
        """
        self.cluster.now(self.cluster.topics.create("small", 1, {"cleanup.policy": "compact"}))
        batch = bytes(batch_of(NOW, NOW, NOW, NOW, keys=[b"", None, b"k", None]))
        for version in (7, 8, 12):
            (part,) = self.successResultOf(
                self.produce((0, batch), name="small", version=version)
            )
            self.assertEqual((part.error_code, part.base_offset), (87, -1))
            indices = [each.batch_index for each in part.record_errors]
            self.assertEqual(indices, [1, 3] if version >= 8 else [])
            for each in part.record_errors:
                self.assertIn("key", each.batch_index_error_message)
            if version >= 8:
                self.assertIn("key", part.error_message)

    def test_the_broker_s_time(self) -> None:
        """
        Limits are those from the broker's time.
        """
        now = int(self.cluster.clock.seconds() * 1000)
        batch = bytes(batch_of(now, now + HOUR + 1))
        self.assertEqual(self.refused((0, batch))[0], 32)
        self.cluster.clock.advance(1)
        self.assertNoResult(self.produce((0, batch)))
