"""
The configurations of topics.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.cluster.topic_configs import IN_FORCE, TABLE, TopicConfigs
from kafscale.errors import InvalidConfig
from kafscale.interfaces import AppendRules, ITopicConfigs
from kafscale.wire.compression import Codec

# What Kafka 3.9 and 4.4 list for a topic, by name.
KAFKA = [
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "errors.deadletterqueue.group.enable",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.decompressed.message.bytes",
    "max.message.bytes",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.copy.lag.bytes",
    "remote.copy.lag.ms",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
]

GOOD = {
    "cleanup.policy": ("compact", "delete", "compact,delete", "delete, compact", "", " "),
    "compression.gzip.level": ("-1", "1", "9"),
    "compression.type": ("producer", "zstd", "uncompressed", "GZIP"),
    "leader.replication.throttled.replicas": ("", "*", "0:1", "0:1,1:2"),
    "errors.deadletterqueue.group.enable": ("true",),
    "max.decompressed.message.bytes": ("1", "10000000"),
    "remote.copy.lag.bytes": ("-1", "0"),
    "remote.copy.lag.ms": ("-1", "9999999999"),
    "max.message.bytes": ("0", "1048588", " 12 "),
    "message.timestamp.type": ("CreateTime", "LogAppendTime"),
    "min.cleanable.dirty.ratio": ("0", "0.5", "1.0", "5e-1"),
    "preallocate": ("true", "False"),
    "retention.ms": ("-1", "0", "9223372036854775807"),
    "segment.bytes": ("1048576", "2147483647"),
}

BAD = {
    "cleanup.policy": (",", "shred", "delete,", "delete,shred"),
    "max.decompressed.message.bytes": ("0", "2147483648"),
    "remote.copy.lag.bytes": ("-2",),
    "remote.copy.lag.ms": ("-2",),
    "compression.gzip.level": ("0", "10", "fast"),
    "compression.type": ("brotli", ""),
    "leader.replication.throttled.replicas": ("1", "a:b", "*,0:1"),
    "max.message.bytes": ("-1", "2147483648", "1_000", "١٢", "1.5", "", "0x10", "--1"),
    "message.timestamp.type": ("createtime", ""),
    "min.cleanable.dirty.ratio": ("-0.1", "1.1", "nan", "inf", "half", "0_1"),
    "min.insync.replicas": ("0",),
    "preallocate": ("yes", "1", ""),
    "retention.ms": ("-2", "9223372036854775808", "9" * 5000),
    "segment.bytes": ("1048575", "14"),
}


class CheckTests(SynchronousTestCase):
    """
    Checks of configurations.
    """

    def setUp(self) -> None:
        """
        Create the table without defaults of brokers.
        """
        self.configs = TopicConfigs()

    def test_interface(self) -> None:
        """
        The table provides its interface.
        """
        self.assertTrue(verifyObject(ITopicConfigs, self.configs))

    def test_all_that_kafka_knows(self) -> None:
        """
        All of Kafka's names are in the table, in order, with valid defaults.
        """
        self.assertEqual(list(TABLE), KAFKA)
        self.configs.check({row.name: row.default for row in TABLE.values()})

    def test_good_values(self) -> None:
        """
        Values that Kafka accepts are accepted.
        """
        for name, values in GOOD.items():
            for value in values:
                self.configs.check({name: value})

    def test_bad_values(self) -> None:
        """
        Values that Kafka refuses are refused, in a short message with the name.
        """
        for name, values in BAD.items():
            for value in values:
                with self.subTest(name=name, value=value[:20]):
                    error = self.assertRaises(InvalidConfig, self.configs.check, {name: value})
                    self.assertIn(name, str(error))
                    self.assertLess(len(str(error)), 300)

    def test_unknown_name(self) -> None:
        """
        An unknown name is refused.
        """
        error = self.assertRaises(InvalidConfig, self.configs.check, {"retention.mins": "1"})
        self.assertIn("retention.mins", str(error))

    def test_null(self) -> None:
        """
        Null is refused.
        """
        error = self.assertRaises(InvalidConfig, self.configs.check, {"retention.ms": None})
        self.assertIn("retention.ms", str(error))

    def test_stored(self) -> None:
        """
        A value that a topic has may stay, even if it would not be accepted now, or is
        not known; and it is in force.
        """
        stored = {"segment.bytes": "14", "no.such": "1"}
        self.configs.check({**stored, "retention.ms": "1"}, stored)
        self.assertRaises(InvalidConfig, self.configs.check, {"segment.bytes": "15"}, stored)
        self.assertRaises(InvalidConfig, self.configs.check, {"no.such": "2"}, stored)
        self.assertEqual(self.configs.log_rules(stored).segment_bytes, 14)

    def test_contradiction(self) -> None:
        """
        The minimum compaction lag must not exceed the maximum.
        """
        together = {"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9"}
        error = self.assertRaises(InvalidConfig, self.configs.check, together)
        self.assertIn("min.compaction.lag.ms", str(error))


class ValueTests(SynchronousTestCase):
    """
    Values in force.
    """

    def test_sources(self) -> None:
        """
        An override of the topic precedes the brokers' default, and that precedes Kafka's.
        """
        configs = TopicConfigs({"segment.bytes": "2000000", "retention.ms": "7"})
        described = {one.name: one for one in configs.describe({"retention.ms": "5"})}
        self.assertEqual(list(described), KAFKA)
        self.assertEqual(
            [
                (described[name].value, described[name].source)
                for name in ("retention.ms", "segment.bytes", "retention.bytes")
            ],
            [("5", "topic"), ("2000000", "broker"), ("-1", "default")],
        )

    def test_own_types(self) -> None:
        """
        Values have the type of their configuration.
        """
        configs = TopicConfigs()
        overrides = {"cleanup.policy": "compact, delete", "preallocate": "TRUE"}
        self.assertEqual(configs.value(overrides, "cleanup.policy"), ("compact", "delete"))
        self.assertIs(configs.value(overrides, "preallocate"), True)
        self.assertEqual(configs.value(overrides, "retention.ms"), 604_800_000)
        self.assertEqual(configs.value(overrides, "min.cleanable.dirty.ratio"), 0.5)
        self.assertRaises(KeyError, configs.value, overrides, "no.such")

    def test_bad_defaults(self) -> None:
        """
        Invalid defaults of brokers are refused at the start.
        """
        self.assertRaises(InvalidConfig, TopicConfigs, {"segment.bytes": "0"})

    def test_meanings(self) -> None:
        """
        Each description is one line.
        """
        for row in TABLE.values():
            self.assertTrue(row.meaning.endswith("."), row.name)
            self.assertNotIn("\n", row.meaning)


#: Values that are not the default, by name or else by type.
OTHER = {
    "boolean": "true",
    "int": "2000000",
    "long": "20",
    "double": "0.25",
    "list": "*",
    "cleanup.policy": "compact",
    "compression.gzip.level": "5",
    "compression.lz4.level": "5",
    "compression.zstd.level": "5",
    "compression.type": "zstd",
    "message.downconversion.enable": "false",
    "message.format.version": "2.8",
    "message.timestamp.type": "LogAppendTime",
}


class DocumentationTests(SynchronousTestCase):
    """
    The tables of topic configurations in docs/configuration.md.
    """

    def documented(self, heading: str) -> str:
        """
        Return the table below a heading.
        """
        path = Path(__file__).parents[2] / "docs" / "configuration.md"
        section = path.read_text(encoding="utf-8").split(f"\n### {heading}\n")[1]
        lines = section.split("\n#")[0].splitlines()
        return "\n".join(line for line in lines if line.startswith("|"))

    def table(self, names: Iterable[str]) -> str:
        """
        Return the table as it should be.
        """
        lines = ["| Name | Default | Meaning |", "|---|---|---|"]
        for name in sorted(names):
            row = TABLE[name]
            default = f"`{row.default}`" if row.default else "-"
            lines.append(f"| `{name}` | {default} | {row.meaning} |")
        return "\n".join(lines)

    def test_with_effect(self) -> None:
        """
        The table of configurations with an effect is complete.
        """
        self.assertEqual(self.documented("With effect"), self.table(IN_FORCE))

    def test_without(self) -> None:
        """
        The table of configurations without an effect is complete.
        """
        self.assertEqual(self.documented("Without effect"), self.table(TABLE.keys() - IN_FORCE))

    def test_in_force(self) -> None:
        """
        The configurations with an effect are those that the rules depend on.
        """
        configs = TopicConfigs()

        def effects(overrides: dict[str, str]) -> tuple[object, ...]:
            converts = configs.value(overrides, "message.downconversion.enable")
            return configs.append_rules(overrides), configs.log_rules(overrides), converts

        for name, row in TABLE.items():
            # A codec's level has an effect if the topic has that codec.
            codec = {"compression.type": name.split(".")[1]} if name.endswith(".level") else {}
            changed = codec | {name: OTHER.get(name) or OTHER[row.kind]}
            configs.check(changed)
            self.assertEqual(effects(changed) != effects(codec), name in IN_FORCE, name)


class AppendRulesTests(SynchronousTestCase):
    """
    The rules for appended batches.
    """

    def test_defaults(self) -> None:
        """
        The default rules are those of a topic without overrides.
        """
        self.assertEqual(TopicConfigs().append_rules({}), AppendRules())

    def test_each(self) -> None:
        """
        Each rule follows its configuration.
        """
        rules = TopicConfigs().append_rules(
            {
                "max.message.bytes": "100",
                "message.timestamp.type": "LogAppendTime",
                "message.timestamp.before.max.ms": "1",
                "message.timestamp.after.max.ms": "2",
                "cleanup.policy": "delete,compact",
                "max.decompressed.message.bytes": "3",
            }
        )
        self.assertEqual(
            rules,
            AppendRules(
                max_bytes=100,
                log_append_time=True,
                before_ms=1,
                after_ms=2,
                compacted=True,
                max_inflated=3,
            ),
        )

    def test_codecs(self) -> None:
        """
        Each codec has its own level, but for those without one.
        """
        levels = {f"compression.{codec}.level": "1" for codec in ("gzip", "lz4", "zstd")}
        for name, default, codec, level in (
            ("producer", None, None, None),
            ("uncompressed", None, Codec.NONE, None),
            ("snappy", None, Codec.SNAPPY, None),
            ("gzip", -1, Codec.GZIP, 1),
            ("lz4", 9, Codec.LZ4, 1),
            ("zstd", 3, Codec.ZSTD, 1),
        ):
            rules = TopicConfigs().append_rules({"compression.type": name})
            self.assertEqual((rules.codec, rules.level), (codec, default))
            rules = TopicConfigs().append_rules({"compression.type": name} | levels)
            self.assertEqual((rules.codec, rules.level), (codec, level))

    def test_older_limit(self) -> None:
        """
        The older limit of timestamps applies to both directions.
        """
        rules = TopicConfigs().append_rules({"message.timestamp.difference.max.ms": "9"})
        self.assertEqual((rules.before_ms, rules.after_ms), (9, 9))
