"""
Requests that create, delete and describe topics, message by message, on a
real broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from kafscale.wire.messages import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeTopicPartitionsRequest,
    FetchRequest,
    MetadataRequest,
    ProduceRequest,
)
from kafscale.wire.schema import NO_UUID
from tests.clients.broker import BrokerTestCase
from tests.clients.raw import batch_of

NONE = 0
UNKNOWN_TOPIC_OR_PARTITION = 3
INVALID_TOPIC_EXCEPTION = 17
TOPIC_ALREADY_EXISTS = 36
INVALID_PARTITIONS = 37
INVALID_REPLICATION_FACTOR = 38
INVALID_REPLICA_ASSIGNMENT = 39
INVALID_CONFIG = 40
INVALID_REQUEST = 42
UNKNOWN_TOPIC_ID = 100
MISMATCHED_ENDPOINT_TYPE = 114
UNSUPPORTED_ENDPOINT_TYPE = 115

ALL_OF_CLUSTER = sum(1 << bit for bit in (5, 7, 8, 9, 10, 11, 12))
ALL_OF_TOPIC = sum(1 << bit for bit in (3, 4, 5, 6, 7, 8, 10, 11))
NOT_ASKED = -(2**31)

Creatable = CreateTopicsRequest.Topic


class TopicsTestCase(BrokerTestCase):
    """
    One broker, that gives topics three partitions by default.
    """

    def setUp(self) -> None:
        """
        No topic yet.
        """
        super().setUp()
        self.subject = self.broker(auto_create_partitions=3)
        self.client = self.connect(self.subject)

    def create(self, *wanted: Any, version: int = 7, validate_only: bool = False) -> list[Any]:
        """
        The answers of CreateTopics.
        """
        request = CreateTopicsRequest(
            topics=list(wanted), timeout_ms=10_000, validate_only=validate_only
        )
        topics: list[Any] = self.client.call(request, version).topics
        return topics

    def metadata(self, topics: Sequence[str] | None, version: int, **more: bool) -> Any:
        """
        An answer of Metadata.
        """
        asked = None if topics is None else [MetadataRequest.Topic(name=each) for each in topics]
        return self.client.call(MetadataRequest(topics=asked, **more), version)  # type: ignore[arg-type]

    def names(self) -> list[str]:
        """
        Return the names of all topics.
        """
        return [each.name for each in self.metadata(None, 12).topics]


class LifeTests(TopicsTestCase):
    """
    Topics come, grow and go.
    """

    def test_created_with_defaults(self) -> None:
        """
        What is -1 is the broker's choice; from version 5 on the answer says
        what that was. Any replication factor will do.
        """
        for version in range(8):
            (topic,) = self.create(creatable(f"v{version}", -1, -1), version=version)
            self.assertEqual(topic.error_code, NONE)
            if version >= 5:
                self.assertEqual((topic.num_partitions, topic.replication_factor), (3, 1))
                configs = {each.name: each.value for each in topic.configs}
                self.assertEqual(configs["cleanup.policy"], "delete")
                self.assertIn("retention.ms", configs)
            if version >= 7:
                self.assertNotEqual(topic.topic_id, NO_UUID)
        for factor in (1, 3, 32767):
            (topic,) = self.create(creatable(f"r{factor}", 1, factor))
            self.assertEqual(topic.error_code, NONE)

    def test_refused(self) -> None:
        """
        Each for itself, with Kafka's error; validated only, too.
        """
        self.create(creatable("there"))
        assigned = creatable("odd", -1, -1)
        assigned.assignments = [Creatable.Assignment(partition_index=0, broker_ids=[7])]
        both = creatable("odd", 1, 1)
        both.assignments = assigned.assignments
        for topic, error in (
            (creatable("there"), TOPIC_ALREADY_EXISTS),
            (creatable("odd", 0), INVALID_PARTITIONS),
            (creatable("odd", 1, 0), INVALID_REPLICATION_FACTOR),
            (creatable("a" * 250), INVALID_TOPIC_EXCEPTION),
            (creatable("odd", retention_ms="soon"), INVALID_CONFIG),
            (assigned, INVALID_REPLICA_ASSIGNMENT),
            (both, INVALID_REQUEST),
        ):
            for validate_only in (True, False):
                bad, good = self.create(
                    topic, creatable(f"good-{error}"), validate_only=validate_only
                )
                self.assertEqual(bad.error_code, error)
                self.assertTrue(bad.error_message)
                self.assertEqual(good.error_code, NONE)
                self.assertEqual(f"good-{error}" in self.names(), not validate_only)
        (twice,) = self.create(creatable("odd"), creatable("odd"))
        self.assertEqual(twice.error_code, INVALID_REQUEST)
        self.assertNotIn("odd", self.names())

    def test_grown(self) -> None:
        """
        The new partitions can be written at once.
        """
        self.create(creatable("grows", 1))
        for version, count, error in (
            (0, 2, NONE), (1, 3, NONE), (2, 4, NONE), (3, 5, NONE),
            (3, 5, INVALID_PARTITIONS), (3, 4, INVALID_PARTITIONS), (3, -1, INVALID_PARTITIONS),
        ):  # fmt: skip
            asked = CreatePartitionsRequest.Topic(name="grows", count=count, assignments=None)
            request = CreatePartitionsRequest(
                topics=[asked], timeout_ms=10_000, validate_only=False
            )
            (answer,) = self.client.call(request, version).results
            self.assertEqual(answer.error_code, error, (version, count))
            if error == NONE:
                part = self.client.produce("grows", count - 1, batch_of([b"x"]))
                self.assertEqual((part.error_code, part.base_offset), (NONE, 0))

    def test_deleted_by_id(self) -> None:
        """
        A deletion by id is answered with the name. Requests with the old id
        are refused, also when a topic of the same name exists again.
        """
        old = self.client.create("again")
        self.client.produce("again", 0, batch_of([b"old"]))
        for topic, error in (
            (DeleteTopicsRequest.Topic(topic_id=old), NONE),
            (DeleteTopicsRequest.Topic(topic_id=old), UNKNOWN_TOPIC_ID),
            (DeleteTopicsRequest.Topic(name="again"), UNKNOWN_TOPIC_OR_PARTITION),
        ):
            request = DeleteTopicsRequest(topics=[topic], timeout_ms=10_000)
            (answer,) = self.client.call(request, 6).responses
            self.assertEqual(answer.error_code, error)
            if error == NONE:
                self.assertEqual((answer.name, answer.topic_id), ("again", old))
        new = self.client.create("again")
        self.assertNotEqual(old, new)
        self.assertEqual(self.by_id(old), (UNKNOWN_TOPIC_ID,) * 3)
        self.assertEqual(self.by_id(new), (NONE,) * 3)
        self.assertEqual([each.value for each in self.client.records("again")], [b"by id"])

    def by_id(self, topic_id: UUID) -> tuple[int, int, int]:
        """
        The error codes of Metadata, Produce and Fetch of a topic by its id.
        """
        named = MetadataRequest.Topic(topic_id=topic_id, name=None)
        (topic,) = self.client.call(MetadataRequest(topics=[named]), 12).topics
        batch = memoryview(batch_of([b"by id"]))
        data = ProduceRequest.Topic(
            topic_id=topic_id,
            partition_data=[ProduceRequest.Topic.Partition(index=0, records=batch)],
        )
        produce = ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[data])
        (produced,) = self.client.call(produce, 13).responses
        position = FetchRequest.Topic.Partition(
            partition=0, fetch_offset=0, partition_max_bytes=1000
        )
        wanted = FetchRequest.Topic(topic_id=topic_id, partitions=[position])
        fetch = FetchRequest(max_wait_ms=0, min_bytes=1, topics=[wanted])
        (fetched,) = self.client.call(fetch, 13).responses
        return (
            topic.error_code,
            produced.partition_responses[0].error_code,
            fetched.partitions[0].error_code,
        )

    def test_created_by_many_at_once(self) -> None:
        """
        Metadata for a topic that others are creating has it, with leaders.
        """
        request = MetadataRequest(topics=[MetadataRequest.Topic(name="wanted")])
        clients = [self.connect(self.subject) for _ in range(20)]
        sent = [client.send(request, 12) for client in clients]
        ids = set()
        for client, correlation in zip(clients, sent, strict=True):
            (topic,) = client.receive(request, 12, correlation).topics
            self.assertEqual(topic.error_code, NONE)
            self.assertEqual([each.leader_id for each in topic.partitions], [0, 0, 0])
            ids.add(topic.topic_id)
        self.assertEqual(len(ids), 1)


class TellingTests(TopicsTestCase):
    """
    The answers to Metadata.
    """

    def test_all_or_none(self) -> None:
        """
        Null means all topics, the empty list none; in version 0, all.
        """
        self.create(creatable("a"), creatable("b"))
        names = ["__consumer_offsets", "a", "b"]
        for version in range(14):
            named = self.metadata([], version).topics
            self.assertEqual([each.name for each in named], [] if version else names)
            if version:
                everything = self.metadata(None, version).topics
                self.assertEqual([each.name for each in everything], names)

    def test_cluster(self) -> None:
        """
        The controller is among the brokers, the id is one that clients can
        print, and there is no rack; operations are included if asked for.
        """
        told = self.metadata(["x"], 8, include_cluster_authorized_operations=True)
        self.assertIn(told.controller_id, [each.node_id for each in told.brokers])
        self.assertRegex(told.cluster_id, r"\A[A-Za-z0-9_-]{22}\Z")
        self.assertEqual([each.rack for each in told.brokers], [None])
        self.assertEqual(told.throttle_time_ms, 0)
        self.assertEqual(told.cluster_authorized_operations, ALL_OF_CLUSTER)
        self.assertEqual(told.topics[0].topic_authorized_operations, NOT_ASKED)
        told = self.metadata(["x"], 8, include_topic_authorized_operations=True)
        self.assertEqual(told.cluster_authorized_operations, NOT_ASKED)
        self.assertEqual(told.topics[0].topic_authorized_operations, ALL_OF_TOPIC)

    def test_endpoint_types(self) -> None:
        """
        Brokers are described; controllers that could be asked are there none.
        """
        for version, kind, error in (
            (0, 1, NONE), (1, 1, NONE), (2, 1, NONE),
            (1, 2, MISMATCHED_ENDPOINT_TYPE), (2, 3, UNSUPPORTED_ENDPOINT_TYPE),
        ):  # fmt: skip
            request = DescribeClusterRequest(
                include_cluster_authorized_operations=True, endpoint_type=kind
            )
            answer = self.client.call(request, version)
            self.assertEqual(answer.error_code, error)
            if error == NONE:
                self.assertEqual([each.port for each in answer.brokers], [self.subject.port])
                self.assertEqual(answer.cluster_authorized_operations, ALL_OF_CLUSTER)

    def test_pages(self) -> None:
        """
        Topics page by page, each partition once, until there is no cursor; the internal
        one is among them.
        """
        self.create(creatable("a", 3), creatable("b", 1), creatable("c", 4))
        seen: list[tuple[str, int]] = []
        cursor = None
        while True:
            request = DescribeTopicPartitionsRequest(
                topics=[], response_partition_limit=2, cursor=cursor
            )
            answer = self.client.call(request, 0)
            page = [(t.name, p.partition_index) for t in answer.topics for p in t.partitions]
            self.assertLessEqual(len(page), 2)
            seen += page
            if answer.next_cursor is None:
                break
            cursor = DescribeTopicPartitionsRequest.Cursor(
                topic_name=answer.next_cursor.topic_name,
                partition_index=answer.next_cursor.partition_index,
            )
        counts = (("__consumer_offsets", 50), ("a", 3), ("b", 1), ("c", 4))
        expected = [(name, i) for name, count in counts for i in range(count)]
        self.assertEqual(seen, expected)


def creatable(name: str, partitions: int = 1, replication: int = 1, **configs: str) -> Any:
    """
    A topic to be created.
    """
    return Creatable(
        name=name,
        num_partitions=partitions,
        replication_factor=replication,
        assignments=[],
        configs=[
            Creatable.Config(name=key.replace("_", "."), value=value)
            for key, value in configs.items()
        ],
    )
