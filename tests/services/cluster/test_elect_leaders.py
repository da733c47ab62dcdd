"""
ElectLeaders.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred

from kafscale.interfaces import Broker, Phase, Topic
from kafscale.services.cluster.elect_leaders import ElectLeadersService
from kafscale.wire.messages import (
    ElectLeadersRequest,
)
from tests.services.client import ServiceCase

UNKNOWN = 3
TIMED_OUT = 7
INVALID_REQUEST = 42
INVALID_FACTOR = 38
INVALID_ASSIGNMENT = 39
NOT_PREFERRED = 80
NOT_ELIGIBLE = 83
NOT_NEEDED = 84
NOT_MOVING = 85

PREFERRED, UNCLEAN = 0, 1

Asked = ElectLeadersRequest.TopicPartition


class ElectLeadersTests(ServiceCase):
    """
    Refuses elections that are not needed, and waits for preferred leaders.
    """

    def setUp(self) -> None:
        """
        Broker 7 leads two partitions of a topic. The leader of the third is gone.
        """
        super().setUp()
        topic = self.cluster.now(self.cluster.topics.create("mine", 3, {}))
        self.cluster.put_leader(topic.topic_id, 2, 8, 1)
        self.waits: list[tuple[UUID, int, int]] = []
        self.led: Deferred[None] = Deferred()
        self.serve(
            ElectLeadersService(self.cluster.image, self.wait_for_leader, self.cluster.clock)
        )

    async def wait_for_leader(self, *wanted: Any) -> None:
        """
        See L{WaitForLeader}.
        """
        self.waits.append(wanted)
        await self.led

    def ask(
        self, asked: list[Asked] | None, kind: int = PREFERRED, version: int = 2
    ) -> dict[tuple[str, int], int]:
        """
        The error code of each partition. Each has a message.
        """
        request = ElectLeadersRequest(
            election_type=kind if version >= 1 else PREFERRED, topic_partitions=asked
        )
        response = self.client.now(request, version)
        self.assertEqual(response.error_code, 0)
        found = {}
        for topic in response.replica_election_results:
            for each in topic.partition_result:
                self.assertTrue(each.error_message)
                found[topic.topic, each.partition_id] = each.error_code
        return found

    def test_every_version(self) -> None:
        """
        A partition with a living leader needs no election. For one without
        there is no eligible leader, whichever the election type.
        """
        asked = [Asked(topic="mine", partitions=[0, 2])]
        for version in self.client.versions(ElectLeadersRequest):
            self.assertEqual(
                self.ask(asked, version=version),
                {("mine", 0): NOT_NEEDED, ("mine", 2): NOT_PREFERRED},
            )
        self.assertEqual(
            self.ask(asked, UNCLEAN), {("mine", 0): NOT_NEEDED, ("mine", 2): NOT_ELIGIBLE}
        )

    def test_all(self) -> None:
        """
        A request for all partitions is answered for those without a leader.
        """
        self.assertEqual(self.ask(None), {("mine", 2): NOT_PREFERRED})
        self.assertEqual(self.ask([]), {})

    def assigned(self, *replicas: list[int]) -> Topic:
        """
        Create a topic with these replicas, which broker 7 leads, while broker 8 serves.
        """
        self.cluster.put_broker(Broker(8, "other.example", 9092))
        return self.cluster.create_assigned("hot", replicas)

    def test_preferred(self) -> None:
        """
        A partition that another broker than the preferred one leads is answered when that
        one leads it.
        """
        topic = self.assigned([7, 8], [8, 7])
        request = ElectLeadersRequest(
            topic_partitions=[Asked(topic="hot", partitions=[0, 1])], timeout_ms=1000
        )
        answer = self.client.start(request, 2)
        self.assertNoResult(answer)
        self.assertEqual(self.waits, [(topic.topic_id, 1, 8)])
        self.led.callback(None)
        (result,) = self.successResultOf(answer).replica_election_results
        codes = [(each.partition_id, each.error_code) for each in result.partition_result]
        self.assertEqual(codes, [(0, NOT_NEEDED), (1, 0)])
        self.assertEqual(self.ask([Asked(topic="hot", partitions=[1])], UNCLEAN),
                         {("hot", 1): NOT_NEEDED})  # fmt: skip

    def test_too_late(self) -> None:
        """
        One that does not move in time gets REQUEST_TIMED_OUT.
        """
        self.assigned([8, 7])
        answer = self.client.start(ElectLeadersRequest(topic_partitions=None, timeout_ms=1000), 2)
        self.cluster.clock.advance(1)
        results = self.successResultOf(answer).replica_election_results
        self.assertEqual(results[0].partition_result[0].error_code, TIMED_OUT)
        self.led.callback(None)

    def test_preferred_does_not_serve(self) -> None:
        """
        It is no use to wait for a broker that is not alive, or starts, or leaves.
        """
        self.assigned([8, 7])
        asked = [Asked(topic="hot", partitions=[0])]
        for phase in (Phase.STARTING, Phase.LEAVING):
            self.cluster.put_broker(Broker(8, "other.example", 9092, phase=phase))
            self.assertEqual(self.ask(asked), {("hot", 0): NOT_PREFERRED})
        self.cluster.end_broker(8)
        self.assertEqual(self.ask(asked), {("hot", 0): NOT_PREFERRED})
        self.assertEqual(self.waits, [])

    def test_unknown(self) -> None:
        """
        Unknown topics and partitions have their errors.
        """
        asked = [Asked(topic="mine", partitions=[3, -1]), Asked(topic="none", partitions=[0])]
        self.assertEqual(
            self.ask(asked),
            {("mine", 3): UNKNOWN, ("mine", -1): UNKNOWN, ("none", 0): UNKNOWN},
        )

    def test_unknown_kind(self) -> None:
        """
        Other election types are refused.
        """
        request = ElectLeadersRequest(election_type=2, topic_partitions=None)
        failure = self.failureResultOf(self.client.start(request, 2))
        self.assertEqual(failure.value.code, INVALID_REQUEST)

    def test_failed(self) -> None:
        """
        The error is on top of the response, and with each partition, as version
        0 has no other place.
        """
        request = ElectLeadersRequest(topic_partitions=[Asked(topic="mine", partitions=[0, 1])])
        for version in self.client.versions(ElectLeadersRequest):
            response = self.client.failed(request, version, 7)
            self.assertEqual(response.error_code, 7 if version >= 1 else 0)
            (topic,) = response.replica_election_results
            self.assertEqual([each.error_code for each in topic.partition_result], [7, 7])
        response = self.client.failed(ElectLeadersRequest(topic_partitions=None), 2, 7)
        self.assertEqual(response.replica_election_results, [])
