"""
Metadata: what a client asks first, and again whenever something has moved.
"""

from __future__ import annotations

from typing import TypeAlias

from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import TopicAlreadyExists, UnknownTopicOrPartition
from kafscale.interfaces import (
    IAdminService,
    IImage,
    ITopics,
    RequestContext,
    Serving,
    Topic,
)
from kafscale.services.cluster.common import (
    CLUSTER_OPERATIONS,
    NO_OPERATIONS,
    TOPIC_OPERATIONS,
    is_internal,
    partitions_of,
)
from kafscale.services.refusals import error_fields
from kafscale.wire.messages import MetadataRequest, MetadataResponse

Described: TypeAlias = MetadataResponse.Topic
Asked: TypeAlias = MetadataRequest.Topic


@implementer(IAdminService)
class MetadataService:
    """
    Versions 0 to 13 of Metadata::

        =====  =================================================================
        v0     no topic named means all of them
        v1     null means all, the empty list none; controller, racks
        v2     cluster id
        v4     whether topics may be created by asking for them; before, they may
        v5     offline replicas
        v7     leader epochs
        v8     authorized operations
        v9     flexible
        v10    topic ids; a topic may be asked for by its id
        v11    authorized operations of the cluster are gone: see DescribeCluster
        v12    an unknown id is answered without a name
        v13    error of the whole answer
        =====  =================================================================

    """

    def __init__(
        self, image: IImage, topics: ITopics, auto_create: bool, auto_create_partitions: int
    ) -> None:
        """
        @param auto_create: Whether asking for a topic may create it.
        @param auto_create_partitions: How many partitions it has then.
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
        The brokers, and the topics asked for. What is created on the way is
        durable, and has leaders, when it is answered.
        """
        version = context.api_version
        if request.topics is None or (version == 0 and not request.topics):
            topics = [self._described(topic) for topic in self._image.topics()]
        else:
            # A name that stands there twice is answered once.
            asked = {(topic.name, topic.topic_id): topic for topic in request.topics}
            create = request.allow_auto_topic_creation and self._auto_create

            async def answer(topic: Asked) -> Described:
                return await self._answer(topic, create, version)

            topics = await map_bounded(answer, list(asked.values()))
        if request.include_topic_authorized_operations:
            for topic in topics:
                if topic.error_code == 0:
                    topic.topic_authorized_operations = TOPIC_OPERATIONS
        response = self._of_cluster()
        response.topics = topics
        if request.include_cluster_authorized_operations:
            response.cluster_authorized_operations = CLUSTER_OPERATIONS
        return response

    async def _answer(self, asked: Asked, create: bool, version: int) -> Described:
        try:
            return self._described(await self._find(asked, create))
        except Exception as error:
            code, _ = error_fields(error, f"describe topic {asked.name or asked.topic_id}")
            # Without a name before version 12 there is no way to say "none".
            name = asked.name if asked.name is not None or version >= 12 else ""
            return Described(error_code=code, name=name, topic_id=asked.topic_id, partitions=[])

    async def _find(self, asked: Asked, create: bool) -> Topic:
        if asked.name is None:
            return self._image.topic_by_id(asked.topic_id)
        try:
            topic = self._image.topic(asked.name)
        except UnknownTopicOrPartition:
            self._topics.check_name(asked.name)
            if not create:
                raise
            try:
                return await self._topics.create(asked.name, self._auto_create_partitions, {})
            except TopicAlreadyExists:
                topic = self._image.topic(asked.name)  # somebody else asked, too
        if create and self._is_new(topic):
            await self._topics.led(topic)
        return topic

    def _is_new(self, topic: Topic) -> bool:
        """
        Whether nobody has led some of it yet: it is just being created.
        """
        return any(
            self._image.leadership(topic.topic_id, index).leader_epoch < 0
            for index in range(topic.partitions)
        )

    def _described(self, topic: Topic) -> Described:
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
                    offline_replicas=one.offline,
                )
                for one in partitions_of(self._image, topic)
            ],
            topic_authorized_operations=NO_OPERATIONS,
        )

    def _of_cluster(self) -> MetadataResponse:
        """
        The answer without topics. Every broker does what a controller does;
        the one with the lowest id is called that, so that all say the same.
        """
        return MetadataResponse(
            brokers=[
                MetadataResponse.Broker(
                    node_id=broker.broker_id,
                    host=broker.host,
                    port=broker.port,
                    rack=broker.rack,
                )
                for broker in self._image.brokers()
            ],
            cluster_id=self._image.cluster_id,
            controller_id=self._image.brokers()[0].broker_id,
            topics=[],
            cluster_authorized_operations=NO_OPERATIONS,
        )

    def _failed(
        self, request: MetadataRequest, context: RequestContext, code: int, message: str
    ) -> MetadataResponse:
        response = self._of_cluster()
        response.error_code = code
        response.topics = [
            Described(
                error_code=code,
                name=topic.name if topic.name is not None or context.api_version >= 12 else "",
                topic_id=topic.topic_id,
                partitions=[],
            )
            for topic in request.topics or ()
        ]
        return response
