"""
Logins beside those of L{tests.clients.test_logins}: what the log says, an old librdkafka,
keys in a file, users that are managed by Kafka's tool, and brokers among themselves.
"""

from __future__ import annotations

import subprocess
import time
from typing import Any

import confluent_kafka
import confluent_kafka.admin

from kafscale.tap.users import credentials_of
from tests.access.authentication.issuer import AUDIENCE, ISSUER, RSA, jwks, token
from tests.clients.broker import Broker, BrokerTestCase, eventually, free_port
from tests.clients.cluster import ClusterTestCase
from tests.clients.kafka_tools import tools
from tests.clients.libraries import prepare_for_librdkafka
from tests.clients.logins import ADMIN, MECHANISMS, PASSWORD
from tests.clients.raw import RawClient

SECONDS = 60.0

TOOLS = """
kafka-configs.sh SERVER --alter --add-config 'SCRAM-SHA-512=[iterations=8192,password=tulip]' \
    --entity-type users --entity-name rose
kafka-configs.sh SERVER --describe --entity-type users --entity-name rose
echo hello | kafka-console-producer.sh --bootstrap-server localhost:9092 --topic rose \
    --command-config rose.properties
kafka-configs.sh SERVER --alter --delete-config SCRAM-SHA-512 --entity-type users \
    --entity-name rose
kafka-configs.sh SERVER --describe --entity-type users
"""

PROPERTIES = """
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
    username="{name}" password="{password}";
"""


def jwt(**changes: Any) -> str:
    """
    A token for C{carol}.
    """
    return token(RSA, time.time(), **changes)


class SaslTestCase(BrokerTestCase):
    """
    A broker with all mechanisms on its only listener, and the user C{admin}.
    """

    def with_sasl(self, **settings: object) -> Broker:
        """
        The broker. Its secrets are in files.
        """
        prepare_for_librdkafka()
        broker = self.prepared(use_memory_s3=1, **settings)
        (broker.folder / "keys.json").write_bytes(jwks(RSA))
        (broker.folder / "password").write_text(PASSWORD)
        broker.settings |= {
            "listeners": f"SASL_PLAINTEXT://127.0.0.1:{broker.port}",
            "sasl_enabled_mechanisms": ",".join(MECHANISMS),
            "admin_user": ADMIN,
            "admin_password_file": "password",
            "sasl_oauthbearer_jwks_endpoint_url": "keys.json",
            "sasl_oauthbearer_expected_issuer": ISSUER,
            "sasl_oauthbearer_expected_audience": AUDIENCE,
        }
        return broker.start()

    def confluent(self, broker: Broker, mechanism: str, **changes: Any) -> dict[str, Any]:
        """
        Options of confluent-kafka.
        """
        options: dict[str, Any] = {
            "bootstrap.servers": broker.address,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": mechanism,
            "log_level": 0,
        }
        if mechanism == "OAUTHBEARER":
            options["oauth_cb"] = lambda _: (jwt(), time.time() + 60)
        else:
            options |= {"sasl.username": ADMIN, "sasl.password": PASSWORD}
        return {**options, **changes}


class LibraryTests(SaslTestCase):
    """
    librdkafka.
    """

    def test_confluent(self) -> None:
        """
        confluent-kafka writes with each mechanism; with a wrong password, a mechanism
        that the broker does not have, or an expired token it hears why, and the broker's log
        says more.
        """
        broker = self.with_sasl()
        for offset, mechanism in enumerate(MECHANISMS):
            producer = confluent_kafka.Producer(self.confluent(broker, mechanism))
            found: list[Any] = []

            def delivered(_: object, message: Any, found: list[Any] = found) -> None:
                found.append((message.error(), message.offset()))

            producer.produce("t", b"x", on_delivery=delivered)
            self.assertEqual(producer.flush(SECONDS), 0)
            self.assertEqual(found, [(None, offset)])
        old = jwt(exp=time.time() - 5)
        expired: dict[str, Any] = {"oauth_cb": lambda _: (old, time.time() + 60)}
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("PLAIN", {"sasl.password": "x"}, "Invalid username or password"),
            ("PLAIN", {"sasl.username": "x"}, "Invalid username or password"),
            ("SCRAM-SHA-512", {"sasl.password": "x"}, "invalid credentials with SASL mechanism"),
            ("SCRAM-SHA-256", {"sasl.username": "x"}, "invalid credentials with SASL mechanism"),
            ("OAUTHBEARER", expired, "invalid_token"),
        ]
        for mechanism, changes, words in cases:
            errors: list[Any] = []
            options = self.confluent(broker, mechanism, **changes, error_cb=errors.append)
            producer = confluent_kafka.Producer(options)

            def failed(
                producer: Any = producer, errors: list[Any] = errors, words: str = words
            ) -> bool:
                producer.poll(0.1)
                return any(words in each.str() for each in errors)

            eventually(failed, SECONDS)
        first = f" by PLAIN as {ADMIN!r}: the password is wrong "
        self.assertTrue(broker.has_logged(first), broker.tail(50))

    def test_kcat(self) -> None:
        """
        kcat logs in with the librdkafka of its distribution, which may be years older
        (before 2.6.1 it repeats its nonce in SCRAM).
        """
        broker = self.with_sasl()
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            for password, seconds, status in ((PASSWORD, "60", 0), ("wrong", "5", 1)):
                options = {
                    "security.protocol": "SASL_PLAINTEXT",
                    "sasl.mechanism": mechanism,
                    "sasl.username": ADMIN,
                    "sasl.password": password,
                }
                words = [word for each in options.items() for word in ("-X", "=".join(each))]
                listed = subprocess.run(
                    ["kcat", "-L", "-b", broker.address, "-m", seconds, *words],
                    stdout=subprocess.PIPE, check=False,
                )  # fmt: skip
                self.assertEqual(listed.returncode, status, (mechanism, listed.stdout))


class JavaTests(SaslTestCase):
    """
    Apache Kafka's tools.
    """

    def test_users(self) -> None:
        """
        C{kafka-configs.sh} adds a user, who writes a record, and deletes it again.
        """
        broker = self.with_sasl()
        environment = tools(self.folder / "bin", "4.4")
        for name, password in ((ADMIN, PASSWORD), ("rose", "tulip")):
            text = PROPERTIES.format(name=name, password=password)
            (self.folder / f"{name}.properties").write_text(text)
        script = TOOLS.replace(
            "SERVER", "--bootstrap-server localhost:9092 --command-config admin.properties"
        ).replace("localhost:9092", broker.address)
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        described = "SCRAM credential configs for user-principal 'rose' are SCRAM-SHA-512="
        self.assertIn(f"{described}iterations=8192", done.stdout)
        self.assertNotIn(described, done.stdout.rpartition("Completed updating")[2])
        consumer = confluent_kafka.Consumer(
            {**self.confluent(broker, "PLAIN"), "group.id": "g"}
        )
        self.addCleanup(consumer.close)
        consumer.assign([confluent_kafka.TopicPartition("rose", 0, 0)])
        message = consumer.poll(SECONDS)
        assert message is not None
        self.assertEqual(message.value(), b"hello")


class ClusterTests(ClusterTestCase):
    """
    Two brokers in two racks, which log in to one another.
    """

    def test_between_brokers(self) -> None:
        """
        A consumer reads in its own rack what that broker fetches from the leader, over
        connections that are renewed every second; and a user that is added at one
        broker can log in at the other.
        """
        cluster = self.prepared_cluster(2, racks=["a", "b"])
        lines = [f"broker:{each.to_text(name)}" for name, each in credentials_of("hush").items()]
        for broker in cluster.brokers:
            (broker.folder / "users").write_text("\n".join(lines))
            broker.settings |= {
                "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},"
                f"SASL_PLAINTEXT://127.0.0.1:{free_port()}",
                "inter_broker_listener_name": "SASL_PLAINTEXT",
                "connections_max_reauth_ms": 1000,
                "users_file": "users",
                "inter_broker_user": "broker",
                "inter_broker_password": "hush",
            }
        cluster.start()
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create("t")
        eventually(lambda: cluster.leaders("t", cluster.brokers[0]) not in ([], [-1]), SECONDS)
        (leader,) = cluster.leaders("t", cluster.brokers[0])
        (other,) = (each for each in cluster.brokers if each.broker_id != leader)
        servers = {"bootstrap.servers": cluster.addresses, "log_level": 0}
        producer = confluent_kafka.Producer(servers)
        consumer = confluent_kafka.Consumer(
            {**servers, "group.id": "g", "client.rack": other.settings["broker_rack"]}
        )
        self.addCleanup(consumer.close)
        consumer.assign([confluent_kafka.TopicPartition("t", 0, 0)])
        until = time.monotonic() + SECONDS
        for number in range(30):
            producer.produce("t", b"%d" % number)
            self.assertEqual(producer.flush(SECONDS), 0)
            message = None
            while message is None or message.error() is not None:
                self.assertLess(time.monotonic(), until, "the record is not read")
                message = consumer.poll(0.1)
            self.assertEqual(message.value(), b"%d" % number)
        self.assertGreater(other.metrics()["kafscale_fetched_bytes_total"], 0)
        self.assertFalse(any(each.has_logged("was not authenticated") for each in cluster.brokers))

        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": cluster.brokers[0].address})
        upsertion = confluent_kafka.admin.UserScramCredentialUpsertion(
            "rose",
            confluent_kafka.admin.ScramCredentialInfo(
                confluent_kafka.admin.ScramMechanism.SCRAM_SHA_256, 4096
            ),
            b"tulip",
        )
        (done,) = admin.alter_user_scram_credentials([upsertion]).values()
        done.result(SECONDS)
        port = str(cluster.brokers[1].settings["listeners"]).rpartition(":")[2]
        client = confluent_kafka.admin.AdminClient(
            {
                "bootstrap.servers": f"127.0.0.1:{port}",
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "SCRAM-SHA-256",
                "sasl.username": "rose",
                "sasl.password": "tulip",
                "log_level": 0,
            }
        )
        self.assertEqual(len(client.list_topics(timeout=SECONDS).brokers), 2)
