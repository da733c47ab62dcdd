"""
ElectLeaders.

Brokers divide the partitions among themselves, and any of them can lead any
partition, because the object store has the records. So no election is needed
where the leader is alive, and none is held where it is not: another broker is
about to take the partition over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import (
    ElectionNotNeeded,
    EligibleLeadersNotAvailable,
    InvalidRequest,
    KafkaError,
    PreferredLeaderNotAvailable,
    UnknownTopicOrPartition,
)
from kafscale.interfaces import IAdminService, IImage, RequestContext, Serving
from kafscale.services.location import living_leader
from kafscale.services.refusals import error_fields
from kafscale.wire.messages import ElectLeadersRequest, ElectLeadersResponse

ReplicaElectionResult: TypeAlias = ElectLeadersResponse.ReplicaElectionResult

_PREFERRED = 0
_UNCLEAN = 1


@implementer(IAdminService)
class ElectLeadersService:
    """
    Versions 0 to 2 of ElectLeaders::

        =====  =================================================================
        v1     unclean elections (KIP-460); an error code for the whole response
        v2     flexible
        =====  =================================================================

    """

    def __init__(self, image: IImage) -> None:
        """
        @param image: Knows the leaders of partitions.
        """
        self._image = image

    def serves(self) -> list[Serving]:
        """
        ElectLeaders.
        """
        return [Serving(ElectLeadersRequest, 0, 2, self.elect, self._failed)]

    async def elect(
        self, request: ElectLeadersRequest, context: RequestContext
    ) -> ElectLeadersResponse:
        """
        Why no election is held. If the request is for all partitions, those
        with a leader are left out, as in Kafka.
        """
        if request.election_type not in (_PREFERRED, _UNCLEAN):
            raise InvalidRequest(f"Unknown election type {request.election_type}")
        is_for_all = request.topic_partitions is None
        partitions: Iterable[tuple[str, Iterable[int]]]
        if request.topic_partitions is None:
            partitions = [(topic.name, range(topic.partitions)) for topic in self._image.topics()]
        else:
            partitions = [(topic.topic, topic.partitions) for topic in request.topic_partitions]
        results = []
        for name, indexes in partitions:
            outcomes = []
            for index in indexes:
                error = self._refusal(name, index, request.election_type)
                if is_for_all and isinstance(error, ElectionNotNeeded):
                    continue
                code, message = error_fields(error, f"elect a leader of {name}")
                outcomes.append(
                    ReplicaElectionResult.PartitionResult(
                        partition_id=index, error_code=code, error_message=message
                    )
                )
            if outcomes:
                results.append(ReplicaElectionResult(topic=name, partition_result=outcomes))
        return ElectLeadersResponse(replica_election_results=results)

    def _refusal(self, name: str, index: int, election_type: int) -> KafkaError:
        try:
            leader = living_leader(self._image, name, index)
        except UnknownTopicOrPartition as error:
            return error
        if leader >= 0:
            return ElectionNotNeeded("The partition has a leader, and no other is preferred")
        if election_type == _PREFERRED:
            return PreferredLeaderNotAvailable("A broker is about to take the partition over")
        return EligibleLeadersNotAvailable("A broker is about to take the partition over")

    def _failed(
        self, request: ElectLeadersRequest, context: RequestContext, code: int, message: str
    ) -> ElectLeadersResponse:
        return ElectLeadersResponse(
            error_code=code,
            replica_election_results=[
                ReplicaElectionResult(
                    topic=topic.topic,
                    partition_result=[
                        ReplicaElectionResult.PartitionResult(
                            partition_id=index, error_code=code, error_message=message
                        )
                        for index in topic.partitions
                    ],
                )
                for topic in request.topic_partitions or ()
            ],
        )
