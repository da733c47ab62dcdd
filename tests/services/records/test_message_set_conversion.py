"""
Produce before version 3, and Fetch before version 4.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred

from kafscale import errors
from kafscale.services.records import message_set_conversion
from kafscale.wire.batches import Record
from kafscale.wire.compression import Codec, deflate
from kafscale.wire.message_sets import build_message, read_messages
from kafscale.wire.records import build_batch, check_batch, read_records
from tests.services.client import context
from tests.services.records.fetching import FetchCase, at
from tests.services.records.producing import BATCH, ProduceCase

TIME = 1_700_000_000_000


def message_set(magic: int, *values: bytes) -> bytes:
    """
    Messages with these values, a millisecond apart.
    """
    return b"".join(
        build_message(magic, Record(n, TIME + n, b"key", value)) for n, value in enumerate(values)
    )


def packed(magic: int, *values: bytes) -> bytes:
    """
    The same messages in a compressed wrapper.
    """
    inside = deflate(Codec.GZIP, message_set(magic, *values))
    return build_message(magic, Record(0, TIME, None, inside), Codec.GZIP)


class ProducedMessageSetTests(ProduceCase):
    """
    Message sets are converted to batches before they are appended.
    """

    def values(self, index: int = 0) -> list[list[tuple[int, bytes | None]]]:
        """
        Time and value of the records in the batches of a partition.
        """
        batches = [each.data for each in self.partition(index).batches]
        for batch in batches:
            check_batch(memoryview(batch))
        return [[(r.timestamp, r.value) for r in read_records(b, 1 << 20)] for b in batches]

    def test_every_version(self) -> None:
        """
        Any magic is accepted in every version, as in Kafka. A message set
        becomes one batch. The response has the fields of its version.
        """
        for version in range(3):
            for magic in (0, 1):
                settlement = self.log.next_settlement()
                answer = self.produce((0, message_set(magic, b"a", b"b")), version=version)
                self.assertNoResult(answer)
                settlement.settle()
                (part,) = self.successResultOf(answer)
                self.assertEqual((part.error_code, part.base_offset), (0, version * 2 + magic))
        without, having = [(-1, b"a"), (-1, b"b")], [(TIME, b"a"), (TIME + 1, b"b")]
        self.assertEqual(self.values(), [without, having] * 3)
        self.assertEqual(self.conversions.produced, 12)

    def test_batch(self) -> None:
        """
        A batch of format 2 is appended without conversion.
        """
        self.produce((0, BATCH), version=2)
        self.assertEqual(self.partition().batches[0].data, BATCH)
        self.assertEqual(self.conversions.produced, 0)

    def test_log_append_time(self) -> None:
        """
        From version 2 on the response has the log append time.
        """
        configs = {"message.timestamp.type": "LogAppendTime"}
        self.cluster.now(self.cluster.topics.create("late", 1, configs))
        for version, told in ((1, -1), (2, 1234)):
            answer = self.produce((0, message_set(1, b"a")), version=version, name="late")
            self.log.settlements[0].settle()
            self.assertEqual(self.successResultOf(answer)[0].log_append_time_ms, told)

    def test_refused_in_their_places(self) -> None:
        """
        Each partition has a response, in the order of the request. A message
        set that cannot be converted is not appended.
        """
        good, bad = message_set(1, b"a"), message_set(1, b"a")[:-1]
        answer = self.produce((0, bad), (1, good), (2, bad), (9, good), (2, good), version=2)
        self.log.settlements[0].settle()
        parts = self.successResultOf(answer)
        self.assertEqual([each.index for each in parts], [0, 1, 2, 9, 2])
        self.assertEqual([each.error_code for each in parts], [2, 0, 2, 3, 0])
        self.assertEqual([each.base_offset for each in parts], [-1, 0, -1, -1, 0])
        self.assertEqual(len(self.partition(0).batches), 0)

    def test_refusals(self) -> None:
        """
        Each error has Kafka's code: too large for the topic, zstd, no records,
        an unknown topic, a magic that does not exist.
        """
        small = {"max.message.bytes": "100"}
        self.cluster.now(self.cluster.topics.create("small", 1, small))
        zstd = build_message(1, Record(0, TIME, None, b""), Codec.ZSTD)
        future = b"".join((BATCH[:16], b"\x03", BATCH[17:]))
        for code, name, data in (
            (10, "small", message_set(1, bytes(101))),
            (10, "small", message_set(1, bytes(60), bytes(60))),
            (76, "orders", zstd),
            (87, "orders", b""),
            (87, "orders", None),
            (3, "nowhere", message_set(1, b"a")),
            (87, "orders", future),
        ):
            (part,) = self.successResultOf(self.produce((0, data), version=1, name=name))
            self.assertEqual((part.error_code, part.base_offset), (code, -1))

    def test_acks(self) -> None:
        """
        Unknown acks are refused for all partitions, before anything is
        converted.
        """
        (part,) = self.successResultOf(self.produce((0, b"?" * 20), acks=2, version=1))
        self.assertEqual(part.error_code, 21)

    def test_no_answer(self) -> None:
        """
        With acks=0 the connection is closed if any partition was refused. The
        others are appended.
        """
        good, bad = message_set(0, b"a"), message_set(0, b"a")[:-1]
        asked = self.client.start(self.request((0, good), acks=0), 0)
        self.assertIsNone(self.successResultOf(asked))
        asked = self.client.start(self.request((1, bad), (0, good), acks=0), 0)
        self.failureResultOf(asked, errors.CorruptMessage)
        self.assertEqual(len(self.partition().batches), 2)

    def test_bounded(self) -> None:
        """
        A message set that decompresses to too many bytes is refused.
        """
        small = {"max.decompressed.message.bytes": "100000"}
        self.cluster.now(self.cluster.topics.create("small", 1, small))
        (part,) = self.successResultOf(
            self.produce((0, packed(1, bytes(100_001))), version=2, name="small")
        )
        self.assertEqual(part.error_code, 87)

    def test_frame_is_freed(self) -> None:
        """
        While a request waits for the store, its frame is not kept in memory.
        """
        request = self.request((0, message_set(1, b"a")))
        self.service.produce(request, context(2))
        self.assertIsNone(request.topic_data[0].partition_data[0].records)

    def test_order(self) -> None:
        """
        A compressed message set, whose conversion takes time, is appended
        before one that came later.
        """
        elsewhere: list[tuple[Any, Deferred[Any]]] = []

        def later(function: Any) -> Deferred[Any]:
            elsewhere.append((function, Deferred()))
            return elsewhere[-1][1]

        self.run_blocking = later
        first = self.produce((0, packed(1, b"first")), version=2)
        second = self.produce((0, message_set(1, b"second")), version=2)
        sizes = [len(packed(1, b"first")), len(message_set(1, b"second"))]
        self.assertEqual(self.held, sizes)  # so that clients are slowed
        while elsewhere:
            function, answer = elsewhere.pop()
            answer.callback(function())
        self.cluster.clock.advance(0)
        self.assertEqual(self.held[2:], [-size for size in sizes])
        self.log.settlements[0].settle()
        self.assertEqual(self.successResultOf(first)[0].base_offset, 0)
        self.assertEqual(self.successResultOf(second)[0].base_offset, 1)
        self.assertEqual(self.values(), [[(TIME, b"first")], [(TIME, b"second")]])


def stored(offset: int, value: bytes, codec: int = 0) -> bytes:
    """
    A batch of one record, as the log has it.
    """
    return build_batch([Record(offset, TIME, b"key", value)], codec=codec)


class DownConverterTests(FetchCase):
    """
    Batches are converted to message sets after they were read.
    """

    def messages(self, part: Any, magic: int) -> list[tuple[int, int, bytes]]:
        """
        Offset, time and value of the messages of a partition.
        """
        self.assertEqual(part.error_code, 0)
        found = read_messages(memoryview(bytes(part.records)), magic)
        return [(m.offset, m.timestamp, bytes(m.value or b"")) for m in found]

    def test_every_version(self) -> None:
        """
        Messages have the magic of the version, and the response the high
        watermark.
        """
        self.partition().put(stored(0, b"one"), stored(1, b"two", Codec.GZIP))
        for version in range(4):
            magic = int(version >= 2)
            (part,) = self.fetch(at(0, 1), version=version)
            time = TIME if magic else -1
            self.assertEqual(self.messages(part, magic), [(1, time, b"two")])
            self.assertEqual(part.high_watermark, 2)
        self.assertEqual(self.conversions.fetched, 4)

    def test_nothing(self) -> None:
        """
        At the end of the log the response is empty when the time is over.
        """
        self.partition().put(stored(0, b"one"))
        asked = self.start(at(0, 1), version=0)
        self.assertNoResult(asked)
        self.clock.advance(0.5)
        (part,) = self.successResultOf(asked).responses[0].partitions
        self.assertEqual((part.error_code, bytes(part.records)), (0, b""))

    def test_waits(self) -> None:
        """
        A fetch that waits is woken by an append.
        """
        asked = self.start(at(0, 0), version=2)
        self.partition().put(stored(0, b"one"))
        self.clock.advance(0)
        (part,) = self.successResultOf(asked).responses[0].partitions
        self.assertEqual(len(self.messages(part, 1)), 1)

    def test_cold(self) -> None:
        """
        Records in the object store are loaded before the conversion.
        """
        partition = self.partition()
        partition.put(stored(0, b"one"))
        partition.cold = True
        asked = self.start(at(0, 0), version=3)
        self.assertNoResult(asked)
        partition.loading[0].callback(None)
        (part,) = self.successResultOf(asked).responses[0].partitions
        self.assertEqual(len(self.messages(part, 1)), 1)

    def test_limits(self) -> None:
        """
        Before version 3 each partition has at least one message. From then on
        only the first with records has, and all together stay within the limit
        of the request.
        """
        for index in range(3):
            self.partition(index).put(stored(0, bytes(500)), stored(1, bytes(500)))
        asked = [at(index, 0, max_bytes=10) for index in range(3)]
        for version, counts in ((0, [1, 1, 1]), (2, [1, 1, 1]), (3, [1, 0, 0])):
            parts = self.fetch(*asked, version=version)
            magic = int(version >= 2)
            self.assertEqual([len(self.messages(p, magic)) for p in parts], counts)
        asked = [at(index, 0) for index in range(3)]
        parts = self.fetch(*asked, version=3, max_bytes=2000)
        self.assertEqual([len(self.messages(part, 1)) for part in parts], [2, 1, 0])

    def test_limit_of_all(self) -> None:
        """
        Before version 3 the limit of the broker holds.
        """
        self.make(max_bytes=1000)
        for index in range(3):
            self.partition(index).put(stored(0, bytes(600)))
        parts = self.fetch(*(at(index, 0) for index in range(3)), version=1)
        self.assertEqual([len(self.messages(part, 0)) for part in parts], [1, 1, 0])

    def test_not_convertible(self) -> None:
        """
        zstd is refused, and a damaged batch is CORRUPT_MESSAGE. Other
        partitions have their records.
        """
        broken = bytearray(stored(0, b"one", Codec.GZIP))
        broken[61:65] = b"oops"
        self.partition(0).put(stored(0, b"one", Codec.ZSTD))
        self.partition(1).put(bytes(broken))
        self.partition(2).put(stored(0, b"one"))
        parts = self.fetch(*(at(index, 0) for index in range(3)), version=3)
        self.assertEqual([part.error_code for part in parts], [76, 2, 0])
        self.assertEqual([len(part.records) > 0 for part in parts], [False, False, True])

    def test_switched_off(self) -> None:
        """
        message.downconversion.enable=false refuses old consumers only.
        """
        configs = {"message.downconversion.enable": "false"}
        topic = self.cluster.now(self.cluster.topics.create("new", 1, configs))
        self.log.partition(topic.topic_id, 0).put(stored(0, b"one"))
        self.assertEqual(self.fetch(at(0, 0), version=3, name="new")[0].error_code, 35)
        self.assertEqual(self.fetch(at(0, 0), version=4, name="new")[0].error_code, 0)

    def test_cancelled(self) -> None:
        """
        After a consumer has disconnected nothing is converted for it.
        """
        partition = self.partition()
        partition.put(stored(0, b"one"))
        partition.cold = True
        asked = self.start(at(0, 0), version=2)
        with mock.patch.object(message_set_conversion, "to_messages") as convert:
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
        convert.assert_not_called()
