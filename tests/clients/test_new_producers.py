"""
Idempotent producers of librdkafka, kafka-clients and aiokafka, which are new to a
partition or not any more (docs/architecture.md, Producers).
"""

from __future__ import annotations

import asyncio
import sys
import time
from base64 import b64encode
from functools import partial

import aiokafka
import aiokafka.errors

from kafscale.format.producers import read_producers
from kafscale.format.segment import whole_footer
from kafscale.wire.messages import AlterPartitionReassignmentsRequest
from tests.clients.broker import Broker, BrokerTestCase, eventually, twistd
from tests.clients.cluster import Cluster, ClusterBroker, ClusterTestCase
from tests.clients.libraries import Confluent
from tests.clients.producers import Java, Librdkafka, Producers
from tests.clients.raw import RawClient, batch_of

TOPIC = "t"

LEVEL_0 = """
from kafscale.format import levels
from twisted.scripts.twistd import run

levels.LEVELS = {name: each[:1] for name, each in levels.LEVELS.items()}
run()
"""
"""A broker that reads and writes level 0 of each stored format: states of producers have
no mark."""

CLAIM = b64encode(b"/kafscale/default/partitions/")[:-4]
"""In a commit to etcd that changes partitions. (The last characters of base64 depend on
what follows.)"""


class ProducersTestCase(BrokerTestCase):
    """
    A case with producers.

    @cvar java: The version of the kafka-clients that are tested; librdkafka if empty.
    """

    java = ""

    def producers(self, addresses: str) -> Producers:
        """
        Return producers that end with the test.
        """
        library = partial(Java, self.java) if self.java else Librdkafka
        found: Producers = library(addresses, TOPIC)
        self.addCleanup(found.close)
        return found


class KnownTestCase(ProducersTestCase):
    """
    A producer that goes on with its sequences.
    """

    def setUp(self) -> None:
        """
        Note which records must be there.
        """
        super().setUp()
        self.expected: list[str] = []

    def run_broker(self, broker: Broker) -> None:
        """
        Start a broker; a producer writes three records to a new topic.
        """
        self.subject = broker.start()
        self.client = self.connect(self.subject)
        self.topic = self.client.create(TOPIC)
        self.writing = self.producers(self.subject.address)
        self.go_on("old", 0, 3)

    def go_on(self, name: str, first: int, end: int) -> None:
        """
        Let a producer write records, all of which must be taken.
        """
        self.writing.write(name, range(first, end))
        self.writing.finish()
        self.assertEqual(self.writing.failed, [])
        self.expected += [f"{name} {number}" for number in range(first, end)]

    def make_again(self, **configs: str) -> None:
        """
        Delete the topic, and create another one of this name.
        """
        self.client.delete(TOPIC)
        self.topic = self.client.create(TOPIC, 1, **configs)
        self.expected.clear()

    def crash(self) -> None:
        """
        Kill the broker and start it again.
        """
        self.subject.kill()
        self.subject.start()
        self.client = self.connect(self.subject)

    def check(self, *before: str) -> None:
        """
        Check what is in the topic.

        @param before: Records that were written before those of L{go_on}.
        """
        stored = [(each.value or b"").decode() for each in self.client.records(TOPIC)]
        self.assertEqual(stored, [*before, *self.expected])
        self.assertEqual(len(set(self.writing.delivered)), len(self.writing.delivered))


class KnownTests(KnownTestCase):
    """
    See L{KnownTestCase}.
    """

    def test_topic_made_again(self) -> None:
        """
        The topic is deleted and made again: the producer is older than that. Another
        producer begins in it.
        """
        self.run_broker(self.prepared())
        self.make_again()
        self.go_on("old", 3, 5)
        self.check()
        self.crash()
        self.go_on("old", 5, 6)
        self.go_on("new", 0, 3)
        self.check()

    def test_records_deleted(self) -> None:
        """
        All records are deleted, and the broker is killed: the producer is still known.
        """
        self.run_broker(self.prepared())
        self.client.delete_records(TOPIC, 0, 3)
        self.expected.clear()
        self.go_on("old", 3, 4)
        self.crash()
        self.go_on("old", 4, 6)
        self.check()

    def test_forgotten(self) -> None:
        """
        The producer makes room for ten thousand others.
        """
        self.run_broker(self.prepared())
        above = self.client.producer_id() + 1
        for at in range(above, above + 10_000, 500):
            requests = [
                self.client.produce_request(
                    TOPIC, 0, batch_of([b"x"], producer_id=number, epoch=0, sequence=0)
                )
                for number in range(at, at + 500)
            ]
            sent = [(each, self.client.send(each, 9)) for each in requests]
            for request, correlation in sent:
                answer = self.client.receive(request, 9, correlation)
                self.assertEqual(answer.responses[0].partition_responses[0].error_code, 0)
        before = [*self.expected, *["x"] * 10_000]
        self.expected.clear()
        self.go_on("old", 3, 5)
        self.crash()
        self.go_on("old", 5, 6)
        self.check(*before)

    def test_upgrade(self) -> None:
        """
        An earlier broker has stored states of producers without a mark. The producer
        that is known goes on, and so does the one that has written to an earlier topic
        of this name. Another one begins.
        """
        broker = self.prepared()
        now, broker.command = broker.command, [sys.executable, "-c", LEVEL_0, *twistd()[1:]]
        self.run_broker(broker)
        self.make_again(segment_ms="200")
        self.go_on("known", 0, 3)
        eventually(lambda: self.stored_states() == (1, False))
        broker.command = now
        self.crash()
        self.go_on("known", 3, 5)
        self.go_on("old", 3, 5)
        self.go_on("new", 0, 3)
        eventually(lambda: self.stored_states() == (3, True))
        self.crash()
        for name, first in (("known", 5), ("old", 5), ("new", 3)):
            self.go_on(name, first, first + 1)
        self.check()


    def stored_states(self) -> tuple[int, bool]:
        """
        Return the number of producers in the newest segment, and whether it has a mark.
        """
        segments = self.subject.objects.sizes(f"default/topics/{self.topic}/0/")
        if not segments:
            return 0, False
        data = self.subject.objects.read(max(segments))
        states, mark = read_producers(whole_footer(data, len(data)).producers)
        return len(states), mark is not None


class Java44KnownTests(KnownTests):
    """
    The same with kafka-clients 4.4.
    """

    java = "4.4"


class Java39KnownTests(KnownTests):
    """
    The same with kafka-clients 3.9.
    """

    java = "3.9"


class RefusedTests(BrokerTestCase):
    """
    Producers of which the first batch is refused for good.
    """

    def test_aiokafka(self) -> None:
        """
        aiokafka does not use the sequence of a batch again that was too large: it goes on
        with the next one, on a topic that was just created and on one with records.
        """
        subject = self.broker()
        client = self.connect(subject)
        client.create(TOPIC)

        async def run(value: bytes) -> None:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=subject.address,
                enable_idempotence=True,
                max_request_size=5_000_000,
            )
            await producer.start()
            try:
                with self.assertRaises(aiokafka.errors.MessageSizeTooLargeError):
                    await producer.send_and_wait(TOPIC, bytes(2_000_000), partition=0)
                for _ in range(2):
                    await producer.send_and_wait(TOPIC, value, partition=0)
            finally:
                await producer.stop()

        for value in (b"0", b"1"):
            asyncio.run(asyncio.wait_for(run(value), 60))
        stored = [each.value for each in client.records(TOPIC)]
        self.assertEqual(stored, [b"0", b"0", b"1", b"1"])


class MovingTests(ClusterTestCase, ProducersTestCase):
    """
    Producers that begin while the partition moves from broker to broker.
    """

    def run_cluster(self) -> Cluster:
        """
        Start two brokers and producers.
        """
        cluster = self.cluster(2)
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create(TOPIC)
        self.writing = self.producers(cluster.addresses)
        self.names: list[str] = []
        return cluster

    def another(self, pause: float = 0.0) -> None:
        """
        Let another producer begin.

        @param pause: See L{Producers.write}.
        """
        name = f"{len(self.names)}"
        self.names.append(name)
        self.writing.write(name, range(10), pause)

    def leader(self, cluster: Cluster) -> ClusterBroker:
        """
        Return the leader of the partition, when it has one.
        """
        found: list[ClusterBroker] = []

        def has_one() -> bool:
            leaders = cluster.leaders(TOPIC)
            found.extend(each for each in cluster.brokers if [each.broker_id] == leaders)
            return bool(found)

        eventually(has_one)
        return found[0]

    def check(self, cluster: Cluster) -> None:
        """
        All records are reported as delivered. They are there once, and in the order of
        each producer.
        """
        self.assertEqual(self.writing.failed, [])
        self.assertEqual(len(self.writing.delivered), 10 * len(self.names))
        read = Confluent().read(cluster.addresses, TOPIC, 10 * len(self.names))
        stored = [(each.value or b"").decode() for each in read]
        for name in self.names:
            mine = [each for each in stored if each.startswith(f"{name} ")]
            self.assertEqual(mine, [f"{name} {n}" for n in range(10)])
        cluster.verify()

    def test_while_leaders_move(self) -> None:
        """
        The leader hands the partition over, and is killed.
        """
        cluster = self.run_cluster()
        for end in ("terminate", "kill", "terminate"):
            cluster.wait_for(cluster.brokers)
            broker = self.leader(cluster)
            broker.signal_to_stop() if end == "terminate" else broker.kill()
            for _ in range(20):
                self.another()
            self.writing.finish()
            if end == "terminate":
                self.assertEqual(broker.ended(), 0)
            broker.start()
        self.check(cluster)

    def test_leader_that_learns_late(self) -> None:
        """
        The partition moves to the other broker and back. Each time, the next leader
        learns of its claim so late that it refuses requests before; it must not take
        the later batches of a producer whose first ones it has refused.
        """
        cluster = self.run_cluster()
        first = self.leader(cluster)
        (second,) = (each for each in cluster.brokers if each is not first)
        self.move(cluster, first, second)
        self.move(cluster, second, first)
        self.check(cluster)

    def move(self, cluster: Cluster, before: ClusterBroker, after: ClusterBroker) -> None:
        """
        Move the partition from one broker to the other, which does not learn that its
        claim is committed until many producers have begun.
        """
        after.to_etcd.hold_answers(b"POST /v3/kv/txn", CLAIM)
        self.assign(before, [after.broker_id, before.broker_id])
        eventually(lambda: cluster.leaders(TOPIC, before) == [after.broker_id])
        # It lets a request wait for a second. So many producers have some of their
        # first five batches refused, and the others under way when it leads.
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            self.another(pause=0.3)
            time.sleep(0.1)
        after.to_etcd.mend()
        self.writing.finish()

    def assign(self, broker: Broker, replicas: list[int]) -> None:
        """
        Assign the partition to brokers; the first is to lead it.
        """
        kind = AlterPartitionReassignmentsRequest.Topic
        part = kind.Partition(partition_index=0, replicas=replicas)
        request = AlterPartitionReassignmentsRequest(
            topics=[kind(name=TOPIC, partitions=[part])], timeout_ms=60_000
        )
        with RawClient(broker.port) as raw:
            ((answer,),) = [each.partitions for each in raw.call(request, 1).responses]
        self.assertEqual(answer.error_code, 0)


class Java44MovingTests(MovingTests):
    """
    The same with kafka-clients 4.4.
    """

    java = "4.4"


class Java39MovingTests(MovingTests):
    """
    The same with kafka-clients 3.9.
    """

    java = "3.9"
