"""
A member of a group, as a process of its own that may be killed: ``python -m
tests.clients.consume JOB``, with a `tests.clients.members.Job` as JSON.

It commits the records that it has processed before each poll, and notes both
in its journal; SIGTERM ends it in good order.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Iterable
from typing import Any

import aiokafka
import aiokafka.errors
import confluent_kafka
import kafka
import kafka.errors
from aiokafka.coordinator.assignors.range import RangePartitionAssignor as AioRange
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor as AioRoundRobin
from aiokafka.coordinator.assignors.sticky.sticky_assignor import (
    StickyPartitionAssignor as AioSticky,
)
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from tests.clients.members import Job

KAFKA_PYTHON = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
    "cooperative-sticky": CooperativeStickyAssignor,
}
AIOKAFKA = {"range": AioRange, "roundrobin": AioRoundRobin, "sticky": AioSticky}

#: Partition, offset, value.
Message = tuple[int, int, bytes]


class Journal:
    """
    The member's notes of processed records and commits; each is on disk before
    the next step.

    @ivar owed: By partition, the offset that is still to be committed.
    """

    def __init__(self, path: str) -> None:
        self.owed: dict[int, int] = {}
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115

    def processed(self, messages: Iterable[Message]) -> None:
        """
        The member has done its work with these.
        """
        lines = []
        for partition, offset, value in messages:
            lines.append(b"P %d %d %b\n" % (partition, offset, value))
            self.owed[partition] = offset + 1
        self._file.write(b"".join(lines))

    def committed(self) -> None:
        """
        The broker has acknowledged a commit of all that was owed.
        """
        self._file.write(b"".join(b"C %d %d\n" % item for item in self.owed.items()))
        self.owed.clear()

    def keep(self, partitions: Iterable[int]) -> None:
        """
        Note that the member has only these partitions now: it cannot commit
        offsets of others any more.
        """
        for partition in set(self.owed).difference(partitions):
            self._file.write(b"F %d %d\n" % (partition, self.owed.pop(partition)))


def by_confluent(job: Job, journal: Journal, stopping: threading.Event) -> None:
    """
    confluent-kafka. With a callback it waits for us before it gives partitions
    away; without one it would not.
    """

    def commit() -> None:
        owed = [
            confluent_kafka.TopicPartition(job.topic, partition, offset)
            for partition, offset in journal.owed.items()
        ]
        # While a cooperative rebalance is under way it is not taken, and is
        # tried again.
        if owed:
            with contextlib.suppress(confluent_kafka.KafkaException):
                consumer.commit(offsets=owed, asynchronous=False)
                journal.committed()

    def revoked(_: object, partitions: list[Any]) -> None:
        commit()
        journal.keep(set(journal.owed) - {each.partition for each in partitions})

    options: dict[str, Any] = {
        "bootstrap.servers": job.address,
        "group.id": job.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": job.session_ms,
        "heartbeat.interval.ms": job.heartbeat_ms,
    }
    if job.assignor is not None:
        options["partition.assignment.strategy"] = job.assignor
    if job.instance is not None:
        options["group.instance.id"] = job.instance
    consumer = confluent_kafka.Consumer(options)
    consumer.subscribe([job.topic], on_revoke=revoked)
    while not stopping.is_set():
        got = [each for each in consumer.consume(500, 0.2) if each.error() is None]
        journal.processed((m.partition(), m.offset(), m.value()) for m in got)
        commit()
    consumer.close()


def by_kafka_python(job: Job, journal: Journal, stopping: threading.Event) -> None:
    """
    kafka-python. A poll that ends between joining and syncing begins the
    rebalance anew, hence the long time.
    """
    options: dict[str, Any] = {}
    if job.assignor is not None:
        options["partition_assignment_strategy"] = [KAFKA_PYTHON[job.assignor]]
    consumer = kafka.KafkaConsumer(
        job.topic,
        bootstrap_servers=job.address,
        group_id=job.group,
        group_instance_id=job.instance,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=job.session_ms,
        heartbeat_interval_ms=job.heartbeat_ms,
        **options,
    )
    while not stopping.is_set():
        try:
            got = [each for some in consumer.poll(1000).values() for each in some]
        except kafka.errors.KafkaError as error:
            if not error.retriable:
                raise
            continue  # no broker to connect to just now
        journal.keep(each.partition for each in consumer.assignment())
        journal.processed((m.partition, m.offset, m.value) for m in got)
        owed = {
            kafka.TopicPartition(job.topic, partition): kafka.OffsetAndMetadata(offset, "", -1)
            for partition, offset in journal.owed.items()
        }
        if owed:
            with contextlib.suppress(kafka.errors.KafkaError):
                consumer.commit(owed)
                journal.committed()
    consumer.close(autocommit=False)


class _Revoked(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
    """
    Keeps revoked partitions until their processed records are committed.
    """

    def __init__(self, journal: Journal, committing: asyncio.Lock) -> None:
        self._journal = journal
        self._committing = committing

    async def on_partitions_revoked(self, revoked: object) -> None:
        """
        Wait for the end of a commit.
        """
        async with self._committing:
            self._journal.keep(())

    async def on_partitions_assigned(self, assigned: object) -> None:
        """
        Nothing to do.
        """


async def by_aiokafka(job: Job, journal: Journal, stopping: threading.Event) -> None:
    """
    aiokafka, which rebalances beside us.
    """
    committing = asyncio.Lock()
    options: dict[str, Any] = {}
    if job.assignor is not None:
        options["partition_assignment_strategy"] = [AIOKAFKA[job.assignor]]
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=job.address,
        group_id=job.group,
        group_instance_id=job.instance,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=job.session_ms,
        heartbeat_interval_ms=job.heartbeat_ms,
        **options,
    )
    consumer.subscribe([job.topic], listener=_Revoked(journal, committing))
    await consumer.start()
    while not stopping.is_set():
        # Not under the lock: it waits for the end of a rebalance.
        polled = await consumer.getmany(timeout_ms=200, max_records=500)
        async with committing:
            got = [each for some in polled.values() for each in some]
            journal.processed((m.partition, m.offset, m.value) for m in got)
            owed = {
                aiokafka.TopicPartition(job.topic, partition): offset
                for partition, offset in journal.owed.items()
            }
            if owed:
                with contextlib.suppress(aiokafka.errors.KafkaError):
                    await consumer.commit(owed)
                    journal.committed()
    await consumer.stop()


def main() -> None:
    """
    Consume until SIGTERM.
    """
    job = Job.from_json(sys.argv[1])
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    journal = Journal(job.journal)
    if job.library == "aiokafka":
        asyncio.run(by_aiokafka(job, journal, stopping))
    elif job.library == "kafka-python":
        by_kafka_python(job, journal, stopping)
    else:
        by_confluent(job, journal, stopping)


if __name__ == "__main__":
    main()
