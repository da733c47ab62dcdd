"""
Clients that are set to an old version of Kafka: current clients read the
records of old ones, and the other way round.

librdkafka and kafka-python have a setting for the version of the broker, and
then use its protocol: message sets of magic 0 for Kafka 0.8 and 0.9, of magic 1
for 0.10 (for which librdkafka follows ApiVersions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import confluent_kafka
import kafka

from kafscale.wire.message_sets import build_message
from kafscale.wire.messages import ProduceRequest
from kafscale.wire.records import Record as WireRecord
from tests.clients.broker import BrokerTestCase, telling_logs
from tests.clients.libraries import (
    LIBRARIES,
    SECONDS,
    Confluent,
    KafkaPython,
    Kcat,
    Library,
)
from tests.clients.raw import CODECS, RawClient, Record

COUNT = 2000
TIME = 1_700_000_000_000


def librdkafka(version: str) -> dict[str, Any]:
    """
    Its options for a broker of this version.
    """
    return {"api.version.request": "false", "broker.version.fallback": version, "log_level": 3}


class Confluent082(Confluent):
    """
    Produce 0, Fetch 0.
    """

    name = "confluent-kafka 0.8.2"
    options: ClassVar[dict[str, Any]] = librdkafka("0.8.2")


class Confluent09(Confluent):
    """
    Produce 1, Fetch 1.
    """

    name = "confluent-kafka 0.9"
    options: ClassVar[dict[str, Any]] = librdkafka("0.9.0")


class KafkaPython09(KafkaPython):
    """
    Produce 1, Fetch 1. (Its lz4 needs a package here; librdkafka's does not.)
    """

    name = "kafka-python 0.9"
    options: ClassVar[dict[str, Any]] = {"api_version": (0, 9)}


class KafkaPython010(KafkaPython):
    """
    Produce 2, Fetch 2.
    """

    name = "kafka-python 0.10"
    options: ClassVar[dict[str, Any]] = {"api_version": (0, 10, 0)}


class KafkaPython0101(KafkaPython):
    """
    Produce 2, Fetch 3.
    """

    name = "kafka-python 0.10.1"
    options: ClassVar[dict[str, Any]] = {"api_version": (0, 10, 1)}


class Kcat09(Kcat):
    """
    Produce 1, Fetch 1; librdkafka of 2022.
    """

    name = "kcat 0.9"
    headers = ()
    options: ClassVar[dict[str, Any]] = librdkafka("0.9.0")


OLD: list[Library] = [
    Confluent082(), Confluent09(), KafkaPython09(), KafkaPython010(), KafkaPython0101(), Kcat09(),
]  # fmt: skip
NEW = [LIBRARIES["confluent-kafka"], LIBRARIES["kafka-python"]]
CODECS_OF_OLD = [codec for codec in CODECS if codec != "zstd"]
WITH_TIMES = ("kafka-python 0.10", "kafka-python 0.10.1")


def some_records(headers: bool = False) -> list[Record]:
    """
    Records with all that a message may have, and without.
    """
    return [
        Record(
            key=None if i % 50 == 7 else b"\x00\xff key %d" % (i % 100),
            value=None if i % 100 == 31 else b"\x00\x80\xff %d " % i * 20,
            headers=(("kind", b"order"),) if headers else (),
            timestamp=TIME + i * 7 - (i % 5) * 20,
        )
        for i in range(COUNT)
    ]


def bare(records: Iterable[Record], times: bool) -> list[Record]:
    """
    Return the records without headers, which old messages do not have, and
    without timestamps unless C{times} is true.
    """
    return [
        record._replace(headers=(), timestamp=record.timestamp if times else -1)
        for record in records
    ]


def seen(records: Iterable[Record], times: bool) -> list[Record]:
    """
    Return the records that an old client has read. Libraries differ in the
    timestamp of a record that has none, so it counts only with C{times}.
    """
    return [each if times else each._replace(timestamp=-1) for each in records]


class OldClientTests(BrokerTestCase):
    """
    One test for each client.
    """

    def exchange(self, old: Library) -> None:
        """
        C{old} writes in each codec, and new clients and itself read.
        """
        broker = self.broker()
        times = old.name in WITH_TIMES
        written = old.given(some_records())
        with RawClient(broker.port) as raw:
            for codec in CODECS_OF_OLD:
                if codec == "lz4" and old.name == "kafka-python 0.9":
                    continue
                raw.create(codec)
                old.write(broker.address, codec, written, codec)
                batches = list(raw.batches(codec))
                stored = [record for batch in batches for record in batch.records()]
                self.assert_same(stored, bare(written, times), f"as stored in {codec}")
                squeezed = [b.record_count for b in batches if b.codec == CODECS[codec]]
                self.assertGreaterEqual(sum(squeezed), 0.95 * COUNT, f"records in {codec}")
                for reader in NEW:
                    read = reader.read(broker.address, codec, COUNT)
                    self.assert_same(read, stored, f"in {codec}, as read by {reader.name}")
                read = seen(old.read(broker.address, codec, COUNT), times)
                self.assert_same(read, stored, f"in {codec}, as read by itself")
        self.assertNotIn("Traceback", broker.tail(1000))

    def assert_same(self, got: list[Record], wanted: list[Record], what: str) -> None:
        """
        The records are equal, one by one.
        """
        for i, (one, other) in enumerate(zip(got, wanted, strict=False)):
            self.assertEqual(one, other, f"record {i} {what}")
        self.assertEqual(len(got), len(wanted), f"number of records {what}")

    def test_from_new(self) -> None:
        """
        What a new client writes, with headers and in any codec of the time,
        old clients read without the headers; also from within a batch, and
        from segments, after a restart.
        """
        broker = self.broker()
        written = some_records(headers=True)
        with RawClient(broker.port) as raw:
            for codec in CODECS_OF_OLD:
                raw.create(codec)
                LIBRARIES["confluent-kafka"].write(broker.address, codec, written, codec)
        broker.restart()
        for codec in CODECS_OF_OLD:
            for reader in OLD:
                has_times = reader.name in WITH_TIMES
                read = seen(reader.read(broker.address, codec, COUNT), has_times)
                self.assert_same(read, bare(written, has_times), f"{codec}, by {reader.name}")
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=broker.address, group_id=None, api_version=(0, 9)
        )
        self.addCleanup(consumer.close)
        partition = kafka.TopicPartition("gzip", 0)
        consumer.assign([partition])
        consumer.seek(partition, COUNT - 3)
        ((first, *_),) = consumer.poll(SECONDS * 1000).values()
        self.assertEqual((first.offset, first.value), (COUNT - 3, written[-3].value))

    def test_groups(self) -> None:
        """
        A group of consumers of old shares a topic, and goes on where it was.
        """
        broker = self.broker()
        options = {
            "bootstrap.servers": broker.address,
            "group.id": "old",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **librdkafka("0.9.0"),
        }
        with self.connect(broker) as raw:
            raw.create("topic")
            raw.call(produce_request("topic", 0, b"one", b"two", b"three"), 0)
        for wanted in (b"one", b"two"):
            consumer = confluent_kafka.Consumer(options)
            consumer.subscribe(["topic"])
            message = consumer.poll(SECONDS)
            self.assertEqual(message.value(), wanted)
            consumer.commit(message, asynchronous=False)
            consumer.close()

    def test_zstd(self) -> None:
        """
        zstd is not for old clients: UNSUPPORTED_COMPRESSION_TYPE. The next
        version that knows batches has it.
        """
        broker = self.broker()
        with self.connect(broker) as raw:
            raw.create("topic")
            LIBRARIES["confluent-kafka"].write(broker.address, "topic", some_records(), "zstd")
            for version, error in ((0, 76), (3, 76), (4, 0)):
                answer = raw.call(raw.fetch_request("topic", 0, 0), version)
                ((part,),) = [each.partitions for each in answer.responses]
                self.assertEqual(part.error_code, error)

    def test_pipelined(self) -> None:
        """
        Sets that take long to convert, as they are compressed, and short ones,
        sent without waiting, are in the log in their order.
        """
        broker = self.broker()
        with self.connect(broker) as raw:
            raw.create("topic")
            sent = []
            for number in range(40):
                values = [b"%d" % number] * (1 if number % 3 else 3000)
                request = produce_request("topic", 1 - number % 2, *values)
                sent.append((request, raw.send(request, 2), len(values)))
            offset = 0
            for request, correlation, count in sent:
                answer = raw.receive(request, 2, correlation)
                ((part,),) = [each.partition_responses for each in answer.responses]
                self.assertEqual((part.error_code, part.base_offset), (0, offset))
                offset += count
            order = [int(record.value or b"") for record in raw.records("topic")]
            self.assertEqual(order, sorted(order))


def produce_request(topic: str, codec: int, *values: bytes) -> ProduceRequest:
    """
    A message set of magic 1 with these values, in gzip with C{codec} 1.
    """
    data = b"".join(build_message(1, WireRecord(0, TIME, None, value)) for value in values)
    if codec:
        packed = kafka.codec.gzip_encode(data)
        data = build_message(1, WireRecord(0, TIME, None, packed), codec)
    topics = ProduceRequest.Topic
    part = topics.Partition(index=0, records=memoryview(data))
    return ProduceRequest(
        acks=-1, timeout_ms=30_000, topic_data=[topics(name=topic, partition_data=[part])]
    )


def _test(old: Library) -> Callable[..., None]:
    @telling_logs
    def test(self: OldClientTests) -> None:
        self.exchange(old)

    test.__doc__ = f"{old.name} writes in each codec, and all read."
    return test


def _one_for_each() -> None:
    for old in OLD:
        name = "".join(letter if letter.isalnum() else "_" for letter in old.name)
        setattr(OldClientTests, f"test_{name}", _test(old))


_one_for_each()
