"""
Several brokers, processes of their own, on one etcd and one bucket.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests.clients.broker import ROOT, Broker, environment, eventually, free_port
from tests.clients.buckets import BucketTestCase
from tests.clients.members import SHORT_MS, Job, Member
from tests.clients.raw import RawClient
from tests.clients.steady import Steady
from tests.clients.wire import Wire
from tests.harness import etcd, s3

LEASE_SECONDS = 4
"""Shorter than by default, because tests wait for its end."""


class ClusterBroker(Broker):
    """
    A broker of a cluster.

    @ivar to_etcd: What it has to itself between it and etcd.
    @ivar to_s3: The same of the bucket.
    """

    to_etcd: Wire
    to_s3: Wire

    @property
    def broker_id(self) -> int:
        """
        The broker's id in answers to clients.
        """
        return int(str(self.settings["broker_id"]))

    def metrics(self) -> dict[str, float]:
        """
        Return the value of each line of C{/metrics}, by its name and labels.
        """
        with urlopen(f"http://{self.settings['metrics_addr']}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in found}

    def is_ready(self) -> bool:
        """
        Return whether C{/readyz} answers with success.
        """
        try:
            with urlopen(f"http://{self.settings['metrics_addr']}/readyz", timeout=30):
                return True
        except OSError:
            return False

    def count(self, words: str) -> int:
        """
        Return how many lines of its log contain these words.
        """
        return sum(words in line for line in self.tail(1_000_000).splitlines())


class Cluster:
    """
    Brokers with ids from 1, and the etcd and the bucket that they share.

    @ivar etcd: The cluster's own.
    @ivar brokers: In the order of their ids.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        racks: Sequence[str] = (),
        endpoint: str = "",
        bucket: str = "",
        **settings: object,
    ) -> None:
        """
        @param racks: Of the brokers, by turns; none if it is empty.
        @param endpoint: The S3 server that has the bucket; otherwise both are
            new, and SeaweedFS, which takes less of the machine's time than
            moto.
        @param settings: Of all of them.
        """
        self.etcd = etcd.Etcd()
        self.bucket = bucket or s3.make_bucket(on="seaweedfs")
        self._endpoint = endpoint or s3.server("seaweedfs").endpoint
        self.brokers: list[ClusterBroker] = []
        self._folder = folder
        self._racks = racks
        self._settings: dict[str, object] = {"lease_seconds": LEASE_SECONDS, **settings}
        for _ in range(count):
            self.add()

    def add(self, **settings: object) -> ClusterBroker:
        """
        Add a broker, which is not started yet.
        """
        number = len(self.brokers) + 1
        to_etcd, to_s3 = (
            Wire(urlsplit(url).port or 80) for url in (self.etcd.url, self._endpoint)
        )
        given: dict[str, Any] = {
            "metrics_addr": f"127.0.0.1:{free_port()}",
            "broker_id": number,
            "etcd_endpoints": to_etcd.endpoint,
            "s3_endpoint": to_s3.endpoint,
            "s3_bucket": self.bucket,
            **self._settings,
            **settings,
        }
        if self._racks:
            given.setdefault("broker_rack", self._racks[(number - 1) % len(self._racks)])
        broker = ClusterBroker(self._folder / f"broker-{number}", **given)
        broker.to_etcd, broker.to_s3 = to_etcd, to_s3
        broker.variables |= s3.KEYS
        self.brokers.append(broker)
        return broker

    def start(self) -> Cluster:
        """
        Etcd, and all brokers; they know each other when this returns.
        """
        self.etcd.start()
        for broker in self.brokers:
            broker.start(wait=False)
        for broker in self.brokers:
            broker.wait_until_listening()
        self.wait_for(self.brokers)
        return self

    def wait_for(self, brokers: Sequence[ClusterBroker]) -> None:
        """
        Return when each of these tells clients of exactly these.
        """
        ids = [each.broker_id for each in brokers]
        for broker in brokers:
            with RawClient(broker.port) as raw:
                eventually(lambda: self.members(raw) == ids, 60)

    @staticmethod
    def members(raw: RawClient) -> list[int]:
        """
        Whom a broker tells clients of.
        """
        return sorted(each.node_id for each in raw.metadata().brokers)

    @property
    def addresses(self) -> str:
        """
        The addresses of all brokers, for a client's C{bootstrap.servers}.
        """
        return ",".join(each.address for each in self.brokers)

    def leaders(self, topic: str, via: ClusterBroker | None = None) -> list[int]:
        """
        The leaders of a topic's partitions, as a broker tells (the first one
        that is not said otherwise); -1 where there is none.
        """
        with RawClient((via or self.brokers[0]).port) as raw:
            (told,) = raw.metadata(topic).topics
            found = {each.partition_index: each.leader_id for each in told.partitions}
            return [found[index] for index in sorted(found)]

    def led_by(
        self, topic: str, brokers: Sequence[ClusterBroker], via: ClusterBroker | None = None
    ) -> bool:
        """
        Whether each partition is led by one of these, and each of them leads.
        """
        leaders = self.leaders(topic, via or brokers[0])
        return bool(leaders) and set(leaders) == {each.broker_id for each in brokers}

    def verify(self) -> None:
        """
        Have C{kafscale-inspect} read everything, and find nothing wrong.
        """
        done = subprocess.run(
            [sys.executable, "-m", "kafscale.inspect", "verify"],
            cwd=ROOT,
            env={**environment(**self.brokers[0].settings), **self.brokers[0].variables},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def close(self) -> None:
        """
        End all of it.
        """
        for broker in self.brokers:
            broker.kill()
            broker.to_etcd.close()
            broker.to_s3.close()
        self.etcd.remove()


class ClusterTestCase(BucketTestCase):
    """
    A test with a cluster, ended with the test.
    """

    def setUp(self) -> None:
        """
        Begin without a cluster and without members.
        """
        super().setUp()
        self.members: list[Member] = []

    def cluster(self, count: int = 3, **settings: Any) -> Cluster:
        """
        Return a cluster that is started.
        """
        return self.prepared_cluster(count, **settings).start()

    def prepared_cluster(self, count: int = 3, **settings: Any) -> Cluster:
        """
        Return a cluster that is not started yet.
        """
        cluster = Cluster(self.folder, count, **settings)
        self.addCleanup(cluster.close)
        self.brokers += cluster.brokers
        return cluster

    def produce(self, cluster: Cluster, topic: str, partitions: int, **options: Any) -> Steady:
        """
        A new topic, and records that keep coming to it.
        """
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create(topic, partitions)
        producer = Steady(cluster.addresses, topic, partitions, **options)
        producer.start()
        self.addCleanup(producer.abandon)
        return producer

    def consume(self, cluster: Cluster, topic: str, *libraries: str) -> list[Member]:
        """
        New members of the topic's group.
        """
        come = []
        for library in libraries:
            name = f"{len(self.members)}-{library}"
            journal = str(self.folder / f"{name}.journal")
            job = Job(library, cluster.addresses, topic, topic, None, None, SHORT_MS, journal)
            member = Member(self.folder, job)
            self.addCleanup(member.clear)
            self.members.append(member)
            come.append(member)
        return come

    def assert_consumed(self, producer: Steady, members: Sequence[Member]) -> None:
        """
        All acknowledged records are processed in time, in order by each
        member, and no member ends by itself.
        """

        def missing() -> list[int]:
            seen: list[set[int]] = [set() for _ in producer.written]
            for member in members:
                for record in member.read():
                    seen[record.partition].add(record.offset)
            return [n - len(s) for n, s in zip(producer.counts(), seen, strict=True)]

        try:
            eventually(lambda: not any(missing()), 90)
        except AssertionError:
            told = "\n".join(f"--- {member}\n{member.tail()}" for member in members)
            raise AssertionError(f"not processed: {missing()}\n{told}") from None
        for member in members:
            member.stop()
            for record in member.read():
                # The producer's numbers are the offsets.
                self.assertEqual(record.value, record.offset, str(member))
