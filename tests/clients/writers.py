"""
Producers that write while a broker is killed, and note what was acknowledged.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import confluent_kafka

from tests.clients.raw import RawClient, batch_of

TOPIC = "crash"
SECONDS = 60.0
NOT_LEADER_OR_FOLLOWER = 6


class Writer(threading.Thread):
    """
    A producer that writes numbers to a partition, one after the other, until
    C{stopping} is set.

    @ivar acknowledged: Number to the offset that it was acknowledged with.
    @ivar errors: Failures; the test expects none.
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
                # Twenty starts on a slow store may take more than the usual five minutes.
                "message.timeout.ms": 0,
                "error_cb": lambda _: None,
                "logger": None,
                "log_level": 0,
            }
        )

    def run(self) -> None:
        """
        Write until C{stopping} is set, then wait for the acknowledgements that are due.
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
        Write until C{stopping} is set.
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
