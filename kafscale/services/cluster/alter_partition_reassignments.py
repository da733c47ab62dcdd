"""
AlterPartitionReassignments and ListPartitionReassignments.

Brokers divide the partitions among themselves, so a partition may be assigned
to the brokers that it has already, and to no others; and no reassignment is
ever in progress.
"""

from __future__ import annotations

from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import (
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    NoReassignmentInProgress,
)
from kafscale.interfaces import IAdminService, IImage, RequestContext, Serving
from kafscale.services.location import living_leader
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

ReassignablePartition: TypeAlias = AlterPartitionReassignmentsRequest.Topic.Partition
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

    def __init__(self, image: IImage) -> None:
        """
        @param image: Knows the replicas of partitions.
        """
        self._image = image

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
        Each partition is answered without error if it has the replicas that the
        request assigns to it.
        """
        responses = []
        for topic in request.topics:
            outcomes = []
            for partition in topic.partitions:
                outcome = ReassignablePartitionResponse(partition_index=partition.partition_index)
                try:
                    self._check(topic.name, partition, request.allow_replication_factor_change)
                except Exception as error:
                    what = f"reassign a partition of {topic.name}"
                    outcome.error_code, outcome.error_message = error_fields(error, what)
                outcomes.append(outcome)
            responses.append(
                AlterPartitionReassignmentsResponse.Topic(name=topic.name, partitions=outcomes)
            )
        return AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=request.allow_replication_factor_change,
            responses=responses,
        )

    def _check(self, name: str, partition: ReassignablePartition, other_factor: bool) -> None:
        """
        @param other_factor: Whether the number of replicas may change.
        @raise KafkaError: the partition cannot be reassigned so.
        """
        index = partition.partition_index
        living_leader(self._image, name, index)
        replicas = partition.replicas
        if replicas is None:
            raise NoReassignmentInProgress("The partition is not being reassigned")
        if not replicas:
            raise InvalidReplicaAssignment("The list of replicas is empty")
        if len(set(replicas)) < len(replicas):
            raise InvalidReplicaAssignment("A broker is named twice")
        unknown = set(replicas) - {broker.broker_id for broker in self._image.brokers()}
        if unknown:
            raise InvalidReplicaAssignment(f"There is no broker {min(unknown)}")
        topic_id = self._image.topic(name).topic_id
        if replicas == list(self._image.replicas(topic_id, index)):
            return
        if len(replicas) > 1 and not other_factor:
            raise InvalidReplicationFactor(
                "A partition has one replica: the object store replicates the records"
            )
        raise InvalidReplicaAssignment(
            "Replicas cannot be assigned: brokers divide the partitions among themselves"
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
            responses=[],
        )

    async def list_reassignments(
        self, request: ListPartitionReassignmentsRequest, context: RequestContext
    ) -> ListPartitionReassignmentsResponse:
        """
        No reassignment is in progress.
        """
        return ListPartitionReassignmentsResponse(topics=[])
