"""
Three brokers on one etcd and one bucket, with failures of each part.

Each acknowledged record is there once, in order, at its offset, whatever
happens to the brokers and to the network between them and their stores.
"""

from __future__ import annotations

import time
from pathlib import Path

from kafscale.wire.messages import ProduceResponse
from tests.clients.broker import eventually
from tests.clients.cluster import LEASE_SECONDS, Cluster, ClusterBroker, ClusterTestCase
from tests.clients.libraries import Confluent
from tests.clients.raw import RawClient, batch_of
from tests.clients.steady import Steady, check
from tests.clients.wire import Wire

TOPIC = "t"
PARTITIONS = 6
NOT_LEADER_OR_FOLLOWER = 6
LIBRARIES = ("confluent-kafka", "aiokafka")


def others(cluster: Cluster, broker: ClusterBroker) -> list[ClusterBroker]:
    """
    Return all brokers of the cluster except this one.
    """
    return [each for each in cluster.brokers if each is not broker]


def goes_on(producer: Steady, seconds: float = 60.0) -> None:
    """
    Return when each partition has taken some more records.
    """
    before = producer.counts()
    eventually(lambda: producer.is_past(before), seconds)


class SharedTests(ClusterTestCase):
    """
    The running brokers share the partitions.
    """

    def test_coming_and_going(self) -> None:
        """
        All brokers answer Metadata alike. A broker that joins gets a share of
        the partitions, a broker that leaves hands its share over, and
        producing goes on meanwhile.
        """
        cluster = self.cluster(2, racks=("a", "b"))
        producer = self.produce(cluster, TOPIC, PARTITIONS)
        eventually(lambda: cluster.led_by(TOPIC, cluster.brokers))
        told = []
        for broker in cluster.brokers:
            with RawClient(broker.port) as raw:
                metadata = raw.metadata(TOPIC)
                told.append((metadata.cluster_id, metadata.controller_id, metadata.topics))
                self.assertEqual(
                    {each.node_id: each.rack for each in metadata.brokers}, {1: "a", 2: "b"}
                )
        self.assertEqual(told[0], told[1])
        newcomer = cluster.add()
        self.brokers.append(newcomer)
        newcomer.start()
        eventually(lambda: cluster.led_by(TOPIC, cluster.brokers))
        goes_on(producer)
        self.assertEqual(cluster.brokers[0].terminate(), 0)
        self.assertTrue(cluster.led_by(TOPIC, cluster.brokers[1:]))
        goes_on(producer)
        producer.finish()
        check(cluster.addresses, TOPIC, producer)

    def test_same_id(self) -> None:
        """
        Of two brokers with one id the second ends, with a line that says so.
        """
        cluster = self.cluster(1)
        second = cluster.add(broker_id=1)
        self.brokers.append(second)
        second.start(wait=False)
        self.assertEqual(second.ended(60), 1)
        self.assertIn("broker id 1 is in use", second.tail())
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create("still-here")


class KillTests(ClusterTestCase):
    """
    C{kill -9}.
    """

    def test_each_of_them(self) -> None:
        """
        Under idempotent produce, and consumers in a group: each broker is
        killed once and comes back, one of them while its partitions and groups
        are not taken over yet.
        """
        cluster = self.cluster()
        producer = self.produce(cluster, TOPIC, PARTITIONS, faults=True)
        members = self.consume(cluster, TOPIC, *LIBRARIES)
        eventually(lambda: all(member.read() for member in members), 60)
        for number, broker in enumerate(cluster.brokers):
            broker.kill()
            if number:
                goes_on(producer)
            broker.start()
            eventually(lambda: cluster.led_by(TOPIC, cluster.brokers), 60)
            goes_on(producer)
        producer.finish()
        self.assertGreater(check(cluster.addresses, TOPIC, producer), 1000)
        self.assert_consumed(producer, members)
        cluster.verify()


class PausedTests(ClusterTestCase):
    """
    C{kill -STOP}, longer than its lease.
    """

    def test_woken(self) -> None:
        """
        The others take over. What was asked of it meanwhile it refuses when it
        wakes up, for it is not the leader any more; and it joins again.
        """
        cluster = self.cluster()
        producer = self.produce(cluster, TOPIC, PARTITIONS, faults=True)
        sleeper = cluster.brokers[1]
        goes_on(producer)
        eventually(lambda: cluster.led_by(TOPIC, cluster.brokers))
        mine = [i for i, leader in enumerate(cluster.leaders(TOPIC)) if leader == 2]
        clients = [self.connect(sleeper) for _ in mine]
        for raw in clients:
            raw.metadata(TOPIC)  # it is served already
        sleeper.pause()
        sent = []
        for raw, partition in zip(clients, mine, strict=True):
            request = raw.produce_request(TOPIC, partition, batch_of([b"-1"]))
            sent.append((raw, request, raw.send(request, 9)))
        goes_on(producer)
        eventually(lambda: cluster.led_by(TOPIC, others(cluster, sleeper)), 60)
        sleeper.resume()
        for raw, request, correlation in sent:
            try:
                answer: ProduceResponse = raw.receive(request, 9, correlation)
            except ConnectionError:  # no answer is no acknowledgement
                continue
            (part,) = answer.responses[0].partition_responses
            self.assertEqual(part.error_code, NOT_LEADER_OR_FOLLOWER)
        eventually(lambda: cluster.led_by(TOPIC, cluster.brokers), 60)
        eventually(lambda: sleeper.count("rejoined the cluster as incarnation") == 1)
        goes_on(producer)
        producer.finish()
        check(cluster.addresses, TOPIC, producer)


class LinkTests(ClusterTestCase):
    """
    The network between one broker and one of its stores: connections end and
    are refused, or packets are lost without an error.
    """

    def survive(self, link: str, held: float) -> None:
        """
        Lose one under load, cut for a minute, and silent for so many seconds.
        """
        cluster = self.cluster()
        producer = self.produce(cluster, TOPIC, PARTITIONS, faults=True)
        members = self.consume(cluster, TOPIC, *LIBRARIES)
        eventually(lambda: all(member.read() for member in members), 60)
        for broker, lose, seconds in (
            (cluster.brokers[2], Wire.cut, 60.0),
            (cluster.brokers[1], Wire.hold, held),
        ):
            wire: Wire = getattr(broker, link)
            lose(wire)
            time.sleep(seconds)
            wire.mend()
            eventually(lambda: cluster.led_by(TOPIC, cluster.brokers), 60)
            eventually(broker.is_ready, 60)
            goes_on(producer)
        producer.finish()
        check(cluster.addresses, TOPIC, producer)
        self.assert_consumed(producer, members)

    def test_etcd(self) -> None:
        """
        The lease of the broker expires, and the others take over.
        """
        self.survive("to_etcd", LEASE_SECONDS * 2)

    def test_s3(self) -> None:
        """
        The broker keeps its partitions, and stores waiting records when the
        bucket is back.
        """
        self.survive("to_s3", 5)


class SilentStoreTests(ClusterTestCase):
    """
    A bucket that takes requests and answers none.
    """

    def test_stopped_meanwhile(self) -> None:
        """
        A broker that is stopped then ends within C{KAFSCALE_SHUTDOWN_MS}, even
        if it cannot hand its partitions over. Its successors recover all
        acknowledged records.
        """
        cluster = self.cluster(2, shutdown_ms=6000)
        leaving, staying = cluster.brokers
        with RawClient(leaving.port) as raw:
            raw.create("log", 8)
            eventually(lambda: cluster.led_by("log", cluster.brokers))
            mine = [at for at, leader in enumerate(cluster.leaders("log")) if leader == 1]
            for partition in mine:
                answer = raw.produce("log", partition, batch_of([b"kept"]))
                self.assertEqual(answer.error_code, 0)
        leaving.to_s3.hold()
        begun = time.monotonic()
        self.assertEqual(leaving.terminate(), 0)
        self.assertLess(time.monotonic() - begun, 6 + 3)
        log = leaving.tail(1000)
        self.assertIn("handing over is not finished after 3 s", log)
        self.assertIn("stopping is not finished after 6000 ms (KAFSCALE_SHUTDOWN_MS)", log)
        self.assertNotIn("Traceback", log)
        self.assertNotIn("CancelledError", log)
        eventually(lambda: cluster.led_by("log", [staying]), 60)
        with RawClient(staying.port) as raw:
            for partition in mine:
                self.assertEqual([each.value for each in raw.records("log", partition)], [b"kept"])


class RollingTests(ClusterTestCase):
    """
    SIGTERM, one after the other.
    """

    def test_restart(self) -> None:
        """
        All three are restarted under load. Clients notice nothing but that it
        takes a little longer: no client has to wait for the end of a lease.
        """
        cluster = self.cluster(lease_seconds=20)
        producer = self.produce(cluster, TOPIC, PARTITIONS)
        members = self.consume(cluster, TOPIC, *LIBRARIES)
        eventually(lambda: all(member.read() for member in members), 60)
        begun = time.monotonic()
        for broker in cluster.brokers:
            self.assertEqual(broker.terminate(), 0)
            goes_on(producer)
            broker.start()
            eventually(lambda: cluster.led_by(TOPIC, cluster.brokers), 60)
            goes_on(producer)
        producer.finish()
        self.assertLess(max(producer.stalls(begun)), 15)
        check(cluster.addresses, TOPIC, producer)
        self.assert_consumed(producer, members)


class SetBackTests(ClusterTestCase):
    """
    An etcd that has lost its data, or was restored from an old backup. No
    broker goes on with it: each ends with a line that says what to do.
    """

    def setUp(self) -> None:
        """
        A cluster that has a past: there is a backup of its etcd that is older
        than its records.
        """
        super().setUp()
        self.shared = self.cluster(2)
        self.early, self.late = self.folder / "early", self.folder / "late"
        with RawClient(self.shared.brokers[0].port) as raw:
            raw.create("first")
        self.back_up(self.early)
        eventually(lambda: all(each.is_ready() for each in self.shared.brokers), 60)
        with RawClient(self.shared.brokers[0].port) as raw:
            raw.create("second")
            # More commits than expiring leases add to an etcd that is set back.
            for number in range(10):
                raw.create(f"more-{number}")
        self.value(b"kept")

    def back_up(self, to: Path) -> None:
        """
        Copy what etcd has.
        """
        self.shared.etcd.kill()
        self.shared.etcd.save(to)
        self.shared.etcd.start()

    def value(self, value: bytes) -> None:
        """
        Write to the leader of the second topic, which may be moving.
        """

        def written() -> bool:
            leader = self.shared.leaders("second")[0]
            with RawClient(self.shared.brokers[leader - 1].port) as raw:
                code = raw.produce("second", 0, batch_of([value])).error_code
            self.assertIn(code, (0, NOT_LEADER_OR_FOLLOWER))
            return code == 0

        eventually(written, 60)

    def set_back(self, backup: Path | None) -> None:
        """
        Etcd is killed, and comes back with what it had then; or with nothing.
        """
        self.shared.etcd.kill()
        self.shared.etcd.load(backup)
        self.shared.etcd.start()

    def assert_refuses(self, *words: str) -> None:
        """
        A start ends with status 1 and one line with these words, and leaves
        the bucket as it was.
        """
        broker = self.shared.brokers[0]
        bucket = broker.objects
        before, told = bucket.sizes(), broker.tail(1_000_000)
        broker.start(wait=False)
        self.assertEqual(broker.ended(60), 1)
        log = broker.tail(1_000_000).removeprefix(told)
        found = [line for line in log.splitlines() if all(word in line for word in words)]
        self.assertEqual(len(found), 1, log)
        self.assertNotIn("Traceback", log)
        self.assertEqual(bucket.sizes(), before)

    def test_at_the_start(self) -> None:
        """
        Wiped, or from an old backup: refused. With what it had in the end all
        goes on, and nothing is lost.
        """
        for broker in self.shared.brokers:
            self.assertEqual(broker.terminate(), 0)
        self.back_up(self.late)
        self.set_back(None)
        self.assert_refuses("another cluster", "KAFSCALE_ETCD_ENDPOINTS")
        self.set_back(self.early)
        self.assert_refuses("older than the records", "Restore a newer one")
        self.assert_refuses("older than the records", "Restore a newer one")  # and again
        self.set_back(self.late)
        for broker in self.shared.brokers:
            broker.start()
        self.value(b"later")
        found = Confluent().read(self.shared.addresses, "second", 2)
        self.assertEqual([each.value for each in found], [b"kept", b"later"])

    def test_meanwhile(self) -> None:
        """
        Under brokers that run: they notice, and the next start is refused.
        """
        self.set_back(self.early)
        for broker in self.shared.brokers:
            self.assertEqual(broker.ended(120), 1)
            self.assertEqual(broker.count("cannot continue: the metadata in etcd is older"), 1)
            self.assertEqual(broker.count("stopping failed"), 0)
        self.assert_refuses("cannot start: the metadata in etcd is older")
