"""
The jobs of L{tests.bench.load} that confluent-kafka can do, too.

    python -m tests.bench.confluent '{"do": "produce", "port": 9092, ...}'
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import confluent_kafka

from tests.bench.load import IN_FLIGHT, SECONDS, TOPIC, Result


def main() -> None:
    """
    Do the job that the command line has as JSON.
    """
    job = json.loads(sys.argv[1])
    result = JOBS[job.pop("do")](**job)
    print(json.dumps(result))


def produce(port: int, partitions: int, record_bytes: int, total: int) -> Result:
    """
    As L{tests.bench.load.produce}, by confluent-kafka.
    """
    options = {
        "bootstrap.servers": f"127.0.0.1:{port}",
        "acks": "all",
        "max.in.flight": IN_FLIGHT,
        "linger.ms": 5,
        "queue.buffering.max.kbytes": 256 << 10,
        "queue.buffering.max.messages": 1_000_000,
    }
    producer = confluent_kafka.Producer(options)
    starts, ends = [-1] * partitions, [0] * partitions
    failures: list[object] = []

    def delivered(error: object, message: Any) -> None:
        if error is not None:
            failures.append(error)
            return
        index, offset = message.partition(), message.offset()
        if starts[index] < 0:
            starts[index] = offset
        ends[index] = offset + 1

    values = os.urandom(record_bytes + 4096)
    count = total // record_bytes
    producer.list_topics(TOPIC, timeout=30)
    began = time.perf_counter()
    for number in range(count):
        at = number & 4095
        while True:
            try:
                producer.produce(
                    TOPIC,
                    values[at : at + record_bytes],
                    partition=(number >> 8) % partitions,
                    on_delivery=delivered,
                )
                break
            except BufferError:
                producer.poll(0.01)
        if not number & 255:
            producer.poll(0)
    producer.flush(SECONDS)
    seconds = time.perf_counter() - began
    if failures:
        raise RuntimeError(f"{len(failures)} records failed: {failures[0]}")
    return {
        "bytes": count * record_bytes,
        "seconds": seconds,
        "starts": starts,
        "ends": ends,
    }


def fetch(port: int, starts: list[int], ends: list[int], passes: int = 1) -> Result:
    """
    As L{tests.bench.load.fetch}, by confluent-kafka.
    """
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "group.id": "none",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
    )
    places = [confluent_kafka.TopicPartition(TOPIC, i, at) for i, at in enumerate(starts)]
    began = time.perf_counter()
    total = 0
    for _ in range(passes):
        consumer.assign(places)
        left = sum(ends) - sum(starts)
        while left > 0:
            for message in consumer.consume(min(left, 1_000), 1.0):
                if message.error() is not None:
                    raise RuntimeError(str(message.error()))
                if message.offset() < ends[message.partition()]:
                    total += len(message)
                    left -= 1
    seconds = time.perf_counter() - began
    consumer.close()
    return {"bytes": total, "seconds": seconds}


JOBS: dict[str, Callable[..., Result]] = {"produce": produce, "fetch": fetch}

if __name__ == "__main__":
    main()
