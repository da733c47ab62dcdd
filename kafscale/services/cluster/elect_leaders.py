"""
ElectLeaders.

Any broker can lead any partition, because the object store has the records. So no
election is held where the leader is alive, unless replicas are assigned by hand: then
the first of them is preferred, and gets the partition whenever it serves. The request
waits until it has. Where no leader is alive, another broker is about to take the
partition over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded, with_timeout
from kafscale.errors import (
    ElectionNotNeeded,
    EligibleLeadersNotAvailable,
    InvalidRequest,
    KafkaError,
    PreferredLeaderNotAvailable,
)
from kafscale.interfaces import IAdminService, IImage, Phase, RequestContext, Serving
from kafscale.services.location import living_leader
from kafscale.services.refusals import error_fields
from kafscale.wire.messages import ElectLeadersRequest, ElectLeadersResponse

ReplicaElectionResult: TypeAlias = ElectLeadersResponse.ReplicaElectionResult
PartitionResult: TypeAlias = ReplicaElectionResult.PartitionResult

_PREFERRED = 0
_UNCLEAN = 1

#: Returns when a broker leads a partition of a topic.
WaitForLeader = Callable[[UUID, int, int], Awaitable[None]]


@implementer(IAdminService)
class ElectLeadersService:
    """
    Versions 0 to 2 of ElectLeaders::

        =====  =================================================================
        v1     unclean elections (KIP-460); an error code for the whole response
        v2     flexible
        =====  =================================================================

    """

    def __init__(
        self, image: IImage, wait_for_leader: WaitForLeader, clock: IReactorTime
    ) -> None:
        """
        @param image: Knows the leaders of partitions.
        @param wait_for_leader: See L{WaitForLeader}.
        @param clock: For the timeout of the request.
        """
        self._image = image
        self._wait_for_leader = wait_for_leader
        self._clock = clock

    def serves(self) -> list[Serving]:
        """
        ElectLeaders.
        """
        return [Serving(ElectLeadersRequest, 0, 2, self.elect, self._failed)]

    async def elect(
        self, request: ElectLeadersRequest, context: RequestContext
    ) -> ElectLeadersResponse:
        """
        Each partition is answered when its preferred leader leads it, or at once if
        there is nothing to wait for. If the request is for all partitions, those that
        need no election are left out, as in Kafka.
        """
        if request.election_type not in (_PREFERRED, _UNCLEAN):
            raise InvalidRequest(f"Unknown election type {request.election_type}")
        is_for_all = request.topic_partitions is None
        partitions: Iterable[tuple[str, Iterable[int]]]
        if request.topic_partitions is None:
            partitions = [(topic.name, range(topic.partitions)) for topic in self._image.topics()]
        else:
            partitions = [(topic.topic, topic.partitions) for topic in request.topic_partitions]

        results: dict[str, ReplicaElectionResult] = {}
        waiting: list[tuple[str, PartitionResult, int]] = []
        for name, indexes in partitions:
            for index in indexes:
                result = PartitionResult(partition_id=index)
                try:
                    preferred = self._preferred(name, index, request.election_type)
                    waiting.append((name, result, preferred))
                except KafkaError as error:
                    if is_for_all and isinstance(error, ElectionNotNeeded):
                        continue
                    result.error_code, result.error_message = _error(error, name)
                of_topic = results.setdefault(
                    name, ReplicaElectionResult(topic=name, partition_result=[])
                )
                of_topic.partition_result.append(result)

        async def elect(each: tuple[str, PartitionResult, int]) -> None:
            name, result, preferred = each
            try:
                topic_id = self._image.topic(name).topic_id
                moving = self._wait_for_leader(topic_id, result.partition_id, preferred)
                await with_timeout(self._clock, request.timeout_ms, moving)
            except Exception as error:
                result.error_code, result.error_message = _error(error, name)

        # All at once, as there is one timeout for all.
        await map_bounded(elect, waiting, max(1, len(waiting)))
        return ElectLeadersResponse(replica_election_results=list(results.values()))

    def _preferred(self, name: str, index: int, election_type: int) -> int:
        """
        Return the broker id of the preferred leader of a partition, which is about to
        lead it.

        @raise KafkaError: there is no election, for the reason in the message.
        """
        leader = living_leader(self._image, name, index)
        preferred, *_ = self._image.topic(name).replicas.get(index, (leader,))
        if leader >= 0 and (leader == preferred or election_type == _UNCLEAN):
            raise ElectionNotNeeded("The partition has a leader, and no other is preferred")
        if election_type == _UNCLEAN:
            raise EligibleLeadersNotAvailable("A broker is about to take the partition over")
        if preferred < 0:
            raise PreferredLeaderNotAvailable("A broker is about to take the partition over")
        if not any(
            broker.broker_id == preferred and broker.phase is Phase.SERVING
            for broker in self._image.brokers()
        ):
            raise PreferredLeaderNotAvailable(f"Broker {preferred} does not serve")
        return preferred

    def _failed(
        self, request: ElectLeadersRequest, context: RequestContext, code: int, message: str
    ) -> ElectLeadersResponse:
        return ElectLeadersResponse(
            error_code=code,
            replica_election_results=[
                ReplicaElectionResult(
                    topic=topic.topic,
                    partition_result=[
                        PartitionResult(
                            partition_id=index, error_code=code, error_message=message
                        )
                        for index in topic.partitions
                    ],
                )
                for topic in request.topic_partitions or ()
            ],
        )


def _error(error: Exception, name: str) -> tuple[int, str | None]:
    return error_fields(error, f"elect a leader of {name}")
