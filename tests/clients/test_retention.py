"""
Old records go, at a moment's notice, and nothing else; readers find their way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from uuid import UUID

import aiokafka
import confluent_kafka
import kafka

from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.raw import EARLIEST, LATEST, batch_of

SECONDS = 30.0
OUT_OF_RANGE = 1

HOUR = 3_600_000
BATCH = 10
SIZE = 1000


class RetentionCase(BrokerTestCase):
    """
    A broker that writes segments of ten records of 1 kB.

    @cvar settings: Its settings.
    """

    settings: Mapping[str, str] = {"segment_bytes": "9000"}

    def setUp(self) -> None:
        """
        It keeps everything, as long as nothing else is said.
        """
        super().setUp()
        self.subject = self.broker(**self.settings)
        self.raw = self.connect(self.subject)
        self.ids: dict[str, UUID] = {}

    def create(self, name: str, **configs: str) -> None:
        """
        A topic in which every batch becomes a segment.
        """
        self.ids[name] = self.raw.create(name, 1, **configs)

    def write(self, name: str, batches: int, age: int = 0, size: int = SIZE) -> None:
        """
        Batches of ten records of this size that are so old, in ms; each record says
        where it stands.
        """
        start = self.raw.offset(name)
        timestamp = int(time.time() * 1000) - age
        for first in range(start, start + batches * BATCH, BATCH):
            values = [b"%06d" % offset + bytes(size) for offset in range(first, first + BATCH)]
            answer = self.raw.produce(name, 0, batch_of(values, timestamp=timestamp))
            self.assertEqual((answer.error_code, answer.base_offset), (0, first))

    def segments(self, name: str) -> dict[str, int]:
        """
        The sizes of the topic's segments, by their keys.
        """
        return self.subject.objects.sizes(f"default/topics/{self.ids[name]}/0/")

    def rolled(self, name: str, segments: int) -> None:
        """
        Wait until there are so many.
        """
        eventually(lambda: len(self.segments(name)) == segments)

    def begins(self, name: str) -> int:
        """
        The log start.
        """
        return self.raw.offset(name, 0, EARLIEST)

    def offsets(self, name: str) -> list[int]:
        """
        What the records that can be read say of where they stand.
        """
        return [int((record.value or b"")[:6]) for record in self.raw.records(name)]


class DeletingTests(RetentionCase):
    """
    Deletion by age and by size.
    """

    def test_too_old(self) -> None:
        """
        An altered C{retention.ms} deletes, at once, the segments that have only
        older records. Younger records and other topics stay. All this holds
        after a crash, too.
        """
        for name in ("mine", "other"):
            self.create(name)
            self.write(name, 3, age=2 * HOUR)
            self.write(name, 2)
            self.rolled(name, 5)
        self.raw.alter("mine", retention_ms=str(HOUR))
        eventually(lambda: self.begins("mine") > 0, SECONDS)
        for _ in range(2):
            self.assertEqual(self.begins("mine"), 30)
            self.assertEqual(self.offsets("mine"), list(range(30, 50)))
            self.assertEqual(self.begins("other"), 0)
            self.assertEqual(self.offsets("other"), list(range(50)))
            self.rolled("mine", 2)
            self.rolled("other", 5)
            self.subject.kill()
            self.subject.start()
            self.raw = self.connect(self.subject)
        self.write("mine", 1)
        self.assertEqual(self.offsets("mine"), list(range(30, 60)))

    def test_too_much(self) -> None:
        """
        An altered C{retention.bytes} deletes the oldest segments, as long as
        what stays is not less.
        """
        self.create("mine")
        self.write("mine", 6)
        self.rolled("mine", 6)
        each = next(iter(self.segments("mine").values()))
        self.raw.alter("mine", retention_bytes=str(3 * each - 100))
        eventually(lambda: self.begins("mine") > 0, SECONDS)
        self.assertEqual(self.offsets("mine"), list(range(30, 60)))
        self.rolled("mine", 3)
        # From now on with every new segment.
        self.write("mine", 1)
        eventually(lambda: self.begins("mine") == 40, SECONDS)
        self.assertEqual(self.offsets("mine"), list(range(40, 70)))

    def test_everything(self) -> None:
        """
        A log of expired records becomes empty, including records that were in
        no segment. The next record has the next offset, and readers that wait
        at the end get it.
        """
        self.create("mine")
        self.write("mine", 2, age=2 * HOUR)
        self.raw.produce("mine", 0, batch_of([b"000020"], timestamp=1000))
        end = self.raw.offset("mine")
        waiting = self.connect(self.subject)
        request = waiting.fetch_request("mine", 0, end, wait=20_000)
        correlation = waiting.send(request, 12)
        self.raw.alter("mine", retention_ms="1000")
        eventually(lambda: self.begins("mine") == end, SECONDS)
        self.assertEqual(self.offsets("mine"), [])
        answer = self.raw.produce("mine", 0, batch_of([b"000021"]))
        self.assertEqual(answer.base_offset, end)
        ((part,),) = [
            each.partitions for each in waiting.receive(request, 12, correlation).responses
        ]
        self.assertEqual((part.error_code, part.high_watermark), (0, end + 1))
        self.assertTrue(part.records)

    def test_by_itself(self) -> None:
        """
        Records of a topic with a retention of two seconds are deleted after two
        seconds, without any request.
        """
        self.create("mine", retention_ms="2000")
        for end in (10, 20):
            self.write("mine", 1)
            eventually(lambda end=end: self.begins("mine") == end, SECONDS)  # type: ignore[misc]

    def test_compacted(self) -> None:
        """
        A topic with the policy C{compact} keeps its records; with
        C{compact,delete} they expire.
        """
        self.create("mine")
        self.write("mine", 3, age=2 * HOUR)
        self.create("witness")
        self.write("witness", 3, age=2 * HOUR)
        self.raw.alter("mine", cleanup_policy="compact")
        for name in ("mine", "witness"):
            self.raw.alter(name, retention_ms=str(HOUR), retention_bytes="0")
        # When retention has been to the one, it would have been to the other.
        eventually(lambda: self.begins("witness") == 30, SECONDS)
        self.assertEqual(self.offsets("mine"), list(range(30)))
        self.raw.alter("mine", cleanup_policy="compact,delete")
        eventually(lambda: self.begins("mine") == 30, SECONDS)


class RollingTests(RetentionCase):
    """
    C{segment.bytes} and C{segment.ms}, altered while the topic is used.
    """

    settings: Mapping[str, str] = {}

    def test_smaller(self) -> None:
        """
        What is too large for a segment already becomes one at once.
        """
        self.create("mine", max_message_bytes="2000000")
        self.write("mine", 3, size=110_000)
        self.assertEqual(self.segments("mine"), {})
        self.raw.alter("mine", segment_bytes=str(1 << 20))
        self.rolled("mine", 3)
        self.assertEqual(self.offsets("mine"), list(range(30)))

    def test_younger(self) -> None:
        """
        What is too old for being in no segment becomes one.
        """
        self.create("mine")
        self.write("mine", 3)
        self.raw.alter("mine", segment_ms="200")
        self.rolled("mine", 1)
        self.write("mine", 1)
        self.rolled("mine", 2)
        self.assertEqual(self.offsets("mine"), list(range(40)))


class ReaderTests(RetentionCase):
    """
    Readers whose next record is gone.
    """

    def setUp(self) -> None:
        """
        A topic that begins at offset 30, and ends at 50.
        """
        super().setUp()
        self.create("mine")
        self.write("mine", 3, age=2 * HOUR)
        self.write("mine", 2)
        self.rolled("mine", 5)

    def cut(self) -> None:
        """
        Let the first 30 records go.
        """
        self.raw.alter("mine", retention_ms=str(HOUR))
        eventually(lambda: self.begins("mine") == 30, SECONDS)

    def test_told(self) -> None:
        """
        A fetch below the log start gets OFFSET_OUT_OF_RANGE, and records from
        there on; a lookup by time finds the first record that is left.
        """
        for offset in (0, 29, 30):
            self.assertEqual(self.raw.fetch("mine", 0, offset).error_code, 0)
        self.cut()
        for offset in (0, 29):
            part = self.raw.fetch("mine", 0, offset)
            self.assertEqual((part.error_code, bytes(part.records or b"")), (OUT_OF_RANGE, b""))
        part = self.raw.fetch("mine", 0, 30)
        self.assertEqual((part.error_code, part.log_start_offset), (0, 30))
        self.assertEqual(self.raw.offset("mine", 0, 0), 30)
        self.assertEqual(self.raw.offset("mine", 0, LATEST), 50)

    def test_confluent(self) -> None:
        """
        confluent-kafka goes on as C{auto.offset.reset} says.
        """
        self.cut()
        for reset, expected in (("earliest", 30), ("latest", 50)):
            consumer = confluent_kafka.Consumer(
                {
                    "bootstrap.servers": self.subject.address,
                    "group.id": reset,
                    "auto.offset.reset": reset,
                    "enable.auto.commit": False,
                }
            )
            self.addCleanup(consumer.close)
            consumer.assign([confluent_kafka.TopicPartition("mine", 0, 5)])
            message = consumer.poll(1.0 if reset == "latest" else SECONDS)
            while message is None:
                # Once it has found the end, it waits for a new record.
                self.write("mine", 1)
                message = consumer.poll(1.0)
            self.assertIsNone(message.error())
            self.assertGreaterEqual(message.offset(), expected)
            self.assertEqual(message.offset() % BATCH, 0)

    def test_in_the_middle(self) -> None:
        """
        A consumer that reads while the records ahead of it go loses those, and
        gets all that stay, each once.
        """
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.subject.address,
                "group.id": "slow",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                # One batch at a time, and none in advance.
                "max.partition.fetch.bytes": 1000,
                "fetch.message.max.bytes": 1000,
                "queued.min.messages": 1,
            }
        )
        self.addCleanup(consumer.close)
        consumer.assign([confluent_kafka.TopicPartition("mine", 0, 0)])
        got: list[int] = []

        def read() -> None:
            message = consumer.poll(SECONDS)
            assert message is not None and message.error() is None
            got.append(message.offset())

        for _ in range(3):
            read()
        self.cut()
        while got[-1] < 49:
            read()
        kept = [offset for offset in got if offset >= 30]
        self.assertEqual(kept, list(range(30, 50)))
        self.assertEqual(got, sorted(set(got)))

    def test_kafka_python(self) -> None:
        """
        kafka-python does, too.
        """
        self.cut()
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.subject.address, group_id=None, auto_offset_reset="earliest"
        )
        self.addCleanup(consumer.close)
        place = kafka.TopicPartition("mine", 0)
        consumer.assign([place])
        consumer.seek(place, 5)
        offsets = [next(consumer).offset for _ in range(20)]
        self.assertEqual(offsets, list(range(30, 50)))

    def test_aiokafka(self) -> None:
        """
        aiokafka resets its position; with C{none} it raises an error instead.
        """
        self.cut()

        async def read(reset: str) -> list[int]:
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=self.subject.address,
                group_id=None,
                auto_offset_reset=reset,
            )
            await consumer.start()
            try:
                place = aiokafka.TopicPartition("mine", 0)
                consumer.assign([place])
                consumer.seek(place, 5)
                return [(await consumer.getone()).offset for _ in range(20)]
            finally:
                await consumer.stop()

        offsets = asyncio.run(asyncio.wait_for(read("earliest"), SECONDS))
        self.assertEqual(offsets, list(range(30, 50)))
        with self.assertRaises(aiokafka.errors.OffsetOutOfRangeError):
            asyncio.run(asyncio.wait_for(read("none"), SECONDS))
