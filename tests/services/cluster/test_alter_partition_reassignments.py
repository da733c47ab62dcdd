"""
AlterPartitionReassignments and ListPartitionReassignments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafscale.interfaces import Broker
from kafscale.services.cluster.alter_partition_reassignments import (
    AlterPartitionReassignmentsService,
)
from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    ListPartitionReassignmentsRequest,
)
from tests.services.client import ServiceCase

UNKNOWN = 3
INVALID_FACTOR = 38
INVALID_ASSIGNMENT = 39
NOT_MOVING = 85



class AlterTests(ServiceCase):
    """
    AlterPartitionReassignments.
    """

    def setUp(self) -> None:
        """
        Broker 7 leads two partitions of a topic. The leader of the third is gone. Broker 8
        serves.
        """
        super().setUp()
        self.cluster.put_broker(Broker(8, "other.example", 9092))
        self.topic = self.cluster.now(self.cluster.topics.create("mine", 3, {}))
        self.cluster.put_leader(self.topic.topic_id, 2, 9, 1)
        cluster = self.cluster
        self.serve(
            AlterPartitionReassignmentsService(cluster.image, cluster.topics, cluster.clock)
        )

    def ask(self, *moves: tuple[str, int, list[int] | None], version: int = 1, **named: Any) -> Any:
        """
        The response to these reassignments of topic, partition and replicas.
        """
        topic = AlterPartitionReassignmentsRequest.Topic
        request = AlterPartitionReassignmentsRequest(
            topics=[
                topic(
                    name=name,
                    partitions=[topic.Partition(partition_index=index, replicas=replicas)],
                )
                for name, index, replicas in moves
            ],
            **named,
        )
        return self.client.now(request, version)

    def code(self, *move: Any, **named: Any) -> int:
        """
        The error code of one reassignment. Each error has a message.
        """
        response = self.ask(move, **named)
        self.assertEqual(response.error_code, 0)
        ((partition,),) = [topic.partitions for topic in response.responses]
        self.assertEqual(bool(partition.error_message), partition.error_code != 0)
        code: int = partition.error_code
        return code

    def replicas(self) -> dict[int, Sequence[int]]:
        """
        The replicas that are assigned.
        """
        return dict(self.cluster.image.topic("mine").replicas)

    def test_assigned(self) -> None:
        """
        The replicas are assigned: to the present leader, to another broker, and of a
        partition without a leader.
        """
        for version in self.client.versions(AlterPartitionReassignmentsRequest):
            self.assertEqual(self.code("mine", 0, [7], version=version), 0)
        self.assertEqual(self.code("mine", 1, [8, 7]), 0)
        self.assertEqual(self.code("mine", 2, [8]), 0)
        self.assertEqual(self.replicas(), {0: (7,), 1: (8, 7), 2: (8,)})

    def test_invalid(self) -> None:
        """
        Lists that are empty, name a broker twice, or one that is not alive, are refused.
        """
        for replicas in ([], [7, 7], [9], [7, 9], [-1]):
            self.assertEqual(self.code("mine", 0, replicas), INVALID_ASSIGNMENT)
        self.assertEqual(self.replicas(), {})

    def test_more_replicas(self) -> None:
        """
        If the number of replicas may not change, another number has an error of its own.
        """
        forbids = {"allow_replication_factor_change": False}
        self.assertEqual(self.code("mine", 0, [7, 8], **forbids), INVALID_FACTOR)
        self.assertEqual(self.code("mine", 0, [7, 8]), 0)
        self.assertEqual(self.code("mine", 0, [8], **forbids), INVALID_FACTOR)
        self.assertEqual(self.code("mine", 0, [8, 7], **forbids), 0)
        response = self.ask(("mine", 1, [8]), **forbids)
        self.assertFalse(response.allow_replication_factor_change)

    def test_cancel(self) -> None:
        """
        A reassignment that is under way can be cancelled, once.
        """
        self.assertEqual(self.code("mine", 0, None), NOT_MOVING)
        self.assertEqual(self.code("mine", 0, [8]), 0)
        self.assertEqual(self.code("mine", 0, None), 0)
        self.assertEqual(self.replicas(), {})
        self.assertEqual(self.code("mine", 0, None), NOT_MOVING)

    def test_unknown(self) -> None:
        """
        Unknown topics, partitions and brokers have their errors.
        """
        response = self.ask(("none", 0, [7]), ("mine", 3, None), ("mine", 1, [7]))
        codes = [topic.partitions[0].error_code for topic in response.responses]
        self.assertEqual(codes, [UNKNOWN, UNKNOWN, 0])

    def test_failed(self) -> None:
        """
        The error is on top of the response.
        """
        for version in self.client.versions(AlterPartitionReassignmentsRequest):
            response = self.client.failed(
                AlterPartitionReassignmentsRequest(topics=[]), version, 7
            )
            self.assertEqual((response.error_code, response.error_message), (7, "words"))


class ListTests(ServiceCase):
    """
    ListPartitionReassignments.
    """

    def setUp(self) -> None:
        """
        Broker 7 leads two topics of two partitions, and broker 8 serves.
        """
        super().setUp()
        self.cluster.put_broker(Broker(8, "other.example", 9092))
        self.cluster.put_broker(Broker(9, "third.example", 9092))
        topics = self.cluster.topics
        self.plain = self.cluster.now(topics.create("plain", 2, {}))
        self.pinned = self.cluster.create_assigned("pinned", [[7, 8], [7, 8]])
        cluster = self.cluster
        self.serve(
            AlterPartitionReassignmentsService(cluster.image, cluster.topics, cluster.clock)
        )

    def ask(self, *named: tuple[str, list[int]]) -> dict[tuple[str, int], tuple[list[int], ...]]:
        """
        The reassignments under way of these topics and partitions, or of all: the
        replicas, those to add and those to remove.
        """
        kind = ListPartitionReassignmentsRequest.Topic
        topics = [kind(name=name, partition_indexes=indexes) for name, indexes in named]
        response = self.client.now(ListPartitionReassignmentsRequest(topics=topics or None), 0)
        self.assertEqual(response.error_code, 0)
        return {
            (topic.name, each.partition_index): (
                each.replicas,
                each.adding_replicas,
                each.removing_replicas,
            )
            for topic in response.topics
            for each in topic.partitions
        }

    def test_none(self) -> None:
        """
        No reassignment is in progress.
        """
        self.assertEqual(self.ask(), {})
        self.assertEqual(self.ask(("plain", [0]), ("none", [0]), ("pinned", [-1, 2])), {})

    def test_under_way(self) -> None:
        """
        A reassignment is listed until the leader has moved.
        """
        self.cluster.now(self.cluster.topics.reassign(self.plain, {1: [8, 9]}))
        self.cluster.now(self.cluster.topics.reassign(self.pinned, {0: [9, 8], 1: [7]}))
        plain, pinned = ("plain", 1), ("pinned", 0)
        expected = {plain: ([8, 9, 7], [8, 9], [7]), pinned: ([9, 8, 7], [9], [7])}
        self.assertEqual(self.ask(), expected)
        self.assertEqual(self.ask(("pinned", [0, 1])), {pinned: expected[pinned]})
        self.cluster.put_leader(self.plain.topic_id, 1, -1, 0)
        self.assertEqual(self.ask()[plain], ([8, 9], [8, 9], []))
        self.cluster.put_leader(self.plain.topic_id, 1, 8, 1)
        self.assertEqual(self.ask(), {pinned: expected[pinned]})

    def test_failed(self) -> None:
        """
        The error is on top of the response.
        """
        response = self.client.failed(ListPartitionReassignmentsRequest(topics=None), 0, 7)
        self.assertEqual((response.error_code, response.topics), (7, []))
