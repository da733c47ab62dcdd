"""
Metadata: brokers, topics, and the leaders of their partitions.

A client asks it first, and again whenever a leader has moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import InvalidRequest, TopicAlreadyExists, UnknownTopicOrPartition
from kafscale.interfaces import (
    INTERNAL_TOPICS,
    IAdminService,
    IImage,
    ITopics,
    RequestContext,
    Serving,
    Topic,
)
from kafscale.services.authorized_operations import (
    CLUSTER_OPERATIONS,
    NO_OPERATIONS,
    TOPIC_OPERATIONS,
)
from kafscale.services.location import addresses
from kafscale.services.refusals import error_fields
from kafscale.services.topics.partitions import partitions_of
from kafscale.wire.messages import MetadataRequest, MetadataResponse
from kafscale.wire.schema import NO_UUID

MetadataRequestTopic: TypeAlias = MetadataRequest.Topic
MetadataResponseTopic: TypeAlias = MetadataResponse.Topic


@implementer(IAdminService)
class MetadataService:
    """
    Versions 0 to 13 of Metadata::

        =====  =================================================================
        v0     an empty list of topics means all of them
        v1     null means all, the empty list none; controller, racks
        v2     cluster id
        v4     the client says whether its request may create topics; before,
               it may
        v5     offline replicas
        v7     leader epochs
        v8     authorized operations
        v9     flexible
        v10    topic ids in the response
        v11    no authorized operations of the cluster: see DescribeCluster
        v12    if any topic has an id, all are found by their ids, whatever their
               names; an unknown id is answered without a name
        v13    error of the whole response
        =====  =================================================================

    """

    def __init__(
        self, image: IImage, topics: ITopics, auto_create: bool, auto_create_partitions: int
    ) -> None:
        """
        @param image: What is described.
        @param topics: Creates topics.
        @param auto_create: Whether a request may create the topics that it
            names (C{auto.create.topics.enable}).
        @param auto_create_partitions: The number of partitions of such topics.
        """
        self._image = image
        self._topics = topics
        self._auto_create = auto_create
        self._auto_create_partitions = auto_create_partitions

    def serves(self) -> list[Serving]:
        """
        Metadata.
        """
        return [Serving(MetadataRequest, 0, 13, self.metadata, self._failed)]

    async def metadata(self, request: MetadataRequest, context: RequestContext) -> MetadataResponse:
        """
        The brokers, and the topics that the request names. A topic that it
        creates is durable, and has leaders, when it is answered.
        """
        version = context.api_version
        if request.topics is None or (version == 0 and not request.topics):
            topics = [self._described(topic) for topic in self._image.topics()]
        else:
            named = _named(request.topics, version)
            create = request.allow_auto_topic_creation and self._auto_create

            async def describe(topic: MetadataRequestTopic) -> MetadataResponseTopic:
                return await self._describe(topic, create, version)

            topics = await map_bounded(describe, named)
        if request.include_topic_authorized_operations:
            for topic in topics:
                if topic.name is not None:  # not if nothing but an id is known of it
                    topic.topic_authorized_operations = TOPIC_OPERATIONS
        response = self._of_cluster(context)
        response.topics = topics
        if request.include_cluster_authorized_operations:
            response.cluster_authorized_operations = CLUSTER_OPERATIONS
        return response

    async def _describe(
        self, topic: MetadataRequestTopic, create: bool, version: int
    ) -> MetadataResponseTopic:
        try:
            return self._described(await self._find(topic, create))
        except Exception as error:
            code, _ = error_fields(error, f"describe topic {topic.name or topic.topic_id}")
            return _refused(topic, code, version)

    async def _find(self, named: MetadataRequestTopic, create: bool) -> Topic:
        if named.name is None or named.topic_id != NO_UUID:
            return self._image.topic_by_id(named.topic_id)
        try:
            topic = self._image.topic(named.name)
        except UnknownTopicOrPartition:
            self._topics.check_name(named.name)
            if not create:
                raise
            try:
                return await self._topics.create(named.name, self._auto_create_partitions, {})
            except TopicAlreadyExists:
                topic = self._image.topic(named.name)  # another request has created it
        if create and self._is_being_created(topic):
            await self._topics.wait_for_leaders(topic)
        return topic

    def _is_being_created(self, topic: Topic) -> bool:
        """
        Whether the topic has partitions that have not had a leader yet.
        """
        return any(
            self._image.leadership(topic.topic_id, index).leader_epoch < 0
            for index in range(topic.partitions)
        )

    def _described(self, topic: Topic) -> MetadataResponseTopic:
        return MetadataResponseTopic(
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.name in INTERNAL_TOPICS,
            partitions=[
                MetadataResponseTopic.Partition(
                    error_code=each.error_code,
                    partition_index=each.index,
                    leader_id=each.leader_id,
                    leader_epoch=each.leader_epoch,
                    replica_nodes=each.replicas,
                    isr_nodes=each.in_sync,
                    offline_replicas=each.offline,
                )
                for each in partitions_of(self._image, topic)
            ],
            topic_authorized_operations=NO_OPERATIONS,
        )

    def _of_cluster(self, context: RequestContext) -> MetadataResponse:
        """
        A response without topics. Every broker does what a controller does in
        Kafka; the one with the lowest id is named, so that all name the same.
        """
        return MetadataResponse(
            brokers=[
                MetadataResponse.Broker(
                    node_id=broker.broker_id,
                    host=host,
                    port=port,
                    rack=broker.rack,
                )
                for broker, host, port in addresses(self._image, context.session.listener.name)
            ],
            cluster_id=self._image.cluster_id,
            controller_id=self._image.brokers()[0].broker_id,
            topics=[],
            cluster_authorized_operations=NO_OPERATIONS,
        )

    def _failed(
        self, request: MetadataRequest, context: RequestContext, code: int, message: str
    ) -> MetadataResponse:
        response = self._of_cluster(context)
        response.error_code = code
        response.topics = [
            _refused(topic, code, context.api_version) for topic in request.topics or ()
        ]
        return response


def _named(topics: Sequence[MetadataRequestTopic], version: int) -> list[MetadataRequestTopic]:
    """
    The topics that a request names, each once: those with an id if there are any, as
    Java's admin client sends ids with empty names (Kafka's
    C{KafkaApis.handleTopicMetadataRequest}).

    @raise InvalidRequest: topics have ids before version 12.
    """
    by_id = {topic.topic_id: topic for topic in topics if topic.topic_id != NO_UUID}
    if by_id and version < 12:
        raise InvalidRequest("topics cannot be named by id before version 12")
    return list(by_id.values() or {topic.name: topic for topic in topics}.values())


def _refused(topic: MetadataRequestTopic, code: int, version: int) -> MetadataResponseTopic:
    # Before version 12 the name cannot be null; from then on a topic has either.
    name = topic.name
    if version < 12:
        name = name or ""
    elif topic.topic_id != NO_UUID:
        name = None
    return MetadataResponseTopic(
        error_code=code, name=name, topic_id=topic.topic_id, partitions=[]
    )
