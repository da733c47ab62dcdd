"""
Consumers that say in which rack they are, in a cluster that has some.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.request import urlopen

import confluent_kafka

from tests import etcd, s3
from tests.clients.broker import Broker, eventually, free_port
from tests.clients.raw import RawClient, batch_of
from tests.clients.test_s3 import BucketTestCase

TOPIC = "racked"
LEASE_SECONDS = 3
PATIENCE = 60.0


class Reader:
    """
    A consumer of the only partition, in a rack.

    @ivar values: Of the records that it has read, in the order in which they
        came.
    """

    def __init__(self, brokers: list[Broker], rack: str) -> None:
        self.values: list[bytes] = []
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": ",".join(broker.address for broker in brokers),
                "group.id": f"in-{rack}",
                "client.rack": rack,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 100,
                "topic.metadata.refresh.interval.ms": 1000,
                "log_level": 0,
            }
        )
        self._consumer.assign([confluent_kafka.TopicPartition(TOPIC, 0, 0)])

    def read(self, count: int) -> list[bytes]:
        """
        Read until there are so many in all.
        """
        until = time.monotonic() + PATIENCE
        while len(self.values) < count:
            assert time.monotonic() < until, f"{len(self.values)} of {count} records came"
            message = self._consumer.poll(0.2)
            if message is not None and message.error() is None:
                self.values.append(bytes(message.value() or b""))
        return self.values

    def close(self) -> None:
        """
        Leave.
        """
        self._consumer.close()


class RackTests(BucketTestCase):
    """
    Each broker is in a rack of its own.
    """

    def cluster(self, *racks: str) -> dict[int, Broker]:
        """
        Brokers that share etcd and a bucket, by id.
        """
        shared = {
            "namespace": etcd.namespace(),
            "etcd_endpoints": etcd.server().url,
            "s3_bucket": s3.make_bucket(),
            "lease_seconds": LEASE_SECONDS,
            "segment_bytes": "256KiB",
        }
        brokers = {
            number: self.broker(
                broker_id=number,
                broker_rack=rack,
                metrics_addr=f"127.0.0.1:{free_port()}",
                **shared,
            )
            for number, rack in enumerate(racks, 1)
        }
        self.written = 0
        return brokers

    def reader(self, brokers: dict[int, Broker], rack: str) -> Reader:
        """
        A consumer in that rack, closed with the test.
        """
        reader = Reader(list(brokers.values()), rack)
        self.addCleanup(reader.close)
        return reader

    def leader(self, broker: Broker) -> int:
        """
        The id of the partition's leader, as this broker tells.
        """
        with RawClient(broker.port) as raw:
            return int(raw.metadata(TOPIC).topics[0].partitions[0].leader_id)

    def write(self, broker: Broker, count: int, size: int = 10_000) -> list[bytes]:
        """
        Append so many records; the values of all that were written.
        """
        with RawClient(broker.port) as raw:
            for _ in range(count):
                batch = batch_of([value(self.written, size)])
                self.assertEqual(raw.produce(TOPIC, 0, batch).error_code, 0)
                self.written += 1
        return [value(number, size) for number in range(self.written)]

    def create(self, brokers: dict[int, Broker]) -> int:
        """
        Make the topic, once all brokers know of one another; the id of its
        leader.
        """

        def all_are_known() -> bool:
            for broker in brokers.values():
                with RawClient(broker.port) as raw:
                    if len(raw.metadata().brokers) < len(brokers):
                        return False
            return True

        eventually(all_are_known)
        with RawClient(brokers[1].port) as raw:
            raw.create(TOPIC)
        eventually(lambda: self.leader(brokers[1]) in brokers)
        return self.leader(brokers[1])

    def test_read_where_it_is_near(self) -> None:
        """
        Two consumers in one rack read all, in order, from the broker there:
        what is in segments it reads itself, and the rest comes from the leader
        once for both. The replicas that metadata names are the brokers that
        may be asked.
        """
        brokers = self.cluster("a", "b")
        leader = self.create(brokers)
        other = 3 - leader
        with RawClient(brokers[1].port) as raw:
            (partition,) = raw.metadata(TOPIC).topics[0].partitions
        self.assertEqual(partition.replica_nodes, [leader, other])
        self.assertEqual(partition.isr_nodes, [leader, other])
        rack = str(brokers[other].settings["broker_rack"])
        readers = [self.reader(brokers, rack) for _ in range(2)]
        wanted = self.write(brokers[leader], 100)
        for reader in readers:
            self.assertEqual(reader.read(100), wanted)
        wanted = self.write(brokers[leader], 20)
        for reader in readers:
            self.assertEqual(reader.read(120), wanted)
        size = sum(map(len, wanted))
        here, there = counted(brokers[other]), counted(brokers[leader])
        self.assertGreaterEqual(here(f'topic_bytes_out_total{{topic="{TOPIC}"}}'), 2 * size)
        self.assertLess(there(f'topic_bytes_out_total{{topic="{TOPIC}"}}'), 1.2 * size)
        self.assertLess(here("fetched_bytes_total"), size)
        self.assertEqual(here("partitions_followed"), 1)

    def test_its_broker_dies(self) -> None:
        """
        When the broker of its rack is killed, a consumer goes on with the
        leader; and back when there is one again.
        """
        brokers = self.cluster("a", "b")
        leader = self.create(brokers)
        other = 3 - leader
        reader = self.reader(brokers, str(brokers[other].settings["broker_rack"]))
        self.write(brokers[leader], 10)
        reader.read(10)
        self.assertEqual(counted(brokers[other])("partitions_followed"), 1)
        brokers[other].kill()
        wanted = self.write(brokers[leader], 10)
        self.assertEqual(reader.read(20), wanted)

    def test_the_leader_dies(self) -> None:
        """
        When the leader is killed or ended, consumers in a third rack go on
        reading from their own broker, in order, what the next one appends.
        """
        brokers = self.cluster("a", "b", "c")
        leader = self.create(brokers)
        near = next(number for number in brokers if number != leader)
        # The one that leads next must be another than the consumer's: the
        # spread decides, so the consumer goes where it is not.
        reader = self.reader(brokers, str(brokers[near].settings["broker_rack"]))
        self.write(brokers[leader], 10)
        reader.read(10)
        brokers[leader].kill()
        eventually(lambda: self.leader(brokers[near]) not in (-1, leader))
        after = self.leader(brokers[near])
        wanted = self.write(brokers[after], 10)
        self.assertEqual(reader.read(20), wanted)
        last = next(number for number in brokers if number not in (leader, after))
        self.assertEqual(brokers[after].terminate(), 0)
        eventually(lambda: self.leader(brokers[last]) == last)
        wanted = self.write(brokers[last], 10)
        self.assertEqual(reader.read(30), wanted)


def value(number: int, size: int) -> bytes:
    """
    Of the record at this offset.
    """
    return (b"%d " % number).ljust(size, b"x")


def counted(broker: Broker) -> Callable[[str], float]:
    """
    What the broker has counted so far, by the metric's name without its first
    word; 0 if it does not tell.
    """
    url = f"http://{broker.settings['metrics_addr']}/metrics"
    text = urlopen(url, timeout=30).read().decode()
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return lambda name: float(found.get(f"kafscale_{name}", 0.0))
