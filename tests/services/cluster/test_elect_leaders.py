"""
ElectLeaders, AlterPartitionReassignments and ListPartitionReassignments.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.interfaces import Broker, IAdminService
from kafscale.services.cluster.elect_leaders import PlacementService
from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
)
from tests.cluster.small import SmallCluster
from tests.services.fakes import Asking

UNKNOWN = 3
INVALID_REQUEST = 42
INVALID_FACTOR = 38
INVALID_ASSIGNMENT = 39
NOT_PREFERRED = 80
NOT_ELIGIBLE = 83
NOT_NEEDED = 84
NOT_MOVING = 85

PREFERRED, UNCLEAN = 0, 1

Asked = ElectLeadersRequest.TopicPartition


class PlacementCase(SynchronousTestCase):
    """
    Broker 7 leads two partitions of a topic; of a third the leader is gone.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.cluster = SmallCluster(self)
        topic = self.cluster.now(self.cluster.topics.create("mine", 3, {}))
        self.cluster.put_leader(topic.topic_id, 2, 8, 1)
        service = PlacementService(self.cluster.image)
        self.assertTrue(verifyObject(IAdminService, service))
        self.asking = Asking(self, service)


class ElectTests(PlacementCase):
    """
    ElectLeaders.
    """

    def ask(
        self, asked: list[Asked] | None, kind: int = PREFERRED, version: int = 2
    ) -> dict[tuple[str, int], int]:
        """
        The code of each partition that is told of; each has a message.
        """
        request = ElectLeadersRequest(
            election_type=kind if version >= 1 else PREFERRED, topic_partitions=asked
        )
        response = self.asking.now(request, version)
        self.assertEqual(response.error_code, 0)
        found = {}
        for topic in response.replica_election_results:
            for each in topic.partition_result:
                self.assertTrue(each.error_message)
                found[topic.topic, each.partition_id] = each.error_code
        return found

    def test_every_version(self) -> None:
        """
        Where a leader lives none is elected; where none does there is none to
        elect, of either kind.
        """
        asked = [Asked(topic="mine", partitions=[0, 2])]
        for version in self.asking.versions(ElectLeadersRequest):
            self.assertEqual(
                self.ask(asked, version=version),
                {("mine", 0): NOT_NEEDED, ("mine", 2): NOT_PREFERRED},
            )
        self.assertEqual(
            self.ask(asked, UNCLEAN), {("mine", 0): NOT_NEEDED, ("mine", 2): NOT_ELIGIBLE}
        )

    def test_all(self) -> None:
        """
        Who asks for all is told of those that have a need.
        """
        self.assertEqual(self.ask(None), {("mine", 2): NOT_PREFERRED})
        self.assertEqual(self.ask([]), {})

    def test_unknown(self) -> None:
        """
        What is not there.
        """
        asked = [Asked(topic="mine", partitions=[3, -1]), Asked(topic="none", partitions=[0])]
        self.assertEqual(
            self.ask(asked),
            {("mine", 3): UNKNOWN, ("mine", -1): UNKNOWN, ("none", 0): UNKNOWN},
        )

    def test_unknown_kind(self) -> None:
        """
        There are two kinds of elections.
        """
        request = ElectLeadersRequest(election_type=2, topic_partitions=None)
        failure = self.failureResultOf(self.asking.start(request, 2))
        self.assertEqual(failure.value.code, INVALID_REQUEST)

    def test_failed(self) -> None:
        """
        When the request failed, it is told so, and each partition, which is
        all that version 0 knows.
        """
        request = ElectLeadersRequest(topic_partitions=[Asked(topic="mine", partitions=[0, 1])])
        for version in self.asking.versions(ElectLeadersRequest):
            response = self.asking.failed(request, version, 7)
            self.assertEqual(response.error_code, 7 if version >= 1 else 0)
            (topic,) = response.replica_election_results
            self.assertEqual([each.error_code for each in topic.partition_result], [7, 7])
        response = self.asking.failed(ElectLeadersRequest(topic_partitions=None), 2, 7)
        self.assertEqual(response.replica_election_results, [])


class MoveTests(PlacementCase):
    """
    AlterPartitionReassignments.
    """

    def ask(self, *moves: tuple[str, int, list[int] | None], version: int = 1, **named: Any) -> Any:
        """
        The response to these moves: topic, partition, brokers.
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
        return self.asking.now(request, version)

    def code(self, *move: Any, **named: Any) -> int:
        """
        Of one move; an error has a message.
        """
        response = self.ask(move, **named)
        self.assertEqual(response.error_code, 0)
        ((partition,),) = [topic.partitions for topic in response.responses]
        self.assertEqual(bool(partition.error_message), partition.error_code != 0)
        code: int = partition.error_code
        return code

    def test_where_it_is(self) -> None:
        """
        A partition may be told to be where it is.
        """
        for version in self.asking.versions(AlterPartitionReassignmentsRequest):
            self.assertEqual(self.code("mine", 0, [7], version=version), 0)

    def test_elsewhere(self) -> None:
        """
        It can be nowhere else.
        """
        self.assertEqual(self.code("mine", 0, [8]), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 0, []), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 0, [7, 7]), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 2, [7]), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 2, [8]), INVALID_ASSIGNMENT)
        self.assertEqual(self.code("mine", 2, [-1]), INVALID_ASSIGNMENT)

    def test_more_replicas(self) -> None:
        """
        There is one replica; who forbids another number is told so.
        """
        self.cluster.put_broker(Broker(8, "other.example", 9092))
        self.assertEqual(self.code("mine", 0, [7, 8]), INVALID_ASSIGNMENT)
        forbids = {"allow_replication_factor_change": False}
        self.assertEqual(self.code("mine", 0, [7, 8], **forbids), INVALID_FACTOR)
        response = self.ask(("mine", 0, [7]), **forbids)
        self.assertFalse(response.allow_replication_factor_change)

    def test_cancel(self) -> None:
        """
        Nothing is under way that could be taken back.
        """
        self.assertEqual(self.code("mine", 0, None), NOT_MOVING)

    def test_unknown(self) -> None:
        """
        What is not there, beside what is.
        """
        response = self.ask(("none", 0, [7]), ("mine", 9, None), ("mine", 1, [7]))
        codes = [topic.partitions[0].error_code for topic in response.responses]
        self.assertEqual(codes, [UNKNOWN, UNKNOWN, 0])

    def test_failed(self) -> None:
        """
        When the request failed, it is told so.
        """
        for version in self.asking.versions(AlterPartitionReassignmentsRequest):
            response = self.asking.failed(
                AlterPartitionReassignmentsRequest(topics=[]), version, 7
            )
            self.assertEqual((response.error_code, response.error_message), (7, "words"))


class ListTests(PlacementCase):
    """
    ListPartitionReassignments.
    """

    def test_none(self) -> None:
        """
        None are under way.
        """
        response = self.asking.now(ListPartitionReassignmentsRequest(topics=None), 0)
        self.assertEqual((response.error_code, response.topics), (0, []))

    def test_failed(self) -> None:
        """
        When the request failed, it is told so.
        """
        response = self.asking.failed(ListPartitionReassignmentsRequest(topics=None), 0, 7)
        self.assertEqual((response.error_code, response.topics), (7, []))
