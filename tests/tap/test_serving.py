"""
Tests for L{kafscale.tap.serving}: how rooms are joined.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.interfaces import ILog, LogRules
from kafscale.tap.serving import follow_configs
from tests.cluster.small import SmallCluster
from tests.harness.coroutines import begin


class FakeLog:
    """
    A log that keeps what it was told of configurations.
    """

    def __init__(self) -> None:
        self.told: list[tuple[UUID, int, LogRules]] = []

    def configured(self, topic_id: UUID, partitions: int, rules: LogRules) -> None:
        """
        See L{ILog.configured}.
        """
        self.told.append((topic_id, partitions, rules))


class FollowConfigsTests(SynchronousTestCase):
    """
    The log follows topics' configurations.
    """

    def setUp(self) -> None:
        """
        A topic of two partitions.
        """
        self.cluster = SmallCluster(self)
        self.log = FakeLog()
        follow_configs(cast(ILog, self.log), self.cluster.image, self.cluster.configs)
        creating = self.cluster.topics.create("new", 2, {"segment.bytes": "5000"})
        self.topic = self.cluster.now(creating)

    def alter(self, name: str, value: str) -> list[LogRules]:
        """
        Alter the topic's configuration; the rules that the log had been told
        by when the alteration was answered.
        """
        self.log.told.clear()
        altering = begin(
            self.cluster.topics.alter(
                self.cluster.image.topic("new"), lambda before: {**before, name: value}
            )
        )
        found: list[Any] = []
        altering.addCallback(lambda _: found.extend(self.log.told))
        self.successResultOf(altering)
        for topic_id, partitions, _ in found:
            self.assertEqual((topic_id, partitions), (self.topic.topic_id, 2))
        return [rules for *_, rules in found]

    def test_created(self) -> None:
        """
        A topic that is created with a configuration of its own.
        """
        self.assertEqual([rules.segment_bytes for *_, rules in self.log.told], [5000])

    def test_before_it_is_answered(self) -> None:
        """
        An alteration is in force in the log before it is answered.
        """
        self.assertEqual([rules.retention_ms for rules in self.alter("retention.ms", "7")], [7])

    def test_deleted(self) -> None:
        """
        Nothing is told of a topic that is deleted.
        """
        self.log.told.clear()
        self.cluster.now(self.cluster.topics.delete(self.topic))
        self.assertEqual(self.log.told, [])
