"""
Records at a steady pace, whatever happens to the brokers meanwhile; and what
became of them.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from itertools import pairwise
from math import inf
from typing import Any

import confluent_kafka

SECONDS = 120.0


class Steady(threading.Thread):
    """
    An idempotent producer, by confluent-kafka, that writes the numbers 0, 1,
    2 ... to each partition.

    @ivar written: By partition, how many numbers it has written.
    @ivar acknowledged: By partition, number to the offset that it was
        acknowledged with; None if librdkafka reports none.
    @ivar errors: Errors that must not have happened: those that the client
        does not retry.
    @ivar faults: See L{__init__}.
    """

    def __init__(
        self,
        addresses: str,
        topic: str,
        partitions: int,
        rate: float = 300.0,
        size: int = 0,
        faults: bool = False,
    ) -> None:
        """
        @param rate: How many records in a second, in all.
        @param size: To how many bytes values are filled up.
        @param faults: Brokers are killed, silent or cut off meanwhile, so that answers
            are lost. The client gives a request up after 6 s, and brokers answer
            REQUEST_TIMED_OUT after 5 s; otherwise both take a minute. The client sends
            again what has no answer. If the first request is refused then, and a later
            one succeeds, it takes the records of the first for acknowledged, and
            reports no offset (findings/librdkafka-refused-as-delivered.sh).
        """
        super().__init__(daemon=True)
        self.faults = faults
        self.acknowledged: list[dict[int, int | None]] = [{} for _ in range(partitions)]
        self.written = [0] * partitions
        self.errors: list[object] = []
        self._times: list[list[float]] = [[] for _ in range(partitions)]
        self._stopping = threading.Event()
        self._topic = topic
        self._rate = rate
        self._size = size
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": addresses,
                "enable.idempotence": True,
                "linger.ms": 5,
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 500,
                "message.timeout.ms": 120_000,
                "socket.timeout.ms": 6_000 if faults else 60_000,
                "request.timeout.ms": 5_000 if faults else 60_000,
                "error_cb": lambda _: None,
                "logger": None,
                "log_level": 0,
            }
        )

    def run(self) -> None:
        """
        Write until L{finish} is called, then wait for missing acknowledgements.
        """
        begun = time.monotonic()
        count = 0
        while not self._stopping.is_set():
            if count > (time.monotonic() - begun) * self._rate:
                self._producer.poll(0.005)
                continue
            partition = count % len(self.written)
            value = b"%d" % self.written[partition]
            try:
                self._producer.produce(
                    self._topic,
                    value.ljust(self._size),
                    partition=partition,
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.05)
                continue
            self.written[partition] += 1
            count += 1
            self._producer.poll(0)
        left = self._producer.flush(SECONDS)
        if left:
            self.errors.append(f"{left} records were never answered")

    def _delivered(self, error: object, message: Any) -> None:
        if error is not None:
            self.errors.append(error)
            return
        partition = message.partition()
        self.acknowledged[partition][int(message.value())] = message.offset()
        self._times[partition].append(time.monotonic())

    def total(self) -> int:
        """
        Return how many records are acknowledged.
        """
        return sum(map(len, self.acknowledged))

    def counts(self) -> list[int]:
        """
        Return how many records of each partition are acknowledged.
        """
        return [len(each) for each in self.acknowledged]

    def is_past(self, counts: list[int], by: int = 10) -> bool:
        """
        Whether each partition has so many more than these.
        """
        return all(now > was + by for now, was in zip(self.counts(), counts, strict=True))

    def stalls(self, since: float = 0.0, until: float = inf) -> list[float]:
        """
        Return the longest time without an acknowledgement of each partition, in
        seconds, that began between these moments.
        """
        return [
            max((b - a for a, b in pairwise(times) if since <= a < until), default=0.0)
            for times in self._times
        ]

    def first_after(self, partition: int, moment: float) -> float | None:
        """
        Return the time of the first acknowledgement after a moment, if there is
        one.
        """
        times = self._times[partition]
        at = bisect_right(times, moment)
        return times[at] if at < len(times) else None

    def abandon(self) -> None:
        """
        Stop, and wait for nothing.
        """
        self._stopping.set()
        self._producer.purge()

    def finish(self) -> None:
        """
        Stop, and wait for records in flight.
        """
        self._stopping.set()
        self.join(SECONDS * 1.5)
        assert not self.is_alive(), "producing takes for ever"
        assert not self.errors, self.errors[:3]
        assert self.counts() == self.written, (self.counts(), self.written)


def check(addresses: str, topic: str, producer: Steady) -> int:
    """
    Come back if all that was acknowledged is there, once, in order, at its
    offset; how many they are. (What was written and never acknowledged is not
    known; a producer that has finished has none.) An acknowledgement without an
    offset is right only if answers were lost (L{Steady.faults}).
    """
    found = read_all(addresses, topic, len(producer.written))
    for partition, records in enumerate(found):
        numbers = [number for _, number in records]
        expected = list(range(producer.written[partition]))
        assert numbers == expected, f"{partition}: {_difference(numbers, expected)}"
        acknowledged = producer.acknowledged[partition]
        told = [(number, offset, acknowledged.get(number, -1)) for offset, number in records]
        moved = [
            each
            for each in told
            if each[2] != each[1] and not (producer.faults and each[2] is None)
        ]
        assert not moved, f"{partition}: number, offset, acknowledged as: {moved[:5]}"
    return sum(map(len, found))


def _difference(found: list[int], expected: list[int]) -> str:
    """
    Return a short description of missing and repeated numbers.
    """
    missing = sorted(set(expected) - set(found))
    twice = sorted({each for each in found if found.count(each) > 1}) if len(found) < 10**5 else []
    return f"{len(found)} of {len(expected)}; missing {missing[:9]}, twice {twice[:9]}"


def read_all(addresses: str, topic: str, partitions: int) -> list[list[tuple[int, int]]]:
    """
    Offsets and numbers of all records, by partition.
    """
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": addresses,
            "group.id": "reader-of-all",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "log_level": 0,
        }
    )
    consumer.assign(
        [confluent_kafka.TopicPartition(topic, p, 0) for p in range(partitions)]
    )
    found: list[list[tuple[int, int]]] = [[] for _ in range(partitions)]
    ended: set[int] = set()
    until = time.monotonic() + SECONDS
    while len(ended) < partitions:
        assert time.monotonic() < until, f"cannot read to the end: only {sorted(ended)}"
        for message in consumer.consume(1000, 0.5):
            error = message.error()
            if error is None:
                found[message.partition()].append((message.offset(), int(message.value())))
            elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            elif not error.retriable() and error.fatal():
                raise AssertionError(f"while reading: {error}")
    consumer.close()
    return found
