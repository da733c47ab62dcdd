"""
Clients that are held to a quota, on Kafscale and on Apache Kafka at the same time.

    python -m tests.bench.quotas

A producer and a consumer of librdkafka, one after the other, are held to 1 MB/s, and
take what they get for 75 s. The producer offers 5 MB/s, so that what comes first takes
the same time on both. Printed are the bytes of the first 15 s, which are more
(what may come in ten seconds comes at once), the mean of the 60 s after them, and the
times for which the broker said that it slows the client down.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import confluent_kafka

from kafscale.wire.messages import AlterClientQuotasRequest
from tests.bench.load import TOPIC
from tests.bench.servers import ApacheKafka, Kafscale, Server
from tests.clients.raw import RawClient

MB = 1_000_000
FIRST_SECONDS = 15
SECONDS = 75
RECORD_BYTES = 10_000
OFFERED = 5 * MB
HELD = "held"


@attrs.define
class Taken:
    """
    What a client got.

    @ivar begun: When it began.
    @ivar bytes: Bytes of values, by the second in which they came.
    @ivar throttles: The times for which it was slowed down, in ms.
    """

    begun: float = attrs.field(factory=time.monotonic)
    bytes: dict[int, int] = attrs.field(factory=dict)
    throttles: list[int] = attrs.field(factory=list)

    @property
    def seconds(self) -> float:
        """
        Since it began.
        """
        return time.monotonic() - self.begun

    def add(self, size: int) -> None:
        """
        So many bytes came.
        """
        second = int(self.seconds)
        self.bytes[second] = self.bytes.get(second, 0) + size

    def throttled(self, event: Any) -> None:
        """
        librdkafka says that the broker slows the client down.
        """
        if event.throttle_time:
            self.throttles.append(round(event.throttle_time * 1000))

    def between(self, first: int, last: int) -> int:
        """
        Bytes that came from one second to another.
        """
        return sum(size for second, size in self.bytes.items() if first <= second < last)


def hold(port: int, rate: int) -> None:
    """
    Hold clients with the id L{HELD} to so many bytes a second.
    """
    entry = AlterClientQuotasRequest.Entry
    request = AlterClientQuotasRequest(
        entries=[
            entry(
                entity=[entry.Entity(entity_type="client-id", entity_name=HELD)],
                ops=[
                    entry.Op(key=key, value=float(rate), remove=False)
                    for key in ("producer_byte_rate", "consumer_byte_rate")
                ],
            )
        ],
        validate_only=False,
    )
    (outcome,) = RawClient(port).call(request, 1).entries
    assert outcome.error_code == 0, outcome.error_message


def produce(port: int, seconds: float) -> Taken:
    """
    Produce as much as the broker takes.
    """
    taken = Taken()
    value = os.urandom(RECORD_BYTES)
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "client.id": HELD,
            "queue.buffering.max.kbytes": 4096,
            "throttle_cb": taken.throttled,
            "message.timeout.ms": 300_000,
        }
    )

    def delivered(error: Any, message: Any) -> None:
        if error is None:
            taken.add(RECORD_BYTES)

    offered = 0.0  # since when the records were due that are sent now
    while taken.seconds < seconds:
        if offered > taken.seconds:
            producer.poll(offered - taken.seconds)
            continue
        try:
            producer.produce(TOPIC, value, partition=0, on_delivery=delivered)
            producer.poll(0)
        except BufferError:
            producer.poll(0.01)
        offered = max(offered, taken.seconds - 0.1) + RECORD_BYTES / OFFERED
    producer.purge()
    return taken


def fill(port: int, size: int) -> None:
    """
    Write so many bytes, without a quota.
    """
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": f"127.0.0.1:{port}", "queue.buffering.max.kbytes": 65536}
    )
    value = os.urandom(RECORD_BYTES)
    for _ in range(size // RECORD_BYTES):
        while True:
            try:
                producer.produce(TOPIC, value, partition=0)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0


def consume(port: int, seconds: float) -> Taken:
    """
    Read from the beginning.
    """
    taken = Taken()
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "group.id": "quotas",
            "client.id": HELD,
            "enable.auto.commit": False,
            "throttle_cb": taken.throttled,
        }
    )
    consumer.assign([confluent_kafka.TopicPartition(TOPIC, 0, 0)])
    taken.begun = time.monotonic()
    while taken.seconds < seconds:
        for message in consumer.consume(100, 0.1):
            if message.error() is None:
                taken.add(len(message.value() or b""))
    consumer.close()
    return taken


def row(what: str, name: str, taken: Taken) -> str:
    """
    A row of the table.
    """
    first = taken.between(0, FIRST_SECONDS) / MB
    rate = taken.between(FIRST_SECONDS, SECONDS) / MB / (SECONDS - FIRST_SECONDS)
    throttles = " ".join(map(str, taken.throttles[:8]))
    return f"| {what} | {name} | {first:.1f} MB | {rate:.3f} MB/s | {throttles} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure, and print a table.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=MB, help="bytes a second")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="quotas-") as folder:
        servers: list[Server] = [Kafscale(Path(folder)), ApacheKafka(Path(folder))]
        for server in servers:
            server.start(1)
        rows = []
        try:
            with ThreadPoolExecutor(len(servers)) as pool:

                def each(measure: Callable[..., Any], *args: Any) -> list[Any]:
                    running = [pool.submit(measure, server.port, *args) for server in servers]
                    return [future.result() for future in running]

                each(hold, options.rate)
                made = each(produce, SECONDS)
                rows += [
                    row("produce", server.name, taken)
                    for server, taken in zip(servers, made, strict=True)
                ]
                each(fill, SECONDS * options.rate)
                read = each(consume, SECONDS)
                rows += [
                    row("fetch", server.name, taken)
                    for server, taken in zip(servers, read, strict=True)
                ]
        finally:
            for server in servers:
                server.stop()
    print("| | | first 15 s | then, for 60 s | first times, ms |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
