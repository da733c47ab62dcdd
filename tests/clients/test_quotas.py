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
configs() { kafka-configs.sh --bootstrap-server SERVER "$@"; }
configs --alter --entity-type users --entity-name rose --entity-type clients --entity-default \
    --add-config producer_byte_rate=1048576,request_percentage=12.5
configs --alter --entity-type ips --entity-name 10.0.0.1 --add-config connection_creation_rate=20
configs --command-config client.properties --alter --user rose --client app \
    --add-config-file quotas.properties
configs --alter --user-defaults --client-defaults --add-config consumer_byte_rate=2048
configs --alter --user-defaults --add-config consumer_byte_rate=4096
configs --alter --client-defaults --add-config controller_mutation_rate=2.5
configs --alter --ip-defaults --add-config connection_creation_rate=30
echo '== rose'
configs --describe --entity-type users --entity-name rose --entity-type clients
echo '== defaults'
configs --describe --user-defaults
configs --describe --user-defaults --client-defaults
configs --describe --client-defaults --all
echo '== ips'
configs --describe --entity-type ips
configs --describe --ip 10.0.0.1
echo '== rest'
configs --alter --entity-type users --entity-name rose --entity-type clients --entity-default \
    --delete-config producer_byte_rate
configs --alter --ip-defaults --delete-config connection_creation_rate
configs --describe --user rose --client-defaults
configs --describe --ip-defaults
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
        (self.folder / "client.properties").write_text("client.id=tool\n")
        (self.folder / "quotas.properties").write_text(
            "producer_byte_rate=1024\ncontroller_mutation_rate=1.5\n"
        )
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
        parts = dict(part.split("\n", 1) for part in done.stdout.split("== ")[1:])
        rose = "Quota configs for user-principal 'rose', "
        default = f"{rose}the default client-id are "
        app = f"{rose}client-id 'app' are controller_mutation_rate=1.5, producer_byte_rate=1024.0"
        self.assertEqual(
            set(parts["rose"].splitlines()),
            {f"{default}producer_byte_rate=1048576.0, request_percentage=12.5", app},
        )
        self.assertEqual(
            parts["defaults"].splitlines(),
            [
                "Quota configs for the default user-principal are consumer_byte_rate=4096.0",
                "Quota configs for the default user-principal, the default client-id are"
                " consumer_byte_rate=2048.0",
                "Quota configs for the default client-id are controller_mutation_rate=2.5",
            ],
        )
        one = "Quota configs for ip '10.0.0.1' are connection_creation_rate=20.0"
        others = "Quota configs for the default ip are connection_creation_rate=30.0"
        self.assertEqual(sorted(parts["ips"].splitlines()), sorted([one, others, one]))
        left = parts["rest"].rpartition("Completed updating")[2].splitlines()[1:]
        self.assertEqual(left[0], f"{default}request_percentage=12.5")
        self.assertNotIn("connection_creation_rate", "".join(left))

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
