"""
CreateTopics.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from kafscale.interfaces import Broker
from kafscale.services.topics.create_topics import CreateTopicsService
from kafscale.wire.messages import CreateTopicsRequest
from kafscale.wire.schema import NO_UUID
from tests.services.client import ServiceCase

Topic = CreateTopicsRequest.Topic



def wanted(name: str, partitions: int = 1, replicas: int = 1, **configs: str | None) -> Topic:
    """
    A topic to create. Underscores in names of configurations are dots.
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


def assigned(name: str, *assignments: tuple[int, list[int]]) -> Topic:
    """
    A topic to create with these replicas: pairs of a partition and its brokers.
    """
    topic = wanted(name, -1, -1)
    topic.assignments = [
        Topic.Assignment(partition_index=index, broker_ids=replicas)
        for index, replicas in assignments
    ]
    return topic


class CreateTopicsTests(ServiceCase):
    """
    Creates topics.
    """

    def setUp(self) -> None:
        """
        The default is five partitions.
        """
        super().setUp()
        cluster = self.cluster
        self.serve(
            CreateTopicsService(
                cluster.image,
                cluster.topics,
                cluster.configs,
                cluster.clock,
                cluster.quotas,
                default_partitions=5,
            )
        )

    def test_quota(self) -> None:
        """
        Partitions of topics that are created count, and no others. What exceeds the
        quota is done once; from version 6 on the next topic is refused.
        """
        self.cluster.quotas.change((("client-id", "test"),), {"controller_mutation_rate": 1.0})

        def ask(version: int, *topics: Topic, validate_only: bool = False) -> Any:
            request = CreateTopicsRequest(
                topics=list(topics), timeout_ms=1000, validate_only=validate_only
            )
            response = self.client.now(request, version)
            codes = [(each.error_code, each.error_message) for each in response.topics]
            return codes, response.throttle_time_ms

        self.assertEqual(ask(7, wanted("a", 50), validate_only=True), ([(0, None)], 0))
        self.assertEqual(ask(7, wanted("a", 50)), ([(0, None)], 0))
        self.assertEqual(ask(7, wanted("b", 50), validate_only=True), ([(0, None)], 0))
        codes, throttle_ms = ask(7, wanted("b"), wanted("a"))
        self.assertEqual((codes[0], codes[1][0], throttle_ms), ((89, None), 36, 39_000))
        self.assertEqual(self.names(), ["a"])
        self.assertEqual(ask(5, wanted("b")), ([(0, None)], 40_000))
        self.cluster.clock.advance(40)
        self.assertEqual(ask(6, wanted("c", 100)), ([(0, None)], 0))

    def names(self) -> list[str]:
        """
        The topics that exist.
        """
        return [topic.name for topic in self.cluster.image.topics()]

    def ask(self, *topics: Topic, version: int = 7, **fields: Any) -> Any:
        """
        The results, by name.
        """
        request = CreateTopicsRequest(topics=list(topics), **fields)
        response = self.client.now(request, version)
        return {topic.name: topic for topic in response.topics}

    def code(self, topic: Topic, version: int = 7) -> int:
        """
        The error code for a topic, which must not exist then.
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
        The topic exists and has leaders. From version 5 on the response
        describes it.
        """
        for version in self.client.versions(CreateTopicsRequest):
            name = f"v{version}"
            result = self.ask(wanted(name, 2, retention_ms="5"), version=version)[name]
            topic = self.cluster.image.topic(name)
            self.assertEqual((result.error_code, result.error_message), (0, None))
            self.assertEqual((topic.partitions, topic.configs), (2, {"retention.ms": "5"}))
            self.assertEqual(self.cluster.image.leadership(topic.topic_id, 1).leader, 7)
            self.assertEqual(result.topic_id, topic.topic_id if version >= 7 else NO_UUID)
            described = (result.num_partitions, result.replication_factor)
            self.assertEqual(described, (2, 1) if version >= 5 else (-1, -1))
            if version >= 5:
                configs = {each.name: (each.value, each.config_source) for each in result.configs}
                self.assertEqual(configs["retention.ms"], ("5", 1))
                self.assertEqual(configs["cleanup.policy"], ("delete", 5))
                self.assertEqual(len(configs), 40)

    def test_defaults(self) -> None:
        """
        -1 is the broker's default, also in versions that had no defaults:
        kafkajs uses it there.
        """
        result = self.ask(wanted("orders", -1, -1), version=5)["orders"]
        self.assertEqual((result.error_code, result.num_partitions), (0, 5))
        self.assertEqual(self.ask(wanted("old", -1, -1), version=3)["old"].error_code, 0)
        self.assertEqual(self.code(wanted("other", 0, 1)), 37)
        self.assertEqual(self.code(wanted("other", 1, 0)), 38)

    def test_replication(self) -> None:
        """
        Any replication factor from 1 on is accepted: the store replicates.
        """
        for factor in (1, 3, 32767):
            name = f"r{factor}"
            self.assertEqual(self.ask(wanted(name, 1, factor))[name].error_code, 0)
        for factor in (0, -2):
            self.assertEqual(self.code(wanted("none", 1, factor)), 38)

    def test_refused(self) -> None:
        """
        Each error has its code and a message, and no topic is created.
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
        A configuration that is given twice is refused.
        """
        topic = wanted("none", retention_ms="1")
        topic.configs *= 2
        self.assertEqual(self.code(topic), 40)

    def test_assignments(self) -> None:
        """
        The replicas of each partition may be assigned, in any order of the partitions, to
        brokers that are alive.
        """
        self.cluster.put_broker(Broker(8, "other.example", 9092))
        for validate_only in (True, False):
            topic = assigned("orders", (1, [8, 7]), (0, [7, 8]))
            result = self.ask(topic, validate_only=validate_only)["orders"]
            described = (result.error_code, result.num_partitions, result.replication_factor)
            self.assertEqual(described, (0, 2, 2))
        self.assertEqual(self.cluster.image.topic("orders").replicas, {0: (7, 8), 1: (8, 7)})
        for version in self.client.versions(CreateTopicsRequest):
            name = f"v{version}"
            self.ask(assigned(name, (0, [8])), version=version)
            self.assertEqual(self.cluster.image.topic(name).replicas, {0: (8,)})

    def test_bad_assignments(self) -> None:
        """
        Brokers that are not alive or named twice, lists that are empty or of different
        lengths, and partitions that are missing or there twice are refused; so are numbers
        of partitions or replicas beside assignments.
        """
        self.cluster.put_broker(Broker(8, "other.example", 9092))
        bad: list[list[tuple[int, list[int]]]] = [
            [(0, [99999])],
            [(0, [7, 99999])],
            [(0, [-1])],
            [(0, [7, 7])],
            [(0, [])],
            [(0, [7]), (1, [7, 8])],
            [(0, [7]), (0, [7])],
            [(1, [7])],
            [(0, [7]), (2, [7])],
            [(0, [7]), (-1, [7])],
        ]
        for assignments in bad:
            with self.subTest(assignments=assignments):
                self.assertEqual(self.code(assigned("none", *assignments)), 39)
        for number, factor in ((1, -1), (-1, 1), (1, 1)):
            topic = assigned("none", (0, [7]))
            topic.num_partitions, topic.replication_factor = number, factor
            self.assertEqual(self.code(topic), 42)
        many = assigned("none", *((index, [7]) for index in range(10_001)))
        self.assertEqual(self.code(many), 44)

    def test_named_twice(self) -> None:
        """
        A topic that is named twice is not created, and has one result.
        """
        results = self.ask(wanted("orders"), wanted("orders", 2), wanted("other"))
        self.assertEqual(results["orders"].error_code, 42)
        self.assertEqual(self.names(), ["other"])

    def test_too_many_partitions_together(self) -> None:
        """
        The number of partitions of one request is bounded.
        """
        results = self.ask(wanted("a", 6000), wanted("b", 6000))
        self.assertEqual([each.error_code for each in results.values()], [44, 44])

    def test_validate_only(self) -> None:
        """
        The response is the same, and no topic is created.
        """
        result = self.ask(wanted("orders", 3), validate_only=True)["orders"]
        self.assertEqual((result.error_code, result.num_partitions), (0, 3))
        self.assertEqual(result.topic_id, NO_UUID)
        self.assertEqual(self.names(), [])
        result = self.ask(wanted("orders", 0), validate_only=True)["orders"]
        self.assertEqual(result.error_code, 37)

    def test_timeout(self) -> None:
        """
        A request whose time is over before there are leaders gets
        REQUEST_TIMED_OUT; the topic is created.
        """
        waiting: Deferred[None] = Deferred()
        self.patch(self.cluster, "lead", lambda topic_id, indexes: waiting)
        request = CreateTopicsRequest(topics=[wanted("orders")], timeout_ms=1000)
        answer = self.client.start(request, 7)
        self.cluster.clock.advance(1)
        self.assertEqual(self.successResultOf(answer).topics[0].error_code, 7)
        waiting.callback(None)
        self.assertEqual(self.names(), ["orders"])

    def test_no_timeout(self) -> None:
        """
        A timeout of 0 or less is none.
        """
        for number, timeout_ms in enumerate((0, -1)):
            name = f"t{number}"
            self.assertEqual(self.ask(wanted(name), timeout_ms=timeout_ms)[name].error_code, 0)

    def test_failed(self) -> None:
        """
        The error is with each topic, in every version.
        """
        request = CreateTopicsRequest(topics=[wanted("orders")])
        for version in self.client.versions(CreateTopicsRequest):
            response = self.client.failed(request, version, -1)
            self.assertEqual(response.topics[0].error_code, -1)
