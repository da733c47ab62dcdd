"""
DescribeCluster and DescribeTopicPartitions: Metadata in two parts, for tools.
"""

from __future__ import annotations

from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import InvalidRequest, MismatchedEndpointType, UnsupportedEndpointType
from kafscale.interfaces import IAdminService, IImage, ITopics, RequestContext, Serving, Topic
from kafscale.services.cluster.common import (
    CLUSTER_OPERATIONS,
    NO_OPERATIONS,
    TOPIC_OPERATIONS,
    is_internal,
    partitions_of,
)
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    DescribeClusterRequest,
    DescribeClusterResponse,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
)
from kafscale.wire.schema import NO_UUID

Described: TypeAlias = DescribeTopicPartitionsResponse.Topic

_BROKERS = 1
_CONTROLLERS = 2

#: C{max.request.partition.size.limit}: more are not described in one answer.
MOST_PARTITIONS = 2000


@implementer(IAdminService)
class DescriptionService:
    """
    Versions 0 to 2 of DescribeCluster, and 0 of DescribeTopicPartitions::

        =====  =================================================================
               DescribeCluster
        v1     endpoint type: brokers or controllers (KIP-919)
        v2     fenced brokers, when asked for (there are none)
        =====  =================================================================

    """

    def __init__(self, image: IImage, topics: ITopics) -> None:
        self._image = image
        self._topics = topics

    def serves(self) -> list[Serving]:
        """
        DescribeCluster and DescribeTopicPartitions.
        """
        return [
            Serving(DescribeClusterRequest, 0, 2, self.describe_cluster, self._cluster_failed),
            Serving(
                DescribeTopicPartitionsRequest,
                0,
                0,
                self.describe_topic_partitions,
                refusal(),
            ),
        ]

    # -- DescribeCluster -----------------------------------------------------

    async def describe_cluster(
        self, request: DescribeClusterRequest, context: RequestContext
    ) -> DescribeClusterResponse:
        """
        The brokers. There are no controllers to be asked for apart from them.
        """
        if request.endpoint_type == _CONTROLLERS:
            raise MismatchedEndpointType(
                "The request was sent to a broker, and asks for controllers"
            )
        if request.endpoint_type != _BROKERS:
            raise UnsupportedEndpointType(
                f"Endpoint type {request.endpoint_type} is neither brokers nor controllers"
            )
        operations = (
            CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NO_OPERATIONS
        )
        return DescribeClusterResponse(
            cluster_id=self._image.cluster_id,
            controller_id=self._image.brokers()[0].broker_id,
            brokers=[
                DescribeClusterResponse.Broker(
                    broker_id=broker.broker_id,
                    host=broker.host,
                    port=broker.port,
                    rack=broker.rack,
                )
                for broker in self._image.brokers()
            ],
            cluster_authorized_operations=operations,
        )

    def _cluster_failed(
        self, request: DescribeClusterRequest, context: RequestContext, code: int, message: str
    ) -> DescribeClusterResponse:
        return DescribeClusterResponse(
            error_code=code,
            error_message=message,
            endpoint_type=request.endpoint_type,
            cluster_id=self._image.cluster_id,
            brokers=[],
        )

    # -- DescribeTopicPartitions ---------------------------------------------

    async def describe_topic_partitions(
        self, request: DescribeTopicPartitionsRequest, context: RequestContext
    ) -> DescribeTopicPartitionsResponse:
        """
        A page of topics by name, and of partitions by index; the cursor says
        where the next page begins.
        """
        if request.response_partition_limit < 1:
            raise InvalidRequest("An answer cannot have fewer than one partition")
        names, first = self._names(request)
        left = min(request.response_partition_limit, MOST_PARTITIONS)
        response = DescribeTopicPartitionsResponse(topics=[])
        for name in names:
            try:
                topic = self._find(name)
            except Exception as error:
                code, _ = error_fields(error, f"describe topic {name}")
                response.topics.append(
                    Described(error_code=code, name=name, topic_id=NO_UUID, partitions=[])
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
        The names to describe, and with which partition the first one begins.
        """
        if request.topics:
            names = sorted({topic.name for topic in request.topics})
        else:
            names = [topic.name for topic in self._image.topics()]
        cursor = request.cursor
        if cursor is None:
            return names, 0
        if cursor.partition_index < 0:
            raise InvalidRequest(f"No partition has the index {cursor.partition_index}")
        names = [name for name in names if name >= cursor.topic_name]
        # If the topic of the cursor is gone, the one after it is described whole.
        resumes = bool(names) and names[0] == cursor.topic_name
        return names, cursor.partition_index if resumes else 0

    def _find(self, name: str) -> Topic:
        self._topics.check_name(name)
        return self._image.topic(name)

    def _described(self, topic: Topic, first: int, most: int) -> Described:
        return Described(
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=is_internal(topic.name),
            partitions=[
                Described.Partition(
                    error_code=one.error_code,
                    partition_index=one.index,
                    leader_id=one.leader_id,
                    leader_epoch=one.leader_epoch,
                    replica_nodes=one.replicas,
                    isr_nodes=one.replicas,
                    eligible_leader_replicas=[],
                    last_known_elr=[],
                    offline_replicas=one.offline,
                )
                for one in partitions_of(self._image, topic, first, most)
            ],
            topic_authorized_operations=TOPIC_OPERATIONS,
        )



def _cursor(name: str, index: int) -> DescribeTopicPartitionsResponse.NextCursor:
    return DescribeTopicPartitionsResponse.NextCursor(topic_name=name, partition_index=index)
