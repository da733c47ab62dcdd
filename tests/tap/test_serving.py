"""
Tests for L{kafscale.tap.serving}: how rooms are joined.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.interfaces import LogRules
from kafscale.tap.serving import follow_configs
from tests.cluster.small import SmallCluster
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
        self.cluster.now(self.cluster.topics.delete(self.topic))
        self.assertEqual(self.log.configurations, [])
