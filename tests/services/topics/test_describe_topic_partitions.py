"""
DescribeTopicPartitions.
"""

from __future__ import annotations

from typing import Any

from kafscale import errors
from kafscale.services.topics.describe_topic_partitions import DescribeTopicPartitionsService
from kafscale.wire.messages import DescribeTopicPartitionsRequest
from tests.services.client import ServiceCase


class DescribeTopicPartitionsTests(ServiceCase):
    """
    Describes topics in pages.
    """

    def setUp(self) -> None:
        """
        Topics C{a}, with two partitions, and C{b}, with one.
        """
        super().setUp()
        self.cluster.now(self.cluster.topics.create("a", 2, {}))
        self.b = self.cluster.now(self.cluster.topics.create("b", 1, {}))
        self.serve(DescribeTopicPartitionsService(self.cluster.image, self.cluster.topics))

    def ask(
        self, *names: str, limit: int = 2000, cursor: tuple[str, int] | None = None
    ) -> tuple[list[tuple[str, int, list[int]]], tuple[str, int] | None]:
        """
        Name, error code and partitions of each topic, and the next cursor.
        """
        start = cursor and DescribeTopicPartitionsRequest.Cursor(
            topic_name=cursor[0], partition_index=cursor[1]
        )
        request = DescribeTopicPartitionsRequest(
            topics=[DescribeTopicPartitionsRequest.Topic(name=name) for name in names],
            response_partition_limit=limit,
            cursor=start,
        )
        response = self.client.now(request, 0)
        topics = [
            (topic.name, topic.error_code, [each.partition_index for each in topic.partitions])
            for topic in response.topics
        ]
        after = response.next_cursor
        return topics, after and (after.topic_name, after.partition_index)

    def test_all(self) -> None:
        """
        An empty list means all topics, by name.
        """
        self.assertEqual(self.ask(), ([("a", 0, [0, 1]), ("b", 0, [0])], None))

    def test_some(self) -> None:
        """
        The topics of the request, by name. Unknown and invalid names have their
        errors.
        """
        topics, after = self.ask("b", "none", "../b", "b")
        self.assertEqual(topics, [("../b", 17, []), ("b", 0, [0]), ("none", 3, [])])
        self.assertIsNone(after)

    def test_pages(self) -> None:
        """
        The pages together have every partition once.
        """
        pages: list[list[tuple[str, int, list[int]]]] = []
        cursor = None
        while not pages or cursor is not None:
            topics, cursor = self.ask(limit=1, cursor=cursor)
            pages.append(topics)
        self.assertEqual(pages, [[("a", 0, [0])], [("a", 0, [1])], [("b", 0, [0])]])

    def test_no_limit(self) -> None:
        """
        A page has at least one partition, whatever its limit.
        """
        for limit in (0, -1):
            self.assertEqual(self.ask(limit=limit), ([("a", 0, [0])], ("a", 1)))

    def test_cursor_of_a_deleted_topic(self) -> None:
        """
        If the topic of the cursor was deleted, the next topic is described from
        its first partition on.
        """
        topics, _ = self.ask(cursor=("aa", 5))
        self.assertEqual(topics, [("b", 0, [0])])

    def test_invalid(self) -> None:
        """
        A negative index is refused.
        """
        self.cluster_request(
            cursor=DescribeTopicPartitionsRequest.Cursor(topic_name="a", partition_index=-1)
        )

    def cluster_request(self, **fields: Any) -> None:
        """
        Check that a request is refused as a whole.
        """
        names = [DescribeTopicPartitionsRequest.Topic(name="a")]
        request = DescribeTopicPartitionsRequest(topics=names, **fields)
        self.failureResultOf(self.client.start(request, 0), errors.InvalidRequest)
        response = self.client.failed(request, 0, 42)
        self.assertEqual(response.topics[0].error_code, 42)

    def test_details(self) -> None:
        """
        Partitions are as in Metadata. There are no eligible leader replicas.
        """
        response = self.client.now(DescribeTopicPartitionsRequest(topics=[]), 0)
        topic = response.topics[1]
        self.assertEqual(
            (topic.topic_id, topic.topic_authorized_operations), (self.b.topic_id, 3576)
        )
        (partition,) = topic.partitions
        self.assertEqual((partition.leader_id, partition.isr_nodes), (7, [7]))
        self.assertEqual((partition.eligible_leader_replicas, partition.last_known_elr), ([], []))
