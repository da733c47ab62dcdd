"""
DescribeProducers: the states of the idempotent producers of partitions.
"""

from __future__ import annotations

from typing import TypeAlias

from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded
from kafscale.interfaces import IAdminService, IImage, ILog, ITopics, RequestContext, Serving
from kafscale.services.location import find_partition
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import DescribeProducersRequest, DescribeProducersResponse

PartitionResponse: TypeAlias = DescribeProducersResponse.Topic.Partition


@implementer(IAdminService)
class DescribeProducersService:
    """
    Version 0 of DescribeProducers.
    """

    def __init__(self, image: IImage, log: ILog, topics: ITopics) -> None:
        """
        @param image: Knows the topics that exist.
        @param log: Has the partitions.
        @param topics: Checks the names of topics.
        """
        self._image = image
        self._log = log
        self._topics = topics

    def serves(self) -> list[Serving]:
        """
        DescribeProducers.
        """
        return [Serving(DescribeProducersRequest, 0, 0, self.describe, refusal())]

    async def describe(
        self, request: DescribeProducersRequest, context: RequestContext
    ) -> DescribeProducersResponse:
        """
        The idempotent producers. Others have no state. In the place of a coordinator's
        epoch is the number of the producer's last transaction that ended in the
        partition; -1 if there is none.
        """

        async def describe_one(partition: tuple[str, int]) -> PartitionResponse:
            name, index = partition
            response = PartitionResponse(partition_index=index, active_producers=[])
            try:
                response.active_producers = await self._producers(name, index)
            except Exception as error:
                what = f"describe the producers of {name}"
                response.error_code, response.error_message = error_fields(error, what)
            return response

        partitions = [
            (topic.name, index) for topic in request.topics for index in topic.partition_indexes
        ]
        responses = iter(await map_bounded(describe_one, partitions))
        return DescribeProducersResponse(
            topics=[
                DescribeProducersResponse.Topic(
                    name=topic.name, partitions=[next(responses) for _ in topic.partition_indexes]
                )
                for topic in request.topics
            ]
        )

    async def _producers(self, name: str, index: int) -> list[PartitionResponse.ActiveProducer]:
        self._topics.check_name(name)
        partition = find_partition(self._log, self._image.topic(name), index)
        if not partition.is_open:
            await partition.opened()
        return [
            PartitionResponse.ActiveProducer(
                producer_id=state.producer_id,
                producer_epoch=state.producer_epoch,
                last_sequence=state.last_sequence,
                last_timestamp=state.last_timestamp,
                coordinator_epoch=state.number or -1,
                current_txn_start_offset=state.open_from,
            )
            for state in partition.producers()
        ]
