"""
Elections and reassignments: who leads what, and who shall.

The brokers share the partitions by themselves, and the object store has the
records. So there is nothing to elect where a leader lives, and nothing to move;
what asks for it is told so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import (
    ElectionNotNeeded,
    EligibleLeadersNotAvailable,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    KafkaError,
    NoReassignmentInProgress,
    PreferredLeaderNotAvailable,
    UnknownTopicOrPartition,
)
from kafscale.interfaces import IAdminService, IImage, RequestContext, Serving
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ElectLeadersRequest,
    ElectLeadersResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

Elected: TypeAlias = ElectLeadersResponse.ReplicaElectionResult
Move: TypeAlias = AlterPartitionReassignmentsRequest.Topic.Partition
Moved: TypeAlias = AlterPartitionReassignmentsResponse.Topic.Partition

_PREFERRED = 0
_UNCLEAN = 1


@implementer(IAdminService)
class PlacementService:
    """
    Versions 0 to 2 of ElectLeaders, 0 to 1 of AlterPartitionReassignments, and
    0 of ListPartitionReassignments::

        =====  =================================================================
               ElectLeaders
        v1     unclean elections (KIP-460); an error code for everything
        v2     flexible
        -----  -----------------------------------------------------------------
               AlterPartitionReassignments
        v1     whether the number of replicas may change
        =====  =================================================================

    """

    def __init__(self, image: IImage) -> None:
        self._image = image

    def serves(self) -> list[Serving]:
        """
        ElectLeaders, AlterPartitionReassignments and
        ListPartitionReassignments.
        """
        return [
            Serving(ElectLeadersRequest, 0, 2, self.elect, self._elect_failed),
            Serving(AlterPartitionReassignmentsRequest, 0, 1, self.move, self._move_failed),
            Serving(ListPartitionReassignmentsRequest, 0, 0, self.list_moves, refusal()),
        ]

    def _leader(self, name: str, index: int) -> int:
        """
        The living leader of a partition, -1 if there is none.

        @raise UnknownTopicOrPartition: there is no such partition.
        """
        topic = self._image.topic(name)
        if not 0 <= index < topic.partitions:
            raise UnknownTopicOrPartition
        leader = self._image.leadership(topic.topic_id, index).leader
        return leader if leader in self._brokers() else -1

    def _brokers(self) -> set[int]:
        return {broker.broker_id for broker in self._image.brokers()}

    # -- ElectLeaders --------------------------------------------------------

    async def elect(
        self, request: ElectLeadersRequest, context: RequestContext
    ) -> ElectLeadersResponse:
        """
        Where a leader lives none is needed. Who asks for all partitions is
        told only of those that have a need, as in Kafka.
        """
        if request.election_type not in (_PREFERRED, _UNCLEAN):
            raise InvalidRequest(f"There are no elections of type {request.election_type}")
        everything = request.topic_partitions is None
        asked: Iterable[tuple[str, Iterable[int]]]
        if request.topic_partitions is None:
            asked = [(topic.name, range(topic.partitions)) for topic in self._image.topics()]
        else:
            asked = [(topic.topic, topic.partitions) for topic in request.topic_partitions]
        results = []
        for name, indexes in asked:
            outcomes = []
            for index in indexes:
                error = self._election(name, index, request.election_type)
                if everything and isinstance(error, ElectionNotNeeded):
                    continue
                code, message = error_fields(error, f"elect a leader of {name}")
                outcomes.append(
                    Elected.PartitionResult(
                        partition_id=index, error_code=code, error_message=message
                    )
                )
            if outcomes:
                results.append(Elected(topic=name, partition_result=outcomes))
        return ElectLeadersResponse(replica_election_results=results)

    def _election(self, name: str, index: int, kind: int) -> KafkaError:
        """
        Why none is held.
        """
        try:
            leader = self._leader(name, index)
        except UnknownTopicOrPartition as error:
            return error
        if leader >= 0:
            return ElectionNotNeeded("The partition has a leader, and no better one")
        if kind == _PREFERRED:
            return PreferredLeaderNotAvailable("The partition is about to get a leader")
        return EligibleLeadersNotAvailable("The partition is about to get a leader")

    def _elect_failed(
        self, request: ElectLeadersRequest, context: RequestContext, code: int, message: str
    ) -> ElectLeadersResponse:
        return ElectLeadersResponse(
            error_code=code,
            replica_election_results=[
                Elected(
                    topic=topic.topic,
                    partition_result=[
                        Elected.PartitionResult(
                            partition_id=index, error_code=code, error_message=message
                        )
                        for index in topic.partitions
                    ],
                )
                for topic in request.topic_partitions or ()
            ],
        )

    # -- reassignments -------------------------------------------------------

    async def move(
        self, request: AlterPartitionReassignmentsRequest, context: RequestContext
    ) -> AlterPartitionReassignmentsResponse:
        """
        A partition may be told to be where it is, and nowhere else.
        """
        responses = []
        for topic in request.topics:
            outcomes = []
            for asked in topic.partitions:
                outcome = Moved(partition_index=asked.partition_index)
                try:
                    self._check_move(topic.name, asked, request.allow_replication_factor_change)
                except Exception as error:
                    what = f"move a partition of {topic.name}"
                    outcome.error_code, outcome.error_message = error_fields(error, what)
                outcomes.append(outcome)
            responses.append(
                AlterPartitionReassignmentsResponse.Topic(name=topic.name, partitions=outcomes)
            )
        return AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=request.allow_replication_factor_change,
            responses=responses,
        )

    def _check_move(self, name: str, asked: Move, other_factor: bool) -> None:
        self._leader(name, asked.partition_index)
        if asked.replicas is None:
            raise NoReassignmentInProgress("The partition is not being moved")
        replicas = asked.replicas
        if not replicas:
            raise InvalidReplicaAssignment("The list of replicas is empty")
        if len(set(replicas)) < len(replicas):
            raise InvalidReplicaAssignment("A broker is named twice")
        unknown = set(replicas) - self._brokers()
        if unknown:
            raise InvalidReplicaAssignment(f"There is no broker {min(unknown)}")
        topic_id = self._image.topic(name).topic_id
        if replicas == list(self._image.replicas(topic_id, asked.partition_index)):
            return
        if len(replicas) > 1 and not other_factor:
            raise InvalidReplicationFactor("A partition has one replica: the store keeps copies")
        raise InvalidReplicaAssignment(
            "Brokers share the partitions by themselves: they cannot be moved"
        )

    def _move_failed(
        self,
        request: AlterPartitionReassignmentsRequest,
        context: RequestContext,
        code: int,
        message: str,
    ) -> AlterPartitionReassignmentsResponse:
        return AlterPartitionReassignmentsResponse(
            error_code=code,
            error_message=message,
            allow_replication_factor_change=request.allow_replication_factor_change,
            responses=[],
        )

    async def list_moves(
        self, request: ListPartitionReassignmentsRequest, context: RequestContext
    ) -> ListPartitionReassignmentsResponse:
        """
        None are under way.
        """
        return ListPartitionReassignmentsResponse(topics=[])
