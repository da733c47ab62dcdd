"""
Consumers that say in which rack they are, in a cluster that has some.
"""

from __future__ import annotations

import time

import confluent_kafka
from cryptography.x509.oid import NameOID

from tests.clients.broker import eventually, free_port
from tests.clients.cluster import Cluster, ClusterBroker, ClusterTestCase
from tests.clients.raw import RawClient, batch_of
from tests.harness.certificates import authority, issue

COMMON = NameOID.COMMON_NAME
TOPIC = "racked"
PATIENCE = 60.0


class Reader:
    """
    A consumer of the only partition, in the rack of this broker.

    @ivar values: Of the records that it has read, in the order in which they
        came.
    """

    def __init__(self, cluster: Cluster, near: ClusterBroker) -> None:
        self.values: list[bytes] = []
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": cluster.addresses,
                "group.id": "readers",
                "client.rack": near.settings["broker_rack"],
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


class RackTests(ClusterTestCase):
    """
    Each broker is in a rack of its own.
    """

    def racked(self, *racks: str) -> Cluster:
        """
        A cluster with the topic.
        """
        cluster = self.cluster(len(racks), racks=racks, segment_bytes="256KiB")
        self.written = 0
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create(TOPIC)
        eventually(lambda: all(self.leader(cluster, each) for each in cluster.brokers))
        return cluster

    def leader(self, cluster: Cluster, via: ClusterBroker) -> ClusterBroker | None:
        """
        The partition's leader, as a broker tells.
        """
        (leader,) = cluster.leaders(TOPIC, via) or [-1]
        return cluster.brokers[leader - 1] if leader > 0 else None

    def moved(self, cluster: Cluster, via: ClusterBroker, *before: ClusterBroker) -> ClusterBroker:
        """
        The leader that comes after those before.
        """
        eventually(lambda: self.leader(cluster, via) not in (None, *before))
        found = self.leader(cluster, via)
        assert found is not None
        return found

    def reader(self, cluster: Cluster, near: ClusterBroker) -> Reader:
        """
        A consumer in the rack of this broker, closed with the test.
        """
        reader = Reader(cluster, near)
        self.addCleanup(reader.close)
        return reader

    def write(self, broker: ClusterBroker, count: int, size: int = 10_000) -> list[bytes]:
        """
        Append so many records; the values of all that were written.
        """
        with RawClient(broker.port) as raw:
            for _ in range(count):
                batch = batch_of([value(self.written, size)])
                self.assertEqual(raw.produce(TOPIC, 0, batch).error_code, 0)
                self.written += 1
        return [value(number, size) for number in range(self.written)]

    def test_over_tls(self) -> None:
        """
        Brokers fetch from one another on a listener of their own, with certificates on
        both sides; clients use another one.
        """
        cluster = self.prepared_cluster(2, racks=["a", "b"])
        ca = authority()
        for broker in cluster.brokers:
            own = issue([(COMMON, f"broker-{broker.broker_id}")], ca, hosts=["127.0.0.1"])
            (broker.folder / "ca.pem").write_bytes(ca.pem())
            (broker.folder / "own.pem").write_bytes(own.pem() + own.key_pem())
            broker.settings |= {
                "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SSL://127.0.0.1:{free_port()}",
                "inter_broker_listener_name": "SSL",
                "ssl_cert": "own.pem",
                "ssl_ca": "ca.pem",
                "ssl_client_auth": "required",
            }
        cluster.start()
        self.written = 0
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create(TOPIC)
        leader = self.moved(cluster, cluster.brokers[0])
        (other,) = (each for each in cluster.brokers if each is not leader)
        wanted = self.write(leader, 20)
        reader = self.reader(cluster, other)
        self.assertEqual(reader.read(20), wanted)
        self.assertGreater(other.metrics()["kafscale_fetched_bytes_total"], 0)

    def test_read_where_it_is_near(self) -> None:
        """
        Two consumers in one rack read all, in order, from the broker there:
        it reads segments itself, and fetches the rest from the leader once for
        both. The replicas that metadata names are the brokers that
        may be asked. When their broker is killed they go on with the leader.
        """
        cluster = self.racked("a", "b")
        leader = self.moved(cluster, cluster.brokers[0])
        (other,) = (each for each in cluster.brokers if each is not leader)
        with RawClient(other.port) as raw:
            (partition,) = raw.metadata(TOPIC).topics[0].partitions
        self.assertEqual(partition.replica_nodes, [leader.broker_id, other.broker_id])
        self.assertEqual(partition.isr_nodes, partition.replica_nodes)
        wanted = self.write(leader, 100)
        readers = [self.reader(cluster, other) for _ in range(2)]
        for reader in readers:
            self.assertEqual(reader.read(100), wanted)
        wanted = self.write(leader, 20)
        for reader in readers:
            self.assertEqual(reader.read(120), wanted)
        size = sum(map(len, wanted))
        read = f'kafscale_topic_bytes_out_total{{topic="{TOPIC}"}}'
        here, there = other.metrics(), leader.metrics()
        self.assertGreaterEqual(here[read], 2 * size)
        self.assertLess(here["kafscale_fetched_bytes_total"], size)
        # The leader has sent the bytes that the other has fetched, and no more.
        self.assertLessEqual(there[read], here["kafscale_fetched_bytes_total"] + 10_000)
        self.assertEqual(here["kafscale_partitions_followed"], 1)
        other.kill()
        wanted = self.write(leader, 10)
        for reader in readers:
            self.assertEqual(reader.read(130), wanted)

    def test_the_leader_goes(self) -> None:
        """
        When the leader is killed, and when the next one is stopped, a consumer
        reads on in order the records that their successors append.
        """
        cluster = self.racked("a", "b", "c")
        first = self.moved(cluster, cluster.brokers[0])
        near, *_ = (each for each in cluster.brokers if each is not first)
        reader = self.reader(cluster, near)
        self.write(first, 10)
        reader.read(10)
        self.assertEqual(near.metrics()["kafscale_partitions_followed"], 1)
        first.kill()
        second = self.moved(cluster, near, first)
        wanted = self.write(second, 10)
        self.assertEqual(reader.read(20), wanted)
        (last,) = (each for each in cluster.brokers if each not in (first, second))
        self.assertEqual(second.terminate(), 0)
        self.assertIs(self.moved(cluster, last, first, second), last)
        wanted = self.write(last, 10)
        self.assertEqual(reader.read(30), wanted)


def value(number: int, size: int) -> bytes:
    """
    Return the value of the record at this offset.
    """
    return (b"%d " % number).ljust(size, b"x")
