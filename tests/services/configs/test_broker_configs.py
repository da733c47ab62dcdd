"""
The configuration of a broker, as DescribeConfigs shows it.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.quotas.windows import SAMPLES
from kafscale.cluster.topic_configs import TopicConfigs
from kafscale.config import SETTINGS, Settings, from_environment
from kafscale.interfaces import Broker
from kafscale.net.guard import MOST_BYTES
from kafscale.services.configs import broker_configs as module
from kafscale.services.configs.broker_configs import BrokerConfig, broker_configs

#: What tools look for: Kafka UI, Streams, Connect, the issue tracker of each.
LOOKED_FOR = (
    "advertised.listeners",
    "auto.create.topics.enable",
    "broker.id",
    "default.replication.factor",
    "delete.topic.enable",
    "inter.broker.protocol.version",
    "kafscale.cache.bytes",
    "kafscale.flush.interval.ms",
    "kafscale.readahead.segments",
    "kafscale.s3.bucket",
    "kafscale.s3.endpoint",
    "kafscale.s3.region",
    "kafscale.segment.bytes",
    "listeners",
    "log.cleanup.policy",
    "log.retention.ms",
    "message.max.bytes",
    "min.insync.replicas",
    "node.id",
    "num.partitions",
)


def described(
    broker: Broker | None = None, topics: dict[str, str] | None = None, **variables: str
) -> dict[str, BrokerConfig]:
    """
    The configurations of a broker with these variables, by name.
    """
    environment = {f"KAFSCALE_{name}": value for name, value in variables.items()}
    settings, _ = from_environment(environment, {})
    broker = broker or Broker(settings.broker_id, "kafka.example", 9093)
    return {each.name: each for each in broker_configs(settings, broker, TopicConfigs(topics))}


class BrokerConfigsTests(SynchronousTestCase):
    """
    Tests of `broker_configs`.
    """

    def test_needed_by_tools(self) -> None:
        """
        All configurations that tools look for are there, each with
        documentation.
        """
        found = described()
        self.assertEqual([name for name in LOOKED_FOR if name not in found], [])
        for config in found.values():
            self.assertTrue(config.meaning, config.name)
            self.assertNotIn("`", config.meaning)
        self.assertEqual(list(found), sorted(found))

    def test_every_setting(self) -> None:
        """
        Every setting is there under its own name.
        """
        found = described()
        for setting in SETTINGS:
            self.assertIn("kafscale." + setting.name.replace("_", "."), found)

    def test_sources(self) -> None:
        """
        The source is C{broker} if a setting was given, else C{default}. Both
        names of a setting show the same.
        """
        found = described(BROKER_ID="3", SEGMENT_BYTES="1MiB", AUTO_CREATE_TOPICS="no")
        for name, value, kind, source in (
            ("broker.id", "3", "int", "broker"),
            ("kafscale.broker.id", "3", "long", "broker"),
            ("node.id", "3", "int", "broker"),
            ("kafscale.segment.bytes", "1048576", "long", "broker"),
            ("auto.create.topics.enable", "false", "boolean", "broker"),
            ("kafscale.cache.bytes", "67108864", "long", "default"),
            ("num.partitions", "1", "int", "default"),
            ("log.dirs", "./kafscale-data", "list", "default"),
        ):
            config = found[name]
            self.assertEqual((config.value, config.kind, config.source), (value, kind, source))

    def test_unset(self) -> None:
        """
        A setting that was not given and has no default has no value: a rack,
        for one.
        """
        self.assertIsNone(described()["broker.rack"].value)
        self.assertEqual(described(BROKER_RACK="a")["broker.rack"].value, "a")

    def test_listeners(self) -> None:
        """
        The listener, and the address that is advertised; also for IPv6.
        """
        found = described(BROKER_ADDR="[::1]:0", broker=Broker(0, "::1", 4711))
        self.assertEqual(found["advertised.listeners"].value, "PLAINTEXT://[::1]:4711")
        self.assertEqual(found["listeners"].value, "PLAINTEXT://[::1]:4711")
        found = described(BROKER_ADDR="127.0.0.1:9000")
        self.assertEqual(found["advertised.listeners"].value, "PLAINTEXT://kafka.example:9093")
        self.assertEqual(found["listeners"].value, "PLAINTEXT://127.0.0.1:9000")

    def test_defaults_of_topics(self) -> None:
        """
        Defaults of topics are configurations of brokers, as in Kafka.
        """
        found = described(topics={"retention.ms": "5"})
        self.assertEqual(
            (found["log.retention.ms"].value, found["log.retention.ms"].source), ("5", "broker")
        )
        self.assertEqual(found["message.max.bytes"].value, "1048588")
        self.assertEqual(found["log.cleaner.min.compaction.lag.ms"].source, "default")

    def test_secrets(self) -> None:
        """
        The value of a secret is not shown, whether it is set or not; that of a setting with
        a similar name is.
        """
        found = described(METRICS_TOKEN="hush", SSL_KEY_PASSWORD="hush", USERS_FILE="u")
        for name, value, source, sensitive in (
            ("kafscale.metrics.token", None, "broker", True),
            ("kafscale.ssl.key.password", None, "broker", True),
            ("ssl.key.password", None, "broker", True),
            ("kafscale.admin.password", None, "default", True),
            ("kafscale.users.file", "u", "broker", False),
        ):
            config = found[name]
            self.assertEqual(
                (config.value, config.source, config.sensitive), (value, source, sensitive)
            )
            self.assertEqual(config.kind, "password" if sensitive else "string")
        secrets = [each for each in SETTINGS if each.secret]
        everything = described(None, None, **{each.name.upper(): "hush" for each in secrets})
        self.assertGreater(len(secrets), 4)
        self.assertNotIn("hush", str(everything))

    def test_security(self) -> None:
        """
        Listeners, mechanisms and certificates, under Kafka's names and with its types.
        """
        found = described(
            broker=Broker(0, "a", 1, listeners=(("IN", "a", 1), ("OUT-SIDE", "b", 2))),
            LISTENERS="IN://:1,OUT-SIDE://:2",
            LISTENER_SECURITY_PROTOCOL_MAP="IN:SASL_SSL,OUT-SIDE:SSL",
            SSL_CERT="tls.crt",
            SSL_CA="ca.crt",
            LISTENER_NAME_OUT_SIDE_SSL_CLIENT_AUTH="required",
            LISTENER_NAME_IN_SSL_KEY_PASSWORD="hush",
            SASL_ENABLED_MECHANISMS="PLAIN,SCRAM-SHA-256",
            MAX_CONNECTIONS_PER_IP_OVERRIDES="10.0.0.1:5,10.0.0.2:0",
        )
        for name, value, kind in (
            ("listeners", "IN://:1,OUT-SIDE://:2", "list"),
            ("advertised.listeners", "IN://a:1,OUT-SIDE://b:2", "list"),
            ("listener.security.protocol.map", "IN:SASL_SSL,OUT-SIDE:SSL", "string"),
            ("inter.broker.listener.name", "IN", "string"),
            ("ssl.keystore.location", "tls.crt", "string"),
            ("ssl.keystore.type", "PEM", "string"),
            ("ssl.truststore.location", "ca.crt", "string"),
            ("ssl.client.auth", "none", "string"),
            ("listener.name.out-side.ssl.client.auth", "required", "string"),
            ("kafscale.listener.name.out-side.ssl.client.auth", "required", "string"),
            ("listener.name.in.ssl.key.password", None, "password"),
            ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256", "list"),
            ("max.connections.per.ip.overrides", "10.0.0.1:5,10.0.0.2:0", "string"),
            ("sasl.server.max.receive.size", str(MOST_BYTES), "int"),
            ("quota.window.num", str(SAMPLES), "int"),
        ):
            self.assertEqual((found[name].value, found[name].kind), (value, kind), name)
        self.assertNotIn("listener.name.in.ssl.client.auth", found)

    def test_authorizer(self) -> None:
        """
        Its class, and what Kafka hides of it.
        """
        found = described()
        self.assertEqual(found["authorizer.class.name"].value, "")
        self.assertNotIn("super.users", found)
        found = described(AUTHORIZER="acl", SUPER_USERS="User:a;User:b")
        name = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        self.assertEqual(found["authorizer.class.name"].value, name)
        hidden = found["super.users"]
        self.assertEqual((hidden.value, hidden.kind, hidden.sensitive), (None, "unknown", True))
        self.assertEqual(found["kafscale.super.users"].value, "User:a,User:b")

    def test_documented(self) -> None:
        """
        docs/configuration.md has Kafka's names of settings.
        """
        path = Path(__file__).parents[3] / "docs" / "configuration.md"
        lines = path.read_text(encoding="utf-8").splitlines()
        for setting, name in module.KAFKA_NAMES.items():
            self.assertIn(f"| `{name}` | `KAFSCALE_{setting.upper()}` |", lines)
            self.assertTrue(hasattr(Settings(), setting))
