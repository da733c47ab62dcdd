"""
The client libraries and tools, each made to write and to read the same way.

Their settings stay at their defaults, except for the ones that a test needs:
the codec, idempotence, and the partition.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import aiokafka
import confluent_kafka
import kafka

from tests.clients.raw import Record

SECONDS = 120.0
KAFKAJS = Path(__file__).with_name("kafkajs")


def prepare_for_librdkafka() -> None:
    """
    Free clients of confluent-kafka that are garbage in cycles. Python may collect garbage
    in any thread, and librdkafka ends the process if one of its own threads frees a client,
    such as the one that calls C{oauth_cb}. So clients with that must be in no cycles.
    """
    gc.collect()


class Library:
    """
    A way to write and to read one partition.

    @cvar options: Settings of this library, beside those of the call.
    """

    name = ""
    options: ClassVar[dict[str, Any]] = {}

    def write(
        self,
        address: str,
        topic: str,
        records: Sequence[Record],
        codec: str = "none",
        idempotent: bool = False,
    ) -> None:
        """
        Produce all of the records to partition 0, and return when all of them
        are acknowledged.

        @param idempotent: Switch idempotence on; otherwise the library's
            default applies.
        """
        raise AssertionError(f"{self.name} does not write")

    def read(self, address: str, topic: str, count: int) -> list[Record]:
        """
        The first so many records of partition 0, without a group if it can.
        """
        raise AssertionError(f"{self.name} does not read")

    def given(self, records: Sequence[Record]) -> list[Record]:
        """
        Return the records that the library writes when asked to write these.
        """
        return list(records)


class Confluent(Library):
    """
    confluent-kafka: librdkafka, new.
    """

    name = "confluent-kafka"

    def write(
        self,
        address: str,
        topic: str,
        records: Sequence[Record],
        codec: str = "none",
        idempotent: bool = False,
    ) -> None:
        """
        See `Library`.
        """
        options = {"bootstrap.servers": address, "compression.type": codec, **self.options}
        if idempotent:
            options["enable.idempotence"] = True
        producer = confluent_kafka.Producer(options)
        failures: list[object] = []
        done: list[int] = []

        def delivered(error: object, message: Any) -> None:
            if error is not None:
                failures.append(error)
            else:
                done.append(message.offset())

        for record in records:
            producer.produce(
                topic,
                record.value,
                record.key,
                partition=0,
                timestamp=record.timestamp,
                headers=list(record.headers),
                on_delivery=delivered,
            )
            producer.poll(0)
        left = producer.flush(SECONDS)
        assert not failures, f"{len(failures)} records failed, the first with {failures[0]}"
        assert not left, f"{left} records were not answered"
        assert sorted(done) == done, "acknowledged out of order"
        assert len(done) == len(records), f"{len(done)} were acknowledged"

    def read(self, address: str, topic: str, count: int) -> list[Record]:
        """
        See `Library`.
        """
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": address,
                "group.id": "none",
                "enable.auto.commit": False,
                **self.options,
            }
        )
        try:
            consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
            got: list[Record] = []
            until = time.monotonic() + SECONDS
            while len(got) < count and time.monotonic() < until:
                for message in consumer.consume(min(count - len(got), 10_000), 0.5):
                    assert message.error() is None, message.error()
                    headers = tuple((name, value) for name, value in message.headers() or ())
                    got.append(
                        Record(message.key(), message.value(), headers, message.timestamp()[1])
                    )
            return got
        finally:
            consumer.close()


class KafkaPython(Library):
    """
    kafka-python 3, all in Python; idempotent by default.
    """

    name = "kafka-python"

    def write(
        self,
        address: str,
        topic: str,
        records: Sequence[Record],
        codec: str = "none",
        idempotent: bool = False,
    ) -> None:
        """
        See `Library`.
        """
        options = {**self.options, "enable_idempotence": True} if idempotent else self.options
        producer = kafka.KafkaProducer(
            bootstrap_servers=address,
            compression_type=None if codec == "none" else codec,
            **options,
        )
        try:
            sent = [
                producer.send(
                    topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=0,
                    timestamp_ms=record.timestamp,
                )
                for record in records
            ]
            producer.flush(SECONDS)
            offsets = [each.get(SECONDS).offset for each in sent]
            assert offsets == sorted(offsets), "acknowledged out of order"
        finally:
            producer.close(10)

    def read(self, address: str, topic: str, count: int) -> list[Record]:
        """
        See `Library`.
        """
        consumer = kafka.KafkaConsumer(bootstrap_servers=address, group_id=None, **self.options)
        try:
            partition = kafka.TopicPartition(topic, 0)
            consumer.assign([partition])
            consumer.seek(partition, 0)
            got: list[Record] = []
            until = time.monotonic() + SECONDS
            while len(got) < count and time.monotonic() < until:
                for records in consumer.poll(500, max_records=count - len(got)).values():
                    got += [Record(r.key, r.value, tuple(r.headers), r.timestamp) for r in records]
            return got
        finally:
            consumer.close()


class Aiokafka(Library):
    """
    aiokafka, on asyncio.
    """

    name = "aiokafka"

    def write(
        self,
        address: str,
        topic: str,
        records: Sequence[Record],
        codec: str = "none",
        idempotent: bool = False,
    ) -> None:
        """
        See `Library`.
        """
        options: dict[str, Any] = {"enable_idempotence": True} if idempotent else {}

        async def run() -> None:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=address,
                compression_type=None if codec == "none" else codec,
                **options,
            )
            await producer.start()
            try:
                sent = [
                    await producer.send(
                        topic,
                        value=record.value,
                        key=record.key,
                        partition=0,
                        timestamp_ms=record.timestamp,
                        headers=list(record.headers),
                    )
                    for record in records
                ]
                await producer.flush()
                offsets = [(await each).offset for each in sent]
                assert offsets == sorted(offsets), "acknowledged out of order"
            finally:
                await producer.stop()

        asyncio.run(asyncio.wait_for(run(), SECONDS))

    def read(self, address: str, topic: str, count: int) -> list[Record]:
        """
        See `Library`.
        """

        async def run() -> list[Record]:
            consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=address, group_id=None)
            await consumer.start()
            try:
                partition = aiokafka.TopicPartition(topic, 0)
                consumer.assign([partition])
                consumer.seek(partition, 0)
                got: list[Record] = []
                while len(got) < count:
                    polled = await consumer.getmany(timeout_ms=500, max_records=count - len(got))
                    for records in polled.values():
                        got += [
                            Record(r.key, r.value, tuple(r.headers), r.timestamp) for r in records
                        ]
                return got
            finally:
                await consumer.stop()

        return asyncio.run(asyncio.wait_for(run(), SECONDS))


class Kcat(Library):
    """
    kcat, Debian's: librdkafka, of 2022. It writes lines, gives all of them
    the same headers, and takes the time from the clock.
    """

    name = "kcat"
    headers: tuple[tuple[str, bytes], ...] = (("written-by", b"kcat"), ("kind", b"order"))

    def given(self, records: Sequence[Record]) -> list[Record]:
        """
        Text in lines.
        """
        return [
            Record(b"key-%d" % i, (r.value or b"x").hex().encode(), self.headers)
            for i, r in enumerate(records)
        ]

    def write(
        self,
        address: str,
        topic: str,
        records: Sequence[Record],
        codec: str = "none",
        idempotent: bool = False,
    ) -> None:
        """
        See `Library`; the records are such as `given` returns.
        """
        command = ["kcat", "-P", "-b", address, "-t", topic, "-p", "0", "-K", "\t", "-z", codec]
        command += [f"-X{name}={value}" for name, value in self.options.items()]
        for name, value in self.headers:
            command += ["-H", f"{name}={value.decode()}"]
        if idempotent:
            command += ["-X", "enable.idempotence=true"]
        lines = b"".join(b"%b\t%b\n" % (r.key or b"", r.value or b"") for r in records)
        run(command, lines)

    def read(self, address: str, topic: str, count: int) -> list[Record]:
        """
        See `Library`. Header values must be free of commas and line ends.
        """
        command = ["kcat", "-C", "-q", "-b", address, "-t", topic, "-p", "0", "-o", "0"]
        command += ["-c", str(count), "-f", r"%T %K %S %h\n%k%s"]
        command += [f"-X{name}={value}" for name, value in self.options.items()]
        out = run(command, b"")
        got = []
        at = 0
        while at < len(out):
            end = out.index(b"\n", at)
            timestamp, key, value, headers = out[at:end].split(b" ", 3)
            at = end + 1
            parts: list[bytes | None] = []
            for size in (int(key), int(value)):
                parts.append(None if size < 0 else out[at : at + size])
                at += max(size, 0)
            pairs = (each.partition(b"=") for each in headers.split(b",") if each)
            named = tuple((name.decode(), text) for name, _, text in pairs)
            got.append(Record(parts[0], parts[1], named, int(timestamp)))
        return got


class Kafkajs(Library):
    """
    kafkajs, on Node.js. It reads in a group, because it has no other way.
    """

    name = "kafkajs"

    def write(
        self,
        address: str,
        topic: str,
        records: Sequence[Record],
        codec: str = "none",
        idempotent: bool = False,
    ) -> None:
        """
        See `Library`.
        """
        job = {
            "address": address,
            "topic": topic,
            "codec": codec,
            "idempotent": idempotent,
            "records": [
                {
                    "key": _base64(record.key),
                    "value": _base64(record.value),
                    "timestamp": str(record.timestamp),
                    "headers": [[name, _base64(value)] for name, value in record.headers],
                }
                for record in records
            ],
        }
        run(["node", str(KAFKAJS / "produce.js")], json.dumps(job).encode())

    def read(self, address: str, topic: str, count: int) -> list[Record]:
        """
        See `Library`.
        """
        job = {"address": address, "topic": topic, "group": f"{topic}-{uuid4()}", "count": count}
        lines = run(["node", str(KAFKAJS / "read.js"), json.dumps(job)], b"").splitlines()
        return [
            Record(
                _bytes(each["key"]),
                _bytes(each["value"]),
                tuple((name, _bytes(value)) for name, value in each["headers"]),
                int(each["timestamp"]),
            )
            for each in map(json.loads, lines)
        ]


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def run(command: list[str], given: bytes) -> bytes:
    """
    Run a command with this input.

    @return: Its output.
    """
    environment = {**os.environ, "KAFKAJS_NO_PARTITIONER_WARNING": "1"}
    done = subprocess.run(
        command, input=given, capture_output=True, timeout=SECONDS, env=environment, check=False
    )
    text = done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {text[-2000:]}"
    return done.stdout


LIBRARIES: dict[str, Library] = {
    each.name: each for each in (Confluent(), KafkaPython(), Aiokafka(), Kafkajs(), Kcat())
}
