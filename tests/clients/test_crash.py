"""
C{kill -9} during produce, again and again on one data directory.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import confluent_kafka

from tests.clients.broker import BrokerTestCase
from tests.clients.raw import EARLIEST, LATEST, RawClient, batch_of

TOPIC = "crash"
SECONDS = 60.0
NOT_LEADER_OR_FOLLOWER = 6


class Writer(threading.Thread):
    """
    A producer that writes numbers to a partition, one after the other, until
    it is told to stop.

    @ivar acknowledged: Number to the offset that it was acknowledged with.
    @ivar errors: What must not have happened.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.acknowledged: dict[int, int] = {}
        self.errors: list[object] = []
        self.stopping = threading.Event()


class Librdkafka(Writer):
    """
    Idempotent, by confluent-kafka, to partition 0; it lives through all
    crashes.
    """

    def __init__(self, address: str) -> None:
        super().__init__("confluent-kafka")
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "linger.ms": 1,
                "batch.num.messages": 50,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "retry.backoff.ms": 20,
                "error_cb": lambda _: None,
                "logger": None,
                "log_level": 0,
            }
        )

    def run(self) -> None:
        """
        Write until told to stop, then wait for what is not acknowledged yet.
        """
        number = 0
        while not self.stopping.is_set():
            if number - len(self.acknowledged) < 2_000:
                self._producer.produce(
                    TOPIC, b"%d" % number, partition=0, on_delivery=self._delivered
                )
                number += 1
                self._producer.poll(0)
            else:
                self._producer.poll(0.01)
        left = self._producer.flush(SECONDS)
        if left:
            self.errors.append(f"{left} records were never answered")

    def _delivered(self, error: object, message: Any) -> None:
        if error is not None:
            self.errors.append(error)
        else:
            self.acknowledged[int(message.value())] = message.offset()


class Repeater(Writer):
    """
    Idempotent, in batches, to partition 1; it sends a batch again when the
    connection breaks before its answer, and now and then when it need not.
    Of a batch only the first number is noted.
    """

    def __init__(self, port: int, seed: int) -> None:
        super().__init__("repeater")
        self.count = 0
        self.repeated = 0
        self._port = port
        self._chance = random.Random(seed)
        self._client: RawClient | None = None

    def run(self) -> None:
        """
        Write until told to stop.
        """
        try:
            producer_id = self._persist(lambda client: client.producer_id())
            sent: list[tuple[int, bytes]] = []
            while not self.stopping.is_set():
                size = self._chance.randint(1, 20)
                values = [b"%d" % (self.count + i) for i in range(size)]
                batch = batch_of(values, producer_id=producer_id, epoch=0, sequence=self.count)
                self.acknowledged[self.count] = self._send(batch)
                sent = [*sent[-3:], (self.count, batch)]
                self.count += size
                if self._chance.random() < 0.3:
                    first, again = self._chance.choice(sent)
                    self.repeated += 1
                    if self._send(again) != self.acknowledged[first]:
                        self.errors.append(f"batch {first} was acknowledged at two offsets")
        except Exception as error:
            self.errors.append(error)

    def _send(self, batch: bytes) -> int:
        def produce(client: RawClient) -> int:
            part = client.produce(TOPIC, 1, batch)
            if part.error_code == NOT_LEADER_OR_FOLLOWER:
                raise ConnectionError("not yet, or not any more")
            assert part.error_code == 0, f"Produce: {part.error_code} {part.error_message}"
            return part.base_offset

        return self._persist(produce)

    def _persist(self, what: Any) -> int:
        """
        Do it on this connection, or on the next, or on the one after that.
        """
        until = time.monotonic() + SECONDS
        while True:
            try:
                if self._client is None:
                    self._client = RawClient(self._port)
                return what(self._client)
            except OSError:
                if self._client is not None:
                    self._client.close()
                    self._client = None
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)


class CrashTests(BrokerTestCase):
    """
    Nothing acknowledged is lost, doubled or moved.
    """

    crashes = 20

    def test_killed_again_and_again(self) -> None:
        """
        After many crashes at random moments every acknowledged record is
        there, once, in order, and at the offset of its acknowledgement, and
        no batch that was sent again is there twice; log start and high
        watermark never went back.
        """
        # Small segments, so that some crashes hit a roll.
        broker = self.broker(segment_bytes="64KiB", unrolled_bytes="1MiB")
        with RawClient(broker.port) as raw:
            raw.create(TOPIC, 2)
        chance = random.Random(20)
        librdkafka, repeater = Librdkafka(broker.address), Repeater(broker.port, 7)
        writers: list[Writer] = [librdkafka, repeater]
        for each in writers:
            each.start()
            self.addCleanup(each.stopping.set)
        marks = [(0, 0), (0, 0)]
        for _ in range(self.crashes):
            seen = time.monotonic() + chance.uniform(0.05, 0.7)
            with RawClient(broker.port) as raw:
                while time.monotonic() < seen:
                    marks = self.later_marks(raw, marks)
            broker.kill()
            broker.start()
            with RawClient(broker.port) as raw:
                marks = self.later_marks(raw, marks)
        before = [len(each.acknowledged) for each in writers]
        until = time.monotonic() + SECONDS
        while any(len(e.acknowledged) <= n for e, n in zip(writers, before, strict=True)):
            self.assertLess(time.monotonic(), until, "no acknowledgement after the last crash")
            time.sleep(0.01)
        for each in writers:
            each.stopping.set()
        for each in writers:
            each.join(SECONDS)
            self.assertEqual(each.errors, [], each.name)
            self.assertFalse(each.is_alive(), each.name)

        self.assertGreater(repeater.repeated, 0)
        with RawClient(broker.port) as raw:
            self.later_marks(raw, marks)
            first, second = (
                [int(each.value or b"") for each in raw.records(TOPIC, index)] for index in (0, 1)
            )
        self.assert_counting(first, len(librdkafka.acknowledged))
        # The place of a record in the list is its offset.
        self.assertEqual(
            {number: number for number in librdkafka.acknowledged}, librdkafka.acknowledged
        )
        self.assert_counting(second, repeater.count)
        self.assertEqual(
            {number: number for number in repeater.acknowledged}, repeater.acknowledged
        )

    def test_log_start_survives(self) -> None:
        """
        Records that were deleted stay deleted after a crash, and offsets are
        not used again even if nothing is left.
        """
        broker = self.broker()
        with RawClient(broker.port) as raw:
            raw.create(TOPIC)
            raw.produce(TOPIC, 0, batch_of([b"gone"] * 10))
            self.assertEqual(raw.delete_records(TOPIC, 0, 10), 10)
        broker.kill()
        broker.start()
        with RawClient(broker.port) as raw:
            self.assertEqual(raw.offset(TOPIC, 0, EARLIEST), 10)
            self.assertEqual(raw.offset(TOPIC, 0, LATEST), 10)
            self.assertEqual(raw.produce(TOPIC, 0, batch_of([b"new"])).base_offset, 10)

    def test_leader_epoch_never_falls(self) -> None:
        """
        Clients discard metadata with an older leader epoch than they know.
        """
        broker = self.broker()
        epochs = []
        with RawClient(broker.port) as raw:
            raw.create(TOPIC)
        for _ in range(3):
            with RawClient(broker.port) as raw:
                ((part,),) = [each.partitions for each in raw.metadata(TOPIC).topics]
                epochs.append(part.leader_epoch)
            broker.kill()
            broker.start()
        self.assertEqual(epochs, sorted(epochs))
        self.assertGreaterEqual(epochs[0], 0)

    def later_marks(self, raw: RawClient, before: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """
        Log start and high watermark of both partitions, none of them lower
        than before.
        """
        marks = [(raw.offset(TOPIC, i, EARLIEST), raw.offset(TOPIC, i, LATEST)) for i in (0, 1)]
        for index, (was, now) in enumerate(zip(before, marks, strict=True)):
            self.assertGreaterEqual(now[0], was[0], f"log start of partition {index}")
            self.assertGreaterEqual(now[1], was[1], f"high watermark of partition {index}")
        return marks

    def assert_counting(self, numbers: list[int], count: int) -> None:
        """
        0, 1, 2 and so on: told shortly when it is not so.
        """
        for place, number in enumerate(numbers):
            self.assertEqual(number, place, f"around {numbers[max(place - 5, 0) : place + 5]}")
        self.assertEqual(len(numbers), count)
