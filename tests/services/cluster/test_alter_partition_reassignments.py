"""
AlterPartitionReassignments and ListPartitionReassignments.
"""

from __future__ import annotations

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
        Broker 7 leads two partitions of a topic. The leader of the third is gone.
        """
        super().setUp()
        topic = self.cluster.now(self.cluster.topics.create("mine", 3, {}))
        self.cluster.put_leader(topic.topic_id, 2, 8, 1)
        self.serve(AlterPartitionReassignmentsService(self.cluster.image))

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

    def test_unchanged(self) -> None:
        """
        A partition may be assigned to the replicas that it has.
        """
        for version in self.client.versions(AlterPartitionReassignmentsRequest):
            self.assertEqual(self.code("mine", 0, [7], version=version), 0)

    def test_elsewhere(self) -> None:
        """
        It cannot be assigned to other replicas.
        """
        self.assertEqual(self.code("mine", 0, [8]), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 0, []), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 0, [7, 7]), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 2, [7]), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 2, [8]), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 2, [-1]), INVALID_ASSIGNMENT)

    def test_more_replicas(self) -> None:
        """
        If the number of replicas may not change, a second replica has an error
        of its own.
        """
        self.cluster.put_broker(Broker(8, "other.example", 9092))
        self.assertEqual(self.code("mine", 0, [7, 8]), INVALID_ASSIGNMENT)
        forbids = {"allow_replication_factor_change": False}
        self.assertEqual(self.code("mine", 0, [7, 8], **forbids), INVALID_FACTOR)
        response = self.ask(("mine", 0, [7]), **forbids)
        self.assertFalse(response.allow_replication_factor_change)

    def test_cancel(self) -> None:
        """
        There is no reassignment that could be cancelled.
        """
        self.assertEqual(self.code("mine", 0, None), NOT_MOVING)

    def test_unknown(self) -> None:
        """
        Unknown topics, partitions and brokers have their errors.
        """
        response = self.ask(("none", 0, [7]), ("mine", 9, None), ("mine", 1, [7]))
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
        There is one broker.
        """
        super().setUp()
        self.serve(AlterPartitionReassignmentsService(self.cluster.image))

    def test_none(self) -> None:
        """
        No reassignment is in progress.
        """
        response = self.client.now(ListPartitionReassignmentsRequest(topics=None), 0)
        self.assertEqual((response.error_code, response.topics), (0, []))

    def test_failed(self) -> None:
        """
        The error is on top of the response.
        """
        response = self.client.failed(ListPartitionReassignmentsRequest(topics=None), 0, 7)
        self.assertEqual((response.error_code, response.topics), (7, []))
