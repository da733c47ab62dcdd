"""
Tests for L{kafscale.tap.serving}: how rooms are joined.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.shards import ShardOwnership
from kafscale.config import Settings, from_environment
from kafscale.interfaces import Broker, IGroupCoordinator, LogRules
from kafscale.log.log import Log
from kafscale.tap.serving import (
    TOPIC_DEFAULTS,
    follow_configs,
    follow_shards,
    shown_offsets,
    topic_configs,
)
from tests.cluster.small import FakeCoordinator, SmallCluster
from tests.harness.coroutines import begin
from tests.log.fakes import FakeLog


class ConfiguredLog(FakeLog):
    """
    A log that records the configurations that it is given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.configurations: list[tuple[UUID, int, LogRules]] = []

    def configured(self, topic_id: UUID, partitions: int, rules: LogRules) -> None:
        """
        See L{ILog.configured}.
        """
        self.configurations.append((topic_id, partitions, rules))


class TopicConfigsTests(SynchronousTestCase):
    """
    Defaults of topics that are settings.
    """

    def test_settings(self) -> None:
        """
        A setting that was given replaces the default, and is described as the brokers'.
        """
        given = {
            "LOG_RETENTION_MS": "-1",
            "LOG_RETENTION_BYTES": "7",
            "LOG_SEGMENT_BYTES": "2MiB",
            "LOG_ROLL_MS": "8",
            "LOG_CLEANUP_POLICY": "compact,delete",
            "COMPRESSION_TYPE": "zstd",
            "MESSAGE_MAX_BYTES": "1MiB",
            "LOG_MESSAGE_TIMESTAMP_TYPE": "LogAppendTime",
            "LOG_MESSAGE_TIMESTAMP_BEFORE_MAX_MS": "9",
            "LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS": "10",
        }
        variables = {f"KAFSCALE_{name}": value for name, value in given.items()}
        settings, warnings = from_environment(variables)
        self.assertEqual(warnings, [])
        described = topic_configs(settings).describe({"retention.bytes": "5"})
        found = {each.name: (each.value, each.source) for each in described}
        self.assertEqual(
            {name: each for name, each in found.items() if each[1] != "default"},
            {
                "cleanup.policy": ("compact,delete", "broker"),
                "compression.type": ("zstd", "broker"),
                "max.message.bytes": ("1048576", "broker"),
                "message.timestamp.after.max.ms": ("10", "broker"),
                "message.timestamp.before.max.ms": ("9", "broker"),
                "message.timestamp.type": ("LogAppendTime", "broker"),
                "retention.bytes": ("5", "topic"),
                "retention.ms": ("-1", "broker"),
                "segment.bytes": ("2097152", "broker"),
                "segment.ms": ("8", "broker"),
            },
        )

    def test_none(self) -> None:
        """
        The defaults of the settings are those of the topics.
        """
        described = topic_configs(Settings()).describe({})
        self.assertEqual({each.source for each in described}, {"default"})
        values = {each.name: each.value for each in described}
        for setting, name in TOPIC_DEFAULTS.items():
            value = getattr(Settings(), setting)
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            self.assertEqual(values[name], text, setting)


class FollowShardsTests(SynchronousTestCase):
    """
    Partitions of C{__consumer_offsets} are led by the owners of shards.
    """

    def test_leaders(self) -> None:
        """
        Each partition is led by the owner of a shard, of which there are fewer, also when
        brokers come and go.
        """
        cluster = SmallCluster(self)
        log = FakeLog()
        shown = shown_offsets(cluster.image, cast(Log, log), cluster.clock)
        topic = cluster.image.topic("__consumer_offsets")
        self.assertEqual((topic.partitions, topic.topic_id.version), (50, 5))
        self.assertEqual(cast(Log, log).others, shown.partition)
        coordinator = cast(IGroupCoordinator, FakeCoordinator())
        ownership = ShardOwnership(cluster.image, coordinator, 16, cluster.clock)
        cluster.now(ownership.start(1))
        follow_shards(cluster.image, ownership)

        def leaders() -> list[int]:
            return [cluster.image.leadership(topic.topic_id, n).leader for n in range(50)]

        self.assertEqual(set(leaders()), {7})
        cluster.put_broker(Broker(7, "seven", 1))
        cluster.put_broker(Broker(8, "eight", 1))
        self.assertEqual(set(leaders()), {7, 8})
        self.assertEqual(leaders()[:16], leaders()[16:32])
        cluster.end_broker(8)
        self.assertEqual(set(leaders()), {7})


class FollowConfigsTests(SynchronousTestCase):
    """
    The log follows topics' configurations.
    """

    def setUp(self) -> None:
        """
        A topic of two partitions.
        """
        self.cluster = SmallCluster(self)
        self.log = ConfiguredLog()
        follow_configs(self.log, self.cluster.image, self.cluster.configs)
        creating = self.cluster.topics.create("new", 2, {"segment.bytes": "5000000"})
        self.topic = self.cluster.now(creating)

    def alter(self, name: str, value: str) -> list[LogRules]:
        """
        Alter the topic's configuration; return the rules that the log had been
        given when the alteration was answered.
        """
        self.log.configurations.clear()
        altering = begin(
            self.cluster.topics.alter(
                self.cluster.image.topic("new"), lambda before: {**before, name: value}
            )
        )
        found: list[Any] = []
        altering.addCallback(lambda _: found.extend(self.log.configurations))
        self.successResultOf(altering)
        for topic_id, partitions, _ in found:
            self.assertEqual((topic_id, partitions), (self.topic.topic_id, 2))
        return [rules for *_, rules in found]

    def test_created(self) -> None:
        """
        A topic that is created with a configuration of its own.
        """
        (rules,) = [rules for *_, rules in self.log.configurations]
        self.assertEqual(rules.segment_bytes, 5_000_000)

    def test_before_it_is_answered(self) -> None:
        """
        An alteration is in force in the log before it is answered.
        """
        self.assertEqual([rules.retention_ms for rules in self.alter("retention.ms", "7")], [7])

    def test_deleted(self) -> None:
        """
        The log is given no configuration of a deleted topic.
        """
        self.log.configurations.clear()
        self.cluster.delete(self.topic)
        self.assertEqual(self.log.configurations, [])
