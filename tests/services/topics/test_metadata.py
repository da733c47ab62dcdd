"""
Metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch
from uuid import UUID

from twisted.internet.defer import Deferred

from kafscale import errors
from kafscale.interfaces import Broker, Topic
from kafscale.services.topics.metadata import MetadataService
from kafscale.wire.messages import (
    MetadataRequest,
)
from kafscale.wire.schema import NO_UUID
from tests.cluster.small import BROKER, CLUSTER_ID
from tests.harness.coroutines import begin
from tests.services.client import ServiceCase, ServiceClient

#: The value of the operations if the request does not ask for them.
NO_OPERATIONS = -(2**31)


class MetadataTests(ServiceCase):
    """
    Describes brokers and topics.
    """

    def setUp(self) -> None:
        """
        Topics C{a}, with two partitions, and C{b}, with one.
        """
        super().setUp()
        self.a = self.cluster.now(self.cluster.topics.create("a", 2, {}))
        self.b = self.cluster.now(self.cluster.topics.create("b", 1, {}))
        self.make()

    def make(self, auto_create: bool = True) -> None:
        """
        A service whose requests may create topics, or not.
        """
        self.serve(MetadataService(self.cluster.image, self.cluster.topics, auto_create, 3))

    def request(self, *names: str | UUID, **fields: Any) -> MetadataRequest:
        """
        A request for topics by name or by id.
        """
        topics = [
            MetadataRequest.Topic(name=None, topic_id=each)
            if isinstance(each, UUID)
            else MetadataRequest.Topic(name=each)
            for each in names
        ]
        return MetadataRequest(**{"topics": topics, **fields})

    def ask(self, *names: str | UUID, version: int = 13, **fields: Any) -> Any:
        """
        The response.
        """
        return self.client.now(self.request(*names, **fields), version)

    def names(self, response: Any) -> list[str]:
        """
        The names of the topics in a response.
        """
        return [topic.name for topic in response.topics]

    def test_every_version(self) -> None:
        """
        The response has brokers, controller, cluster and leaders.
        """
        for version in self.client.versions(MetadataRequest):
            response = self.ask("a", version=version)
            (broker,) = response.brokers
            self.assertEqual(
                (broker.node_id, broker.host, broker.port), (7, "broker.example", 9092)
            )
            self.assertIsNone(broker.rack)
            # It is in the list of brokers, and never -1.
            self.assertEqual(response.controller_id, 7 if version >= 1 else -1)
            self.assertEqual(response.cluster_id, CLUSTER_ID if version >= 2 else None)
            (topic,) = response.topics
            self.assertEqual((topic.error_code, topic.name), (0, "a"))
            self.assertEqual(topic.topic_id, self.a.topic_id if version >= 10 else NO_UUID)
            self.assertEqual([each.partition_index for each in topic.partitions], [0, 1])
            partition = topic.partitions[0]
            self.assertEqual(partition.leader_epoch, 0 if version >= 7 else -1)
            self.assertEqual(
                (partition.leader_id, partition.replica_nodes, partition.isr_nodes),
                (7, [7], [7]),
            )

    def test_all(self) -> None:
        """
        Null means all topics, and in version 0 the empty list, too.
        """
        for version in range(1, 14):
            self.assertEqual(self.names(self.ask(topics=None, version=version)), ["a", "b"])
        self.assertEqual(self.names(self.ask(version=0)), ["a", "b"])

    def test_none(self) -> None:
        """
        From version 1 on the empty list means none, and creates nothing.
        """
        for version in range(1, 14):
            self.assertEqual(self.names(self.ask(version=version)), [])

    def test_created_by_request(self) -> None:
        """
        A topic that a request creates is durable and has its partitions when it
        is answered.
        """
        (topic,) = self.ask("new").topics
        self.assertEqual((topic.error_code, len(topic.partitions)), (0, 3))
        self.assertEqual([each.leader_id for each in topic.partitions], [7, 7, 7])
        self.assertEqual(self.cluster.image.topic("new").topic_id, topic.topic_id)

    def test_not_allowed_by_client(self) -> None:
        """
        From version 4 on the client says whether its request creates topics;
        before, it does.
        """
        (topic,) = self.ask("new", allow_auto_topic_creation=False).topics
        self.assertEqual((topic.error_code, topic.partitions), (3, []))
        (topic,) = self.ask("new", version=3).topics
        self.assertEqual(topic.error_code, 0)

    def test_not_allowed_by_broker(self) -> None:
        """
        The setting of the broker overrides the client.
        """
        self.make(auto_create=False)
        (topic,) = self.ask("new").topics
        self.assertEqual((topic.error_code, topic.name), (3, "new"))
        self.assertEqual(len(self.cluster.image.topics()), 2)

    def test_created_by_another(self) -> None:
        """
        Of two requests that create a topic the second gets what the first has
        created.
        """
        image = self.cluster.image

        class Late:
            check_name = staticmethod(self.cluster.topics.check_name)

            async def create(self, name: str, partitions: int, configs: Any) -> Topic:
                await topics.create(name, 1, {})
                raise errors.TopicAlreadyExists

        topics = self.cluster.topics
        self.client = ServiceClient(self, MetadataService(image, Late(), True, 3))  # type: ignore[arg-type]
        (topic,) = self.ask("new").topics
        self.assertEqual((topic.error_code, len(topic.partitions)), (0, 1))

    def test_being_created(self) -> None:
        """
        A request for a topic that is being created waits for leaders, too; one
        for a topic that had leaders does not.
        """
        waiting: list[Deferred[None]] = []

        async def slow(topic_id: UUID, indexes: Sequence[int]) -> None:
            waiting.append(Deferred())
            await waiting[-1]
            for index in indexes:
                self.cluster.put_leader(topic_id, index, BROKER.broker_id, 0)

        self.patch(self.cluster, "lead", slow)
        creating = begin(self.cluster.topics.create("new", 2, {}))
        asked = self.client.start(self.request("new"), 12)
        self.assertNoResult(asked)
        for each in waiting:
            each.callback(None)
        self.successResultOf(creating)
        (topic,) = self.successResultOf(asked).topics
        self.assertEqual([each.leader_id for each in topic.partitions], [7, 7])
        self.cluster.put_leader(topic.topic_id, 1, -1, 0, 0)
        (topic,) = self.ask("new").topics
        self.assertEqual([each.leader_id for each in topic.partitions], [7, -1])

    def test_bad_name(self) -> None:
        """
        An invalid name is error 17, also if no topic would be created.
        """
        for name in ("", "..", "a/b", "x" * 250):
            (topic,) = self.ask(name).topics
            self.assertEqual((topic.error_code, topic.name), (17, name))
        (topic,) = self.ask("a b", allow_auto_topic_creation=False).topics
        self.assertEqual(topic.error_code, 17)

    def test_by_id(self) -> None:
        """
        A topic named by id is answered with its name, whatever name the request has; an
        unknown id is error 100, without a name.
        """
        for version in (12, 13):
            for name in (None, "", "a", "none"):
                for topic_id, code, found in ((self.b.topic_id, 0, "b"), (UUID(int=9), 100, None)):
                    asked = MetadataRequest.Topic(name=name, topic_id=topic_id)
                    (topic,) = self.ask(topics=[asked], version=version).topics
                    self.assertEqual((topic.error_code, topic.name), (code, found))
                    self.assertEqual(topic.topic_id, topic_id)

    def test_id_beside_names(self) -> None:
        """
        If one topic is named by id, those that are not are left out.
        """
        self.assertEqual(self.names(self.ask("a", self.b.topic_id, "none")), ["b"])

    def test_id_too_early(self) -> None:
        """
        Before version 12 topics have no ids in requests: all are refused.
        """
        topics = [
            MetadataRequest.Topic(name="a"),
            MetadataRequest.Topic(name="b", topic_id=self.b.topic_id),
        ]
        for version in (10, 11):
            asking = self.client.start(self.request(topics=topics), version)
            code = self.failureResultOf(asking).value.code
            refused = self.client.failed(self.request(topics=topics), version, code).topics
            codes = [(each.name, each.error_code) for each in refused]
            self.assertEqual(codes, [("a", 42), ("b", 42)])

    def test_named_twice(self) -> None:
        """
        A topic that is named twice is described once.
        """
        self.assertEqual(self.names(self.ask("b", "a", "b")), ["b", "a"])

    def test_operations(self) -> None:
        """
        On request all authorized operations, else the smallest number.
        """
        response = self.ask(
            "a",
            "a/b",
            version=8,
            include_topic_authorized_operations=True,
            include_cluster_authorized_operations=True,
        )
        operations = [topic.topic_authorized_operations for topic in response.topics]
        self.assertEqual(operations, [3576, 3576])
        self.assertEqual(response.cluster_authorized_operations, 8096)
        response = self.ask("a", version=8)
        self.assertEqual(response.topics[0].topic_authorized_operations, NO_OPERATIONS)
        self.assertEqual(response.cluster_authorized_operations, NO_OPERATIONS)

    def test_no_leader(self) -> None:
        """
        A partition whose leader is not alive, or that has had none yet, is
        LEADER_NOT_AVAILABLE.
        """
        self.cluster.leaderless = True
        self.cluster.now(self.cluster.topics.create("c", 2, {}))
        self.cluster.put_leader(self.cluster.image.topic("c").topic_id, 1, 8, 4)
        (topic,) = self.ask("c").topics
        self.assertEqual(topic.error_code, 0)
        self.assertEqual([each.error_code for each in topic.partitions], [5, 5])
        self.assertEqual([each.leader_id for each in topic.partitions], [-1, -1])
        self.assertEqual([each.offline_replicas for each in topic.partitions], [[], [8]])

    def test_other_brokers(self) -> None:
        """
        All live brokers are listed, with their racks.
        """
        self.cluster.put_broker(Broker(8, "eight", 1, "r"))
        response = self.ask()
        self.assertEqual(
            [(each.node_id, each.rack) for each in response.brokers], [(7, None), (8, "r")]
        )

    def test_internal(self) -> None:
        """
        A topic with the name of one of Kafka's internal topics is internal. It is not
        created; one that an earlier version has created is described.
        """
        (topic,) = self.ask("__consumer_offsets").topics
        self.assertEqual((topic.error_code, topic.partitions), (17, []))
        (topic,) = self.ask("__consumer_offsets", allow_auto_topic_creation=False).topics
        self.assertEqual(topic.error_code, 3)
        with patch("kafscale.cluster.topics.INTERNAL_TOPICS", ()):
            self.cluster.now(self.cluster.topics.create("__consumer_offsets", 1, {}))
        (topic, other) = self.ask("__consumer_offsets", "a").topics
        self.assertEqual((topic.is_internal, other.is_internal), (True, False))

    def test_failed(self) -> None:
        """
        The error is with each topic, in every version. The brokers are listed
        all the same.
        """
        for version in self.client.versions(MetadataRequest):
            response = self.client.failed(self.request("a"), version, -1)
            self.assertEqual((response.topics[0].error_code, len(response.brokers)), (-1, 1))
        response = self.client.failed(self.request(UUID(int=3)), 10, -1)
        self.assertEqual(response.topics[0].name, "")
