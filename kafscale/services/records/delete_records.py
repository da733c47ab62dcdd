"""
DeleteRecords: raises the log start offset of partitions.
"""

from __future__ import annotations

from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded, with_timeout
from kafscale.errors import OffsetOutOfRange, PolicyViolation
from kafscale.interfaces import (
    IAdminService,
    IImage,
    ILog,
    ITopicConfigs,
    RequestContext,
    Serving,
)
from kafscale.services.location import find_partition
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import DeleteRecordsRequest, DeleteRecordsResponse

PartitionResult: TypeAlias = DeleteRecordsResponse.Topic.Partition


@implementer(IAdminService)
class DeleteRecordsService:
    """
    Versions 0 to 2 of DeleteRecords. Version 2 is flexible.
    """

    def __init__(
        self, image: IImage, log: ILog, configs: ITopicConfigs, clock: IReactorTime
    ) -> None:
        """
        @param image: Knows the topics that exist.
        @param log: Has the partitions.
        @param configs: Knows the cleanup policies of topics.
        @param clock: For the timeout of the request.
        """
        self._image = image
        self._log = log
        self._configs = configs
        self._clock = clock

    def serves(self) -> list[Serving]:
        """
        DeleteRecords.
        """
        return [Serving(DeleteRecordsRequest, 0, 2, self.delete_records, refusal())]

    async def delete_records(
        self, request: DeleteRecordsRequest, context: RequestContext
    ) -> DeleteRecordsResponse:
        """
        Each partition is answered when its new log start offset is durable.
        """

        async def delete(partition: tuple[str, int, int]) -> PartitionResult:
            name, index, offset = partition
            try:
                low_watermark = await with_timeout(
                    self._clock, request.timeout_ms, self._delete(name, index, offset)
                )
            except Exception as error:
                code, _ = error_fields(error, f"delete records of {name}")
                return PartitionResult(partition_index=index, low_watermark=-1, error_code=code)
            return PartitionResult(partition_index=index, low_watermark=low_watermark)

        partitions = [
            (topic.name, partition.partition_index, partition.offset)
            for topic in request.topics
            for partition in topic.partitions
        ]
        results = iter(await map_bounded(delete, partitions))
        return DeleteRecordsResponse(
            topics=[
                DeleteRecordsResponse.Topic(
                    name=topic.name, partitions=[next(results) for _ in topic.partitions]
                )
                for topic in request.topics
            ]
        )

    async def _delete(self, name: str, index: int, offset: int) -> int:
        topic = self._image.topic(name)
        partition = find_partition(self._log, topic, index)
        policy = self._configs.value(topic.configs, "cleanup.policy")
        if policy and "delete" not in policy:
            raise PolicyViolation(
                "Records can be deleted only if the topic's cleanup.policy includes delete"
            )
        if offset < -1:
            raise OffsetOutOfRange
        return await partition.delete_before(offset)
