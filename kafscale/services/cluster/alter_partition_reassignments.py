"""
AlterPartitionReassignments and ListPartitionReassignments.

The object store replicates the records, so nothing is copied: a reassignment moves
the leader of a partition, and is under way until the leader has moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded, with_timeout
from kafscale.interfaces import (
    IAdminService,
    IImage,
    ITopics,
    RequestContext,
    Serving,
    Topic,
)
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

OngoingReassignment: TypeAlias = ListPartitionReassignmentsResponse.Topic.Partition
ReassignablePartitionResponse: TypeAlias = AlterPartitionReassignmentsResponse.Topic.Partition


@implementer(IAdminService)
class AlterPartitionReassignmentsService:
    """
    Versions 0 to 1 of AlterPartitionReassignments, and 0 of
    ListPartitionReassignments::

        =====  =================================================================
               AlterPartitionReassignments
        v1     whether the number of replicas may change
        =====  =================================================================

    """

    def __init__(self, image: IImage, topics: ITopics, clock: IReactorTime) -> None:
        """
        @param image: Knows the topics, and which partitions are being reassigned.
        @param topics: Reassigns partitions.
        @param clock: For the timeout of the request.
        """
        self._image = image
        self._topics = topics
        self._clock = clock

    def serves(self) -> list[Serving]:
        """
        AlterPartitionReassignments and ListPartitionReassignments.
        """
        return [
            Serving(AlterPartitionReassignmentsRequest, 0, 1, self.alter, self._alter_failed),
            Serving(ListPartitionReassignmentsRequest, 0, 0, self.list_reassignments, refusal()),
        ]

    async def alter(
        self, request: AlterPartitionReassignmentsRequest, context: RequestContext
    ) -> AlterPartitionReassignmentsResponse:
        """
        Each partition is answered when its new replicas are durable; its leader moves
        afterwards.
        """

        async def reassign(
            topic: AlterPartitionReassignmentsRequest.Topic,
        ) -> AlterPartitionReassignmentsResponse.Topic:
            targets = {each.partition_index: each.replicas for each in topic.partitions}
            refused: Mapping[int, Exception]
            try:
                reassigning = self._topics.reassign(
                    self._image.topic(topic.name),
                    targets,
                    same_factor=not request.allow_replication_factor_change,
                )
                refused = await with_timeout(self._clock, request.timeout_ms, reassigning)
            except Exception as error:
                refused = dict.fromkeys(targets, error)
            outcomes = []
            for index in targets:
                outcome = ReassignablePartitionResponse(partition_index=index)
                if index in refused:
                    what = f"reassign a partition of {topic.name}"
                    outcome.error_code, outcome.error_message = error_fields(refused[index], what)
                outcomes.append(outcome)
            return AlterPartitionReassignmentsResponse.Topic(name=topic.name, partitions=outcomes)

        return AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=request.allow_replication_factor_change,
            responses=await map_bounded(reassign, request.topics),
        )

    def _alter_failed(
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
            responses=[
                AlterPartitionReassignmentsResponse.Topic(
                    name=topic.name,
                    partitions=[
                        AlterPartitionReassignmentsResponse.Topic.Partition(
                            partition_index=each.partition_index,
                            error_code=code,
                            error_message=message,
                        )
                        for each in topic.partitions
                    ],
                )
                for topic in request.topics
            ],
        )

    async def list_reassignments(
        self, request: ListPartitionReassignmentsRequest, context: RequestContext
    ) -> ListPartitionReassignmentsResponse:
        """
        The partitions whose leaders have not moved yet.
        """
        wanted: Iterable[tuple[Topic, Iterable[int]]]
        if request.topics is None:
            wanted = [(topic, sorted(topic.reassignments)) for topic in self._image.topics()]
        else:
            known = {topic.name: topic for topic in self._image.topics()}
            wanted = [
                (known[each.name], each.partition_indexes)
                for each in request.topics
                if each.name in known
            ]
        response = ListPartitionReassignmentsResponse(topics=[])
        for topic, indexes in wanted:
            moving = [each for index in indexes if (each := self._moving(topic, index))]
            if moving:
                response.topics.append(
                    ListPartitionReassignmentsResponse.Topic(name=topic.name, partitions=moving)
                )
        return response

    def _moving(self, topic: Topic, index: int) -> OngoingReassignment | None:
        """
        The reassignment of a partition that is under way.
        """
        change = self._image.reassignment(topic.topic_id, index)
        if change is None:
            return None
        target = topic.replicas[index]
        leader = self._image.leadership(topic.topic_id, index).leader
        # Of a partition whose replicas were not assigned by hand the leader is the only one.
        previous = change.previous or ((leader,) if leader >= 0 else ())
        removing = [broker_id for broker_id in previous if broker_id not in target]
        return OngoingReassignment(
            partition_index=index,
            replicas=[*target, *removing],
            adding_replicas=[each for each in target if each not in previous],
            removing_replicas=removing,
        )
