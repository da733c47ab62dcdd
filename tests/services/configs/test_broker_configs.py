"""
The configuration of a broker, as DescribeConfigs shows it.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.topic_configs import TopicConfigs
from kafscale.config import SETTINGS, Settings, from_environment
from kafscale.interfaces import Broker
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
            ("broker.id", "3", "long", "broker"),
            ("kafscale.broker.id", "3", "long", "broker"),
            ("node.id", "3", "long", "broker"),
            ("kafscale.segment.bytes", "1048576", "long", "broker"),
            ("auto.create.topics.enable", "false", "boolean", "broker"),
            ("kafscale.cache.bytes", "67108864", "long", "default"),
            ("num.partitions", "1", "long", "default"),
            ("log.dirs", "./kafscale-data", "string", "default"),
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
        The value of a setting whose name is that of a secret is not shown; that
        of one with a similar name is.
        """
        self.patch(
            module,
            "_FIXED",
            (
                ("node.id", "", "long", "Its id."),
                ("kafscale.s3.secret.key", "hush", "string", "A secret."),
                ("kafscale.proxy.password", "", "string", "None."),
                ("kafscale.secretary", "Ann", "string", "A name."),
            ),
        )
        found = described()
        for name, value, sensitive in (
            ("kafscale.s3.secret.key", None, True),
            ("kafscale.proxy.password", "", True),
            ("kafscale.secretary", "Ann", False),
        ):
            self.assertEqual((found[name].value, found[name].sensitive), (value, sensitive))

    def test_documented(self) -> None:
        """
        docs/configuration.md has Kafka's names of settings.
        """
        path = Path(__file__).parents[3] / "docs" / "configuration.md"
        lines = path.read_text(encoding="utf-8").splitlines()
        for setting, name in module.KAFKA_NAMES.items():
            self.assertIn(f"| `{name}` | `KAFSCALE_{setting.upper()}` |", lines)
            self.assertTrue(hasattr(Settings(), setting))
