"""
DescribeTopicPartitions: topics with their partitions, in pages.
"""

from __future__ import annotations

from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import InvalidRequest
from kafscale.interfaces import (
    INTERNAL_TOPICS,
    IAdminService,
    IImage,
    ITopics,
    RequestContext,
    Serving,
    Topic,
)
from kafscale.services.authorized_operations import TOPIC_OPERATIONS
from kafscale.services.refusals import error_fields, refusal
from kafscale.services.topics.partitions import partitions_of
from kafscale.wire.messages import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
)
from kafscale.wire.schema import NO_UUID

ResponseTopic: TypeAlias = DescribeTopicPartitionsResponse.Topic

#: C{max.request.partition.size.limit}: how many partitions are in one response.
MAX_PARTITIONS = 2000


@implementer(IAdminService)
class DescribeTopicPartitionsService:
    """
    Version 0 of DescribeTopicPartitions (KIP-966).
    """

    def __init__(self, image: IImage, topics: ITopics) -> None:
        """
        @param image: What is described.
        @param topics: Checks the names of topics.
        """
        self._image = image
        self._topics = topics

    def serves(self) -> list[Serving]:
        """
        DescribeTopicPartitions.
        """
        return [
            Serving(
                DescribeTopicPartitionsRequest, 0, 0, self.describe_topic_partitions, refusal()
            )
        ]

    async def describe_topic_partitions(
        self, request: DescribeTopicPartitionsRequest, context: RequestContext
    ) -> DescribeTopicPartitionsResponse:
        """
        A page of topics by name, and of their partitions by index. The cursor
        names the first partition of the next page.
        """
        names, first = self._names(request)
        left = max(1, min(request.response_partition_limit, MAX_PARTITIONS))
        response = DescribeTopicPartitionsResponse(topics=[])
        for name in names:
            try:
                topic = self._find(name)
            except Exception as error:
                code, _ = error_fields(error, f"describe topic {name}")
                response.topics.append(
                    ResponseTopic(
                        error_code=code,
                        name=name,
                        topic_id=NO_UUID,
                        partitions=[],
                        topic_authorized_operations=TOPIC_OPERATIONS,
                    )
                )
                continue
            if left == 0:
                response.next_cursor = _cursor(name, 0)
                break
            described = self._described(topic, first, left)
            response.topics.append(described)
            end = first + len(described.partitions)
            left -= len(described.partitions)
            if end < topic.partitions:
                response.next_cursor = _cursor(name, end)
                break
            first = 0
        return response

    def _names(self, request: DescribeTopicPartitionsRequest) -> tuple[list[str], int]:
        """
        The names of the topics to describe, and the index of the first
        partition of the first one.
        """
        if request.topics:
            names = sorted({topic.name for topic in request.topics})
        else:
            names = [topic.name for topic in self._image.topics()]
        cursor = request.cursor
        if cursor is None:
            return names, 0
        if cursor.partition_index < 0:
            raise InvalidRequest(f"The partition index {cursor.partition_index} is negative")
        names = [name for name in names if name >= cursor.topic_name]
        # If the topic of the cursor was deleted, the next one begins at its start.
        resumes = bool(names) and names[0] == cursor.topic_name
        return names, cursor.partition_index if resumes else 0

    def _find(self, name: str) -> Topic:
        self._topics.check_name(name)
        return self._image.topic(name)

    def _described(self, topic: Topic, first: int, most: int) -> ResponseTopic:
        return ResponseTopic(
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.name in INTERNAL_TOPICS,
            partitions=[
                ResponseTopic.Partition(
                    error_code=each.error_code,
                    partition_index=each.index,
                    leader_id=each.leader_id,
                    leader_epoch=each.leader_epoch,
                    replica_nodes=each.replicas,
                    isr_nodes=each.in_sync,
                    eligible_leader_replicas=[],
                    last_known_elr=[],
                    offline_replicas=each.offline,
                )
                for each in partitions_of(self._image, topic, first, most)
            ],
            topic_authorized_operations=TOPIC_OPERATIONS,
        )


def _cursor(name: str, index: int) -> DescribeTopicPartitionsResponse.NextCursor:
    return DescribeTopicPartitionsResponse.NextCursor(topic_name=name, partition_index=index)
