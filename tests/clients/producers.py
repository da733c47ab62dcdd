"""
Idempotent producers of real clients: librdkafka, and kafka-clients in versions of
Apache Kafka. Each sends small batches, so that several are under way from the first on.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
import threading
import time
from typing import Any, Protocol

import confluent_kafka

from tests.harness.peers import java

SECONDS = 150.0
"""For records to be reported; clients give up after two minutes by default."""


class Producers(Protocol):
    """
    Producers of one library, which write to partition 0 of a topic.

    @ivar delivered: The values of the records that were reported as delivered.
    @ivar failed: The values of the others, with their errors.
    """

    delivered: list[str]
    failed: list[str]

    def write(self, name: str, numbers: range, pause: float = 0.0) -> None:
        """
        Let a producer write records, and return before they are acknowledged.

        @param name: Of the producer. It is made when it is named first.
        @param numbers: The values are the name, a space and each of these.
        @param pause: Seconds between two records.
        """

    def finish(self) -> None:
        """
        Return when all records are reported.
        """

    def close(self) -> None:
        """
        Wait for nothing any more.
        """


class Librdkafka:
    """
    Those of librdkafka. See L{Producers}.
    """

    def __init__(self, addresses: str, topic: str) -> None:
        """
        @param addresses: The addresses of brokers.
        """
        self.delivered: list[str] = []
        self.failed: list[str] = []
        self._topic = topic
        self._producers: dict[str, confluent_kafka.Producer] = {}
        self._threads: list[threading.Thread] = []
        self._settings = {
            "bootstrap.servers": addresses,
            "enable.idempotence": True,
            "batch.num.messages": 2,
            "linger.ms": 0,
            "allow.auto.create.topics": False,
            "log_level": 0,
        }

    def write(self, name: str, numbers: range, pause: float = 0.0) -> None:
        """
        See L{Producers.write}.
        """
        if name not in self._producers:
            self._producers[name] = confluent_kafka.Producer(self._settings)
        thread = threading.Thread(target=self._write, args=(name, numbers, pause), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _write(self, name: str, numbers: range, pause: float) -> None:
        producer = self._producers[name]
        producer.list_topics(self._topic)
        for number in numbers:
            value = f"{name} {number}"
            report = functools.partial(self._reported, value)
            producer.produce(self._topic, value, partition=0, on_delivery=report)
            time.sleep(pause)

    def _reported(self, value: str, error: Any, _: Any) -> None:
        if error is None:
            self.delivered.append(value)
        else:
            self.failed.append(f"{value}: {error}")

    def finish(self) -> None:
        """
        See L{Producers.finish}.
        """
        while self._threads:
            self._threads.pop().join()
        until = time.monotonic() + SECONDS
        for name, producer in self._producers.items():
            left = producer.flush(max(until - time.monotonic(), 0.0))
            assert left == 0, f"producer {name}: {left} records were not reported"

    def close(self) -> None:
        """
        See L{Producers.close}.
        """
        for producer in self._producers.values():
            producer.purge()


class Java:
    """
    Those of kafka-clients, all in one virtual machine. See L{Producers}.
    """

    def __init__(self, version: str, addresses: str, topic: str) -> None:
        """
        @param version: Of Apache Kafka; see L{java}.
        @param addresses: The addresses of brokers.
        """
        self.delivered: list[str] = []
        self.failed: list[str] = []
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `close` closes it
        self._machine = subprocess.Popen(
            java(version, "Producers", addresses, topic),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def _say(self, line: str) -> None:
        assert self._machine.stdin is not None
        self._machine.stdin.write(f"{line}\n")
        self._machine.stdin.flush()

    def write(self, name: str, numbers: range, pause: float = 0.0) -> None:
        """
        See L{Producers.write}.
        """
        self._say(f"{name} {numbers[0]} {numbers[-1]} {pause * 1000:.0f}")

    def finish(self) -> None:
        """
        See L{Producers.finish}.
        """
        self._say("")
        assert self._machine.stdout is not None
        late = threading.Timer(SECONDS, self._machine.kill)
        late.start()
        for line in self._machine.stdout:
            value, _, error = line.rstrip("\n").partition("\t")
            if not value:
                break
            if error:
                self.failed.append(f"{value}: {error}")
            else:
                self.delivered.append(value)
        else:
            self._errors.seek(0)
            raise AssertionError(f"the program has ended: {self._errors.read()[-3000:]}")
        late.cancel()

    def close(self) -> None:
        """
        See L{Producers.close}.
        """
        self._machine.kill()
        self._machine.communicate()
        self._errors.close()
