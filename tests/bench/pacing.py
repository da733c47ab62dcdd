"""
The client's side of the benchmarks on S3: one producer, which floods a broker
or keeps to a pace.

    python -m tests.bench.pacing '{"do": "flood", "port": 9092, ...}'

`confluent-kafka` is at its default settings here (acks=all, as many requests
ahead as it likes, batches of up to 1,000,000 bytes, 5 ms of linger). Prints one
line of JSON.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import confluent_kafka

from tests.bench.load import SECONDS, TOPIC, connect, one_batch, produce_head, produced, receive

AHEAD = 100
"""Requests under way on one connection: as many as the broker allows."""

Result = dict[str, Any]


def flood(port: int, partitions: int, record_bytes: int, total: int) -> Result:
    """
    Bring so many bytes as fast as it goes.
    """
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": f"127.0.0.1:{port}", "delivery.report.only.error": True}
    )
    failures: list[object] = []
    values = os.urandom(record_bytes + 4096)
    producer.list_topics(TOPIC, timeout=30)
    count = total // record_bytes
    began = time.perf_counter()
    for number in range(count):
        at = number & 4095
        while True:
            try:
                producer.produce(
                    TOPIC,
                    values[at : at + record_bytes],
                    partition=(number >> 8) % partitions,
                    on_delivery=lambda error, _: failures.append(error),
                )
                break
            except BufferError:
                producer.poll(0.01)
    left = producer.flush(SECONDS)
    seconds = time.perf_counter() - began
    if failures or left:
        raise RuntimeError(f"{len(failures)} records failed, {left} are left")
    return {"bytes": count * record_bytes, "seconds": seconds}


def paced(port: int, partitions: int, record_bytes: int, rate: float, seconds: float) -> Result:
    """
    So many records a second, from the second second on with how long each
    took to be acknowledged.
    """
    producer = confluent_kafka.Producer({"bootstrap.servers": f"127.0.0.1:{port}"})
    took: list[float] = []
    value = os.urandom(record_bytes)
    producer.list_topics(TOPIC, timeout=30)
    began = time.perf_counter()

    def delivered(error: object, message: Any) -> None:
        if error is not None:
            raise RuntimeError(str(error))
        if time.perf_counter() > began + 1:
            took.append(message.latency())

    number = 0
    while (now := time.perf_counter()) < began + seconds:
        while number < (now - began) * rate:
            producer.produce(TOPIC, value, partition=number % partitions, on_delivery=delivered)
            number += 1
        producer.poll(0.0005)
    producer.flush(SECONDS)
    took.sort()
    return {
        "records": number,
        "p50": statistics.median(took) * 1000,
        "p99": took[int(len(took) * 0.99)] * 1000,
    }


def steady(port: int, partitions: int, batch_bytes: int, rate: float, seconds: float) -> Result:
    """
    So many bytes a second, in batches of that size, to the partitions in turn,
    one to a request.
    """
    batch, _ = one_batch(1000, max(1, batch_bytes // 1012))
    heads = [produce_head(index, len(batch)) for index in range(partitions)]
    buffer = memoryview(bytearray(65536))
    sent = done = 0
    with connect(port) as link:
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            due = int((now - began) * rate / len(batch))
            while sent < due and sent - done < AHEAD:
                link.sendall(heads[sent % partitions] + batch)
                sent += 1
            while done < sent and select.select([link], [], [], 0.001)[0]:
                produced(receive(link, buffer))
                done += 1
            if done == sent:
                time.sleep(0.001)
        while done < sent:
            produced(receive(link, buffer))
            done += 1
        took = time.perf_counter() - began
    return {"bytes": sent * len(batch), "seconds": took}


JOBS: dict[str, Callable[..., Result]] = {"flood": flood, "paced": paced, "steady": steady}

if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    print(json.dumps(JOBS[job.pop("do")](**job)))
