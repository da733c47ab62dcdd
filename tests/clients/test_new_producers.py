"""
Idempotent producers of librdkafka and aiokafka, which are new to a partition or not any more
(docs/architecture.md, Producers).
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiokafka
import aiokafka.errors
import confluent_kafka

from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.cluster import Cluster, ClusterBroker, ClusterTestCase
from tests.clients.libraries import Confluent
from tests.clients.raw import RawClient

TOPIC = "t"


class Producer:
    """
    An idempotent producer with small batches, so that several are under way.

    @ivar delivered: The values of the records that were reported as delivered.
    @ivar failed: The errors of the others.
    """

    def __init__(self, addresses: str) -> None:
        """
        @param addresses: The addresses of brokers.
        """
        self.delivered: list[bytes] = []
        self.failed: list[str] = []
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": addresses,
                "enable.idempotence": True,
                "batch.num.messages": 2,
                "linger.ms": 0,
                "allow.auto.create.topics": False,
                "log_level": 0,
            }
        )

    def send(self, *values: bytes) -> None:
        """
        Send records to partition 0, and return before they are acknowledged.
        """
        for value in values:
            self._producer.produce(TOPIC, value, partition=0, on_delivery=self._reported)

    def finish(self) -> None:
        """
        Return when all records are reported.
        """
        left = self._producer.flush(90)
        assert left == 0, f"{left} records were not reported"

    def _reported(self, error: Any, message: Any) -> None:
        if error is None:
            self.delivered.append(message.value())
        else:
            self.failed.append(str(error))


class KnownTests(BrokerTestCase):
    """
    A producer that goes on with its sequences.
    """

    def setUp(self) -> None:
        """
        A producer has written three records.
        """
        super().setUp()
        self.subject = self.broker()
        self.client = self.connect(self.subject)
        self.client.create(TOPIC)
        self.producer = Producer(self.subject.address)
        self.go_on(b"0", b"1", b"2")

    def go_on(self, *values: bytes) -> None:
        """
        Let the producer write records, all of which must be taken.
        """
        self.producer.send(*values)
        self.producer.finish()
        self.assertEqual(self.producer.failed, [])

    def stored(self) -> list[bytes | None]:
        """
        Return the values in the partition.
        """
        return [each.value for each in self.client.records(TOPIC)]

    def test_topic_made_again(self) -> None:
        """
        The topic is deleted and made again: the producer is older than that. Another
        producer begins in it.
        """
        self.client.delete(TOPIC)
        self.client.create(TOPIC)
        self.go_on(b"3", b"4")
        self.assertEqual(self.stored(), [b"3", b"4"])
        self.subject.kill()
        self.subject.start()
        self.go_on(b"5")
        self.producer = Producer(self.subject.address)
        self.go_on(b"6", b"7", b"8")
        self.client = self.connect(self.subject)
        self.assertEqual(self.stored(), [b"3", b"4", b"5", b"6", b"7", b"8"])

    def test_records_deleted(self) -> None:
        """
        All records are deleted, and the broker is killed: the producer is still known.
        """
        self.client.delete_records(TOPIC, 0, 3)
        self.go_on(b"3")
        self.subject.kill()
        self.subject.start()
        self.go_on(b"4", b"5")
        self.client = self.connect(self.subject)
        self.assertEqual(self.stored(), [b"3", b"4", b"5"])


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


class MovingTests(ClusterTestCase):
    """
    Producers that begin while the partition moves from broker to broker.
    """

    def leader(self, cluster: Cluster) -> ClusterBroker:
        """
        Return the leader of the partition, when it has one.
        """
        eventually(lambda: cluster.leaders(TOPIC) != [-1])
        (leader,) = cluster.leaders(TOPIC)
        return next(each for each in cluster.brokers if each.broker_id == leader)

    def test_while_leaders_move(self) -> None:
        """
        All that is reported as delivered is there once, and in the order of each
        producer: while the leader hands the partition over, and while it is killed.
        """
        cluster = self.cluster(2)
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create(TOPIC)
        producers: list[Producer] = []
        for end in ("terminate", "kill", "terminate"):
            cluster.wait_for(cluster.brokers)
            broker = self.leader(cluster)
            broker.signal_to_stop() if end == "terminate" else broker.kill()
            for _ in range(20):
                producer = Producer(cluster.addresses)
                number = len(producers)
                producer.send(*(b"%d %d" % (number, n) for n in range(10)))
                producers.append(producer)
            for producer in producers[-20:]:
                producer.finish()
            if end == "terminate":
                self.assertEqual(broker.ended(), 0)
            broker.start()
        for producer in producers:
            self.assertEqual(producer.failed, [])
            self.assertEqual(len(producer.delivered), 10)
        read = Confluent().read(cluster.addresses, TOPIC, 10 * len(producers))
        stored = [each.value or b"" for each in read]
        for number in range(len(producers)):
            mine = [each for each in stored if each.startswith(b"%d " % number)]
            self.assertEqual(mine, [b"%d %d" % (number, n) for n in range(10)])
        cluster.verify()
