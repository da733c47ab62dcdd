"""
Quotas, with Kafka's tool and real clients.
"""

from __future__ import annotations

import subprocess
from typing import Any

import confluent_kafka
import kafka

from kafscale.wire.messages import AlterClientQuotasRequest
from tests.clients.broker import eventually
from tests.clients.kafka_tools import tools
from tests.clients.operators import OperatorsTestCase

SECONDS = 60.0
RECORD = bytes(100_000)

TOOL = """
kafka-configs.sh --bootstrap-server SERVER --alter --entity-type users --entity-name rose \
    --entity-type clients --entity-default \
    --add-config producer_byte_rate=1048576,request_percentage=12.5
kafka-configs.sh --bootstrap-server SERVER --alter --entity-type ips --entity-name 10.0.0.1 \
    --add-config connection_creation_rate=20
kafka-configs.sh --bootstrap-server SERVER --describe --entity-type users --entity-name rose \
    --entity-type clients
kafka-configs.sh --bootstrap-server SERVER --describe --entity-type ips
kafka-configs.sh --bootstrap-server SERVER --alter --entity-type users --entity-name rose \
    --entity-type clients --entity-default --delete-config producer_byte_rate
kafka-configs.sh --bootstrap-server SERVER --describe --entity-type users --entity-name rose \
    --entity-type clients
"""


class QuotasTests(OperatorsTestCase):
    """
    A broker with quotas.
    """

    def exceeded(self, quota: str) -> float:
        """
        How often clients had exceeded a quota.
        """
        return self.values().get(("kafscale_quota_exceeded_total", quota), 0.0)

    def test_tool(self) -> None:
        """
        C{kafka-configs.sh} sets, shows and removes quotas of users, client ids and
        addresses.
        """
        broker = self.broker()
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", TOOL.replace("SERVER", broker.address)],
            cwd=self.folder,
            env=tools(self.folder / "bin", "4.4"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        named = "Quota configs for user-principal 'rose', the default client-id are "
        self.assertIn(named, done.stdout)
        self.assertIn("producer_byte_rate=1048576.0", done.stdout)
        self.assertIn("connection_creation_rate=20.0", done.stdout)
        last = done.stdout.rpartition("Completed updating")[2]
        self.assertIn("request_percentage=12.5", last)
        self.assertNotIn("producer_byte_rate", last)

    def test_clients(self) -> None:
        """
        A producer of librdkafka is told that it is slowed down, and a consumer of
        kafka-python gets all records, later.
        """
        broker = self.observed()
        raw = self.connect(broker)
        raw.create("t")
        for client_id, key in (("writer", "producer_byte_rate"), ("reader", "consumer_byte_rate")):
            entity = self.entity(client_id, key)
            (outcome,) = raw.call(entity, 1).entries
            self.assertEqual(outcome.error_code, 0)
        throttles: list[float] = []
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": broker.address,
                "client.id": "writer",
                "throttle_cb": lambda event: throttles.append(event.throttle_time),
            }
        )
        for _ in range(11):
            producer.produce("t", RECORD, partition=0)
            self.assertEqual(producer.flush(SECONDS), 0)
        self.assertGreater(self.exceeded("producer_byte_rate"), 0)
        eventually(lambda: producer.poll(0.1) >= 0 and any(throttles))
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=broker.address,
            client_id="reader",
            auto_offset_reset="earliest",
            consumer_timeout_ms=SECONDS * 1000,
        )
        self.addCleanup(consumer.close)
        consumer.assign([kafka.TopicPartition("t", 0)])
        for _, record in zip(range(10), consumer, strict=False):
            self.assertEqual(len(record.value), len(RECORD))
        self.assertGreater(self.exceeded("consumer_byte_rate"), 0)

    def entity(self, client_id: str, key: str) -> Any:
        """
        A request that holds a client id to 100 kB/s.
        """
        entry = AlterClientQuotasRequest.Entry
        return AlterClientQuotasRequest(
            entries=[
                entry(
                    entity=[entry.Entity(entity_type="client-id", entity_name=client_id)],
                    ops=[entry.Op(key=key, value=100_000.0, remove=False)],
                )
            ],
            validate_only=False,
        )
