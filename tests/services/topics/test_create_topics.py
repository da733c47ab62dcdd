"""
CreateTopics, DeleteTopics and CreatePartitions.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.interfaces import IAdminService
from kafscale.services.topics.create_topics import TopicsService
from kafscale.wire.messages import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
)
from kafscale.wire.schema import NO_UUID
from tests.cluster.small import SmallCluster
from tests.services.fakes import Asking

Topic = CreateTopicsRequest.Topic


class TopicsCase(SynchronousTestCase):
    """
    A cluster of one broker, where C{-1} means five partitions.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.cluster = SmallCluster(self)
        self.image = self.cluster.image
        service = TopicsService(
            self.image,
            self.cluster.topics,
            self.cluster.configs,
            self.cluster.clock,
            default_partitions=5,
        )
        self.assertTrue(verifyObject(IAdminService, service))
        self.asking = Asking(self, service)

    def names(self) -> list[str]:
        """
        The topics that there are.
        """
        return [topic.name for topic in self.image.topics()]


def wanted(name: str, partitions: int = 1, replicas: int = 1, **configs: str | None) -> Topic:
    """
    A topic to create; an underscore in a configuration's name is a dot.
    """
    return Topic(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        assignments=[],
        configs=[
            Topic.Config(name=key.replace("_", "."), value=value) for key, value in configs.items()
        ],
    )


class CreateTopicsTests(TopicsCase):
    """
    Creating topics.
    """

    def ask(self, *topics: Topic, version: int = 7, **fields: Any) -> Any:
        """
        The results, by name.
        """
        request = CreateTopicsRequest(topics=list(topics), **fields)
        response = self.asking.now(request, version)
        return {topic.name: topic for topic in response.topics}

    def code(self, topic: Topic, version: int = 7) -> int:
        """
        The code with which one is refused; it is not there then.
        """
        before = self.names()
        (result,) = self.ask(topic, version=version).values()
        self.assertEqual(self.names(), before)
        self.assertEqual((result.topic_id, result.num_partitions), (NO_UUID, -1))
        if version >= 1:
            self.assertTrue(result.error_message)
        code: int = result.error_code
        return code

    def test_every_version(self) -> None:
        """
        It is there, and led; from version 5 on the answer describes it.
        """
        for version in self.asking.versions(CreateTopicsRequest):
            name = f"v{version}"
            result = self.ask(wanted(name, 2, retention_ms="5"), version=version)[name]
            topic = self.image.topic(name)
            self.assertEqual((result.error_code, result.error_message), (0, None))
            self.assertEqual((topic.partitions, topic.configs), (2, {"retention.ms": "5"}))
            self.assertEqual(self.image.leadership(topic.topic_id, 1).leader, 7)
            self.assertEqual(result.topic_id, topic.topic_id if version >= 7 else NO_UUID)
            described = (result.num_partitions, result.replication_factor)
            self.assertEqual(described, (2, 1) if version >= 5 else (-1, -1))
            if version >= 5:
                configs = {each.name: (each.value, each.config_source) for each in result.configs}
                self.assertEqual(configs["retention.ms"], ("5", 1))
                self.assertEqual(configs["cleanup.policy"], ("delete", 5))
                self.assertEqual(len(configs), 36)

    def test_defaults(self) -> None:
        """
        -1 leaves it to the broker, also in versions that knew no defaults:
        kafkajs relies on that.
        """
        result = self.ask(wanted("orders", -1, -1), version=5)["orders"]
        self.assertEqual((result.error_code, result.num_partitions), (0, 5))
        self.assertEqual(self.ask(wanted("old", -1, -1), version=3)["old"].error_code, 0)
        self.assertEqual(self.code(wanted("other", 0, 1)), 37)
        self.assertEqual(self.code(wanted("other", 1, 0)), 38)

    def test_replication(self) -> None:
        """
        Any factor from 1 on is fine: the store replicates.
        """
        for factor in (1, 3, 32767):
            name = f"r{factor}"
            self.assertEqual(self.ask(wanted(name, 1, factor))[name].error_code, 0)
        for factor in (0, -2):
            self.assertEqual(self.code(wanted("none", 1, factor)), 38)

    def test_refused(self) -> None:
        """
        Each with its code and a message, and nothing is made.
        """
        self.ask(wanted("orders"), wanted("a.b"))
        for topic, code in (
            (wanted("orders"), 36),
            (wanted("../up"), 17),
            (wanted(""), 17),
            (wanted("a_b"), 17),
            (wanted("none", 0), 37),
            (wanted("none", -2), 37),
            (wanted("none", 10_001), 44),
            (wanted("none", 2**31 - 1), 44),
            (wanted("none", retention_ms="soon"), 40),
            (wanted("none", no_such="1"), 40),
            (wanted("none", retention_ms=None), 40),
        ):
            with self.subTest(topic=topic):
                self.assertEqual(self.code(topic), code)

    def test_config_twice(self) -> None:
        """
        Of two values for one configuration neither is taken.
        """
        topic = wanted("none", retention_ms="1")
        topic.configs *= 2
        self.assertEqual(self.code(topic), 40)

    def test_assignments(self) -> None:
        """
        Brokers share partitions by themselves.
        """
        topic = wanted("none", -1, -1)
        topic.assignments = [Topic.Assignment(partition_index=0, broker_ids=[7])]
        self.assertEqual(self.code(topic), 39)
        topic.num_partitions = 1
        self.assertEqual(self.code(topic), 42)

    def test_named_twice(self) -> None:
        """
        Neither is made, and there is one answer.
        """
        results = self.ask(wanted("orders"), wanted("orders", 2), wanted("other"))
        self.assertEqual(results["orders"].error_code, 42)
        self.assertEqual(self.names(), ["other"])

    def test_too_many_partitions_together(self) -> None:
        """
        What one request may create is bounded.
        """
        results = self.ask(wanted("a", 6000), wanted("b", 6000))
        self.assertEqual([each.error_code for each in results.values()], [44, 44])

    def test_validate_only(self) -> None:
        """
        It is answered as if it were made.
        """
        result = self.ask(wanted("orders", 3), validate_only=True)["orders"]
        self.assertEqual((result.error_code, result.num_partitions), (0, 3))
        self.assertEqual(result.topic_id, NO_UUID)
        self.assertEqual(self.names(), [])
        result = self.ask(wanted("orders", 0), validate_only=True)["orders"]
        self.assertEqual(result.error_code, 37)

    def test_timeout(self) -> None:
        """
        Who waits no longer for leaders is told so; the topic is made.
        """
        waiting: Deferred[None] = Deferred()
        self.patch(self.cluster.topics, "_led", lambda topic_id, indexes: waiting)
        request = CreateTopicsRequest(topics=[wanted("orders")], timeout_ms=1000)
        answer = self.asking.start(request, 7)
        self.cluster.clock.advance(1)
        self.assertEqual(self.successResultOf(answer).topics[0].error_code, 7)
        waiting.callback(None)
        self.assertEqual(self.names(), ["orders"])

    def test_no_timeout(self) -> None:
        """
        0 and less mean that the client does not care.
        """
        for number, timeout_ms in enumerate((0, -1)):
            name = f"t{number}"
            self.assertEqual(self.ask(wanted(name), timeout_ms=timeout_ms)[name].error_code, 0)

    def test_failed(self) -> None:
        """
        As a whole, in every version.
        """
        request = CreateTopicsRequest(topics=[wanted("orders")])
        for version in self.asking.versions(CreateTopicsRequest):
            response = self.asking.failed(request, version, -1)
            self.assertEqual(response.topics[0].error_code, -1)


class DeleteTopicsTests(TopicsCase):
    """
    Deleting topics.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        super().setUp()
        for name in ("a", "b"):
            self.cluster.now(self.cluster.topics.create(name, 1, {}))

    def request(self, version: int, *topics: str | UUID | tuple[str, UUID]) -> DeleteTopicsRequest:
        """
        Topics by name, by id, or by both.
        """
        if version < 6:
            return DeleteTopicsRequest(topic_names=[str(each) for each in topics], timeout_ms=1000)
        states = []
        for each in topics:
            if isinstance(each, UUID):
                states.append(DeleteTopicsRequest.Topic(topic_id=each))
            elif isinstance(each, str):
                states.append(DeleteTopicsRequest.Topic(name=each))
            else:
                states.append(DeleteTopicsRequest.Topic(name=each[0], topic_id=each[1]))
        return DeleteTopicsRequest(topics=states, timeout_ms=1000)

    def ask(self, version: int, *topics: str | UUID | tuple[str, UUID]) -> list[Any]:
        """
        The results.
        """
        return list(self.asking.now(self.request(version, *topics), version).responses)

    def test_every_version(self) -> None:
        """
        It is gone when it is answered.
        """
        for version in self.asking.versions(DeleteTopicsRequest):
            name = f"v{version}"
            topic = self.cluster.now(self.cluster.topics.create(name, 1, {}))
            (result,) = self.ask(version, name)
            self.assertEqual((result.error_code, result.name), (0, name))
            self.assertEqual(result.topic_id, topic.topic_id if version >= 6 else NO_UUID)
            self.assertEqual(self.names(), ["a", "b"])

    def test_by_id(self) -> None:
        """
        The answer has the name.
        """
        (result,) = self.ask(6, self.image.topic("a").topic_id)
        self.assertEqual((result.error_code, result.name), (0, "a"))
        self.assertEqual(self.names(), ["b"])

    def test_unknown(self) -> None:
        """
        By name 3, by id 100; the others go.
        """
        results = self.ask(6, "none", UUID(int=9), "a")
        self.assertEqual([each.error_code for each in results], [3, 100, 0])
        self.assertEqual([each.name for each in results], ["none", None, "a"])

    def test_senseless(self) -> None:
        """
        Both name and id, or neither.
        """
        both = ("a", self.image.topic("a").topic_id)
        results = self.ask(6, both, NO_UUID)
        self.assertEqual([each.error_code for each in results], [42, 42])
        self.assertEqual(self.names(), ["a", "b"])

    def test_named_twice(self) -> None:
        """
        It stays, and there is one answer.
        """
        results = self.ask(5, "a", "a")
        self.assertEqual([each.error_code for each in results], [42])
        self.assertEqual(self.names(), ["a", "b"])

    def test_failed(self) -> None:
        """
        As a whole, in every version.
        """
        for version in self.asking.versions(DeleteTopicsRequest):
            response = self.asking.failed(self.request(version, "a"), version, -1)
            self.assertEqual([each.error_code for each in response.responses], [-1])


class CreatePartitionsTests(TopicsCase):
    """
    Adding partitions.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        super().setUp()
        self.cluster.now(self.cluster.topics.create("orders", 2, {}))

    def request(
        self, *names: str, count: int, assigned: bool = False, validate_only: bool = False
    ) -> CreatePartitionsRequest:
        """
        All are to have so many partitions.
        """
        kind = CreatePartitionsRequest.Topic
        assignments = [kind.Assignment(broker_ids=[7])] if assigned else None
        topics = [kind(name=name, count=count, assignments=assignments) for name in names]
        return CreatePartitionsRequest(topics=topics, timeout_ms=1000, validate_only=validate_only)

    def ask(self, *names: str, version: int = 3, **fields: Any) -> list[int]:
        """
        The codes; each error has a message.
        """
        response = self.asking.now(self.request(*names, **fields), version)
        for result in response.results:
            self.assertEqual(bool(result.error_message), result.error_code != 0)
        return [result.error_code for result in response.results]

    def test_every_version(self) -> None:
        """
        The count is that of all partitions.
        """
        for version in self.asking.versions(CreatePartitionsRequest):
            self.assertEqual(self.ask("orders", version=version, count=3 + version), [0])
            self.assertEqual(self.image.topic("orders").partitions, 3 + version)

    def test_refused(self) -> None:
        """
        Each with its code, and nothing grows.
        """
        for names, fields, code in (
            (["none"], {"count": 3}, 3),
            (["orders"], {"count": 2}, 37),
            (["orders"], {"count": 1}, 37),
            (["orders"], {"count": 0}, 37),
            (["orders"], {"count": 2**31 - 1}, 44),
            (["orders"], {"count": 3, "assigned": True}, 39),
            (["orders", "orders"], {"count": 3}, 42),
        ):
            self.assertEqual(self.ask(*names, **fields), [code])
        self.assertEqual(self.image.topic("orders").partitions, 2)

    def test_validate_only(self) -> None:
        """
        It is checked, and nothing grows.
        """
        self.assertEqual(self.ask("orders", count=3, validate_only=True), [0])
        self.assertEqual(self.ask("orders", count=2, validate_only=True), [37])
        self.assertEqual(self.image.topic("orders").partitions, 2)

    def test_failed(self) -> None:
        """
        As a whole, in every version.
        """
        for version in self.asking.versions(CreatePartitionsRequest):
            response = self.asking.failed(self.request("orders", count=3), version, -1)
            self.assertEqual([each.error_code for each in response.results], [-1])
