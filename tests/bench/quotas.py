"""
Clients that are held to a quota, on Kafscale and on Apache Kafka at the same time.

    python -m tests.bench.quotas

Producers of librdkafka, kafka-python and Java, and then consumers, are held to 1 MB/s each
(all at once: each has a client id and a partition of its own), and take what they get for
135 s. Producers offer 5 MB/s, so that what comes first takes the same time on both brokers.
Printed are the bytes of the first 15 s, which are more (what may come in ten seconds comes
at once), the means of the 60 s after them and of the last 60 s, and the mean and the longest
of the times for which the broker said that it slows the client down: librdkafka's of the
whole time, and what the metrics of the others have at the end, which include times of 0.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import attrs
import confluent_kafka
import kafka

from kafscale.wire.messages import AlterClientQuotasRequest
from tests.bench.load import TOPIC
from tests.bench.servers import ApacheKafka, Kafscale, Server
from tests.clients.raw import RawClient
from tests.harness.peers import java

MB = 1_000_000
FIRST_SECONDS = 15
NEXT_SECONDS = 75
SECONDS = 135
RECORD_BYTES = 10_000
OFFERED = 5 * MB
CLIENTS = ("librdkafka", "kafka-python", "Java")
"""They are the client ids too; each has the partition of its index."""


@attrs.define
class Taken:
    """
    What a client got.

    @ivar begun: When it began.
    @ivar bytes: Bytes of values, by the second in which they came.
    @ivar throttles: The times for which it was slowed down, in ms.
    @ivar mean: Their mean.
    @ivar longest: The longest of them.
    """

    begun: float = attrs.field(factory=time.monotonic)
    bytes: dict[int, int] = attrs.field(factory=dict)
    throttles: list[int] = attrs.field(factory=list)
    mean: float = 0.0
    longest: float = 0.0

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

    def summed(self) -> Taken:
        """
        Take mean and longest of the times that were told.
        """
        self.mean = statistics.fmean(self.throttles or [0])
        self.longest = max(self.throttles, default=0)
        return self

    def measured(self, metrics: Mapping[str, float]) -> None:
        """
        Take them from the metrics of kafka-python.
        """
        self.mean = metrics["throttle-time-avg"]
        self.longest = metrics["throttle-time-max"]

    def between(self, first: int, last: int) -> int:
        """
        Bytes that came from one second to another.
        """
        return sum(size for second, size in self.bytes.items() if first <= second < last)


def hold(port: int, rate: int) -> None:
    """
    Hold each of L{CLIENTS} to so many bytes a second.
    """
    entry = AlterClientQuotasRequest.Entry
    request = AlterClientQuotasRequest(
        entries=[
            entry(
                entity=[entry.Entity(entity_type="client-id", entity_name=name)],
                ops=[
                    entry.Op(key=key, value=float(rate), remove=False)
                    for key in ("producer_byte_rate", "consumer_byte_rate")
                ],
            )
            for name in CLIENTS
        ],
        validate_only=False,
    )
    for outcome in RawClient(port).call(request, 1).entries:
        assert outcome.error_code == 0, outcome.error_message


def offer(
    taken: Taken, seconds: float, wait: Callable[[float], Any], send: Callable[[], bool]
) -> None:
    """
    Send records at the rate L{OFFERED}, as far as the client takes them.

    @param wait: Waits for so many seconds.
    @param send: Sends a record, unless the client has too many under way.
    """
    offered = 0.0  # since when the records were due that are sent now
    while taken.seconds < seconds:
        if offered > taken.seconds:
            wait(0.002)
        elif send():
            offered = max(offered, taken.seconds - 0.1) + RECORD_BYTES / OFFERED
        else:
            wait(0.01)


def produce_by_librdkafka(port: int, seconds: float) -> Taken:
    """
    Produce as much as the broker takes.
    """
    taken = Taken()
    value = os.urandom(RECORD_BYTES)
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "client.id": CLIENTS[0],
            "queue.buffering.max.kbytes": 4096,
            "throttle_cb": taken.throttled,
            "message.timeout.ms": 300_000,
        }
    )

    def delivered(error: Any, message: Any) -> None:
        if error is None:
            taken.add(RECORD_BYTES)

    def send() -> bool:
        try:
            producer.produce(TOPIC, value, partition=0, on_delivery=delivered)
        except BufferError:
            return False
        producer.poll(0)
        return True

    offer(taken, seconds, producer.poll, send)
    producer.purge()
    return taken.summed()


def consume_by_librdkafka(port: int, seconds: float) -> Taken:
    """
    Read from the beginning.
    """
    taken = Taken()
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "group.id": CLIENTS[0],
            "client.id": CLIENTS[0],
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
    return taken.summed()


def produce_by_kafka_python(port: int, seconds: float) -> Taken:
    """
    Produce as much as the broker takes.
    """
    logging.getLogger("kafka").setLevel(logging.ERROR)  # it warns of each time
    value = os.urandom(RECORD_BYTES)
    producer = kafka.KafkaProducer(
        bootstrap_servers=f"127.0.0.1:{port}",
        client_id=CLIENTS[1],
        delivery_timeout_ms=300_000,
        linger_ms=20,  # by default it sends each record alone, and gets to less than 1 MB/s
        batch_size=100_000,
    )
    room = threading.Semaphore((4 << 20) // RECORD_BYTES)
    taken = Taken()

    def delivered(_: Any) -> None:
        taken.add(RECORD_BYTES)
        room.release()

    def send() -> bool:
        if not room.acquire(blocking=False):
            return False
        producer.send(TOPIC, value, partition=1).add_callback(delivered)
        return True

    offer(taken, seconds, time.sleep, send)
    taken.measured(producer.metrics()["producer-metrics"])
    producer.close(timeout=60)
    return taken


def consume_by_kafka_python(port: int, seconds: float) -> Taken:
    """
    Read from the beginning.
    """
    logging.getLogger("kafka").setLevel(logging.ERROR)
    partition = kafka.TopicPartition(TOPIC, 1)
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=f"127.0.0.1:{port}", client_id=CLIENTS[1], enable_auto_commit=False
    )
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    taken = Taken()
    while taken.seconds < seconds:
        for records in consumer.poll(timeout_ms=100).values():
            taken.add(sum(len(record.value) for record in records))
    taken.measured(consumer.metrics()["consumer-metrics"])
    consumer.close()
    return taken


def run_java(what: str, port: int, seconds: float) -> Taken:
    """
    What C{Quotas.java} does.

    @param what: C{produce} or C{consume}.
    """
    load = (f"{seconds:g}", str(RECORD_BYTES), str(OFFERED))
    where = (f"127.0.0.1:{port}", CLIENTS[2], TOPIC, "2")
    done = subprocess.run(
        java("4.4", "Quotas", what, *where, *load), stdout=subprocess.PIPE, text=True, check=True
    )
    *lines, last = done.stdout.splitlines()
    taken = Taken()
    taken.bytes = {int(second): int(size) for second, size in map(str.split, lines)}
    taken.mean, taken.longest = map(float, last.split()[1:])
    return taken


def fill(port: int, size: int) -> None:
    """
    Write so many bytes to each partition, without a quota.
    """
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": f"127.0.0.1:{port}", "queue.buffering.max.kbytes": 65536}
    )
    value = os.urandom(RECORD_BYTES)
    for number in range(len(CLIENTS) * (size // RECORD_BYTES)):
        while True:
            try:
                producer.produce(TOPIC, value, partition=number % len(CLIENTS))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0


PRODUCE = (produce_by_librdkafka, produce_by_kafka_python, partial(run_java, "produce"))
CONSUME = (consume_by_librdkafka, consume_by_kafka_python, partial(run_java, "consume"))


def row(what: str, client: str, broker: str, taken: Taken) -> str:
    """
    A row of the table.
    """
    first = taken.between(0, FIRST_SECONDS) / MB
    rates = (
        f"{taken.between(begin, end) / MB / (end - begin):.3f} MB/s"
        for begin, end in ((FIRST_SECONDS, NEXT_SECONDS), (NEXT_SECONDS, SECONDS))
    )
    throttled = f"{taken.mean:.0f}, {taken.longest:.0f}"
    return f"| {what}, {client} | {broker} | {first:.1f} MB | {' | '.join(rates)} | {throttled} |"


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
            server.start(len(CLIENTS))
        rows = []
        try:
            workers = len(servers) * len(CLIENTS)
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:

                def each(what: str, measures: Sequence[Callable[[int, float], Taken]]) -> None:
                    running = [
                        (client, server.name, pool.submit(measure, server.port, SECONDS))
                        for client, measure in zip(CLIENTS, measures, strict=True)
                        for server in servers
                    ]
                    for client, broker, taken in running:
                        rows.append(row(what, client, broker, taken.result()))

                for server in servers:
                    hold(server.port, options.rate)
                each("produce", PRODUCE)
                for server in servers:
                    fill(server.port, 2 * SECONDS * options.rate)
                each("fetch", CONSUME)
        finally:
            for server in servers:
                server.stop()
    print("| | | first 15 s | next 60 s | last 60 s | throttle times, mean and longest, ms |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
