"""
Topics are created and deleted, and get more partitions.

A request names many; each is answered for itself, when what was asked for is
durable and in force.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded, with_timeout
from kafscale.errors import (
    InvalidConfig,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    PolicyViolation,
)
from kafscale.interfaces import (
    IAdminService,
    IImage,
    ITopicConfigs,
    ITopics,
    RequestContext,
    Serving,
    Topic,
)
from kafscale.services.cluster.common import CONFIG_SOURCES
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)
from kafscale.wire.schema import NO_UUID

Creatable: TypeAlias = CreateTopicsRequest.Topic
Created: TypeAlias = CreateTopicsResponse.Topic
Deletable: TypeAlias = DeleteTopicsRequest.Topic
Deleted: TypeAlias = DeleteTopicsResponse.Topic
Growing: TypeAlias = CreatePartitionsRequest.Topic
Grown: TypeAlias = CreatePartitionsResponse.Result

#: As Kafka's controller: what one request may create.
MOST_PARTITIONS = 10_000

_NO_ASSIGNMENT = "Brokers share the partitions by themselves: replicas cannot be assigned"


@implementer(IAdminService)
class TopicsService:
    """
    Versions 0 to 7 of CreateTopics, 0 to 6 of DeleteTopics and 0 to 3 of
    CreatePartitions::

        =====  =================================================================
               CreateTopics
        v1     validate only; error messages
        v4     partitions and replication factor may be left to the broker: -1
        v5     flexible; the answer has partitions, replication and configurations
        v6     THROTTLING_QUOTA_EXCEEDED may be answered (never here)
        v7     topic ids
        -----  -----------------------------------------------------------------
               DeleteTopics
        v3     TOPIC_DELETION_DISABLED may be answered (never here)
        v4     flexible
        v5     error messages
        v6     by name or by id
        -----  -----------------------------------------------------------------
               CreatePartitions
        v2     flexible
        v3     THROTTLING_QUOTA_EXCEEDED may be answered (never here)
        =====  =================================================================

    """

    def __init__(
        self,
        image: IImage,
        topics: ITopics,
        configs: ITopicConfigs,
        clock: IReactorTime,
        default_partitions: int = 1,
    ) -> None:
        """
        @param default_partitions: How many a topic gets that is created with
            -1 (C{num.partitions}).
        """
        self._image = image
        self._topics = topics
        self._configs = configs
        self._clock = clock
        self._default_partitions = default_partitions

    def serves(self) -> list[Serving]:
        """
        CreateTopics, DeleteTopics and CreatePartitions.
        """
        return [
            Serving(CreateTopicsRequest, 0, 7, self.create_topics, refusal(configs=())),
            Serving(DeleteTopicsRequest, 0, 6, self.delete_topics, refusal()),
            Serving(CreatePartitionsRequest, 0, 3, self.create_partitions, refusal()),
        ]

    # -- CreateTopics --------------------------------------------------------

    async def create_topics(
        self, request: CreateTopicsRequest, context: RequestContext
    ) -> CreateTopicsResponse:
        """
        A topic that is answered without error has leaders: a client may
        produce to it at once.
        """
        times = Counter(asked.name for asked in request.topics)
        wanted = sum(max(0, asked.num_partitions) for asked in request.topics)

        async def create(asked: Creatable) -> Created:
            try:
                if times[asked.name] > 1:
                    raise InvalidRequest("Duplicate topic name.")
                if wanted > MOST_PARTITIONS:
                    raise PolicyViolation(
                        f"Not more than {MOST_PARTITIONS} partitions can be created at once"
                    )
                creating = self._create(asked, request.validate_only)
                topic = await with_timeout(self._clock, request.timeout_ms, creating)
            except Exception as error:
                code, message = error_fields(error, f"create topic {asked.name}")
                return Created(name=asked.name, error_code=code, error_message=message, configs=[])
            return self._created(topic, request.validate_only)

        topics = {asked.name: asked for asked in request.topics}
        return CreateTopicsResponse(topics=await map_bounded(create, list(topics.values())))

    async def _create(self, asked: Creatable, validate_only: bool) -> Topic:
        partitions = asked.num_partitions
        self._topics.check_name(asked.name)
        if asked.assignments:
            if partitions != -1 or asked.replication_factor != -1:
                raise InvalidRequest(
                    "Both assignments and a number of partitions or replicas are given"
                )
            raise InvalidReplicaAssignment(_NO_ASSIGNMENT)
        # -1 is the default (KIP-464) in every version: kafkajs asks for it in 3.
        if partitions == -1:
            partitions = self._default_partitions
        elif partitions < 1:
            raise InvalidPartitions("Number of partitions must be larger than 0.")
        if asked.replication_factor < 1 and asked.replication_factor != -1:
            raise InvalidReplicationFactor("Replication factor must be larger than 0.")
        # Before any of it counts, as None is no value that could be stored.
        self._configs.check({config.name: config.value for config in asked.configs})
        configs = {
            config.name: config.value for config in asked.configs if config.value is not None
        }
        if len(configs) < len(asked.configs):
            raise InvalidConfig("A configuration is given more than once")
        return await self._topics.create(asked.name, partitions, configs, validate_only)

    def _created(self, topic: Topic, validate_only: bool) -> Created:
        return Created(
            name=topic.name,
            topic_id=NO_UUID if validate_only else topic.topic_id,
            num_partitions=topic.partitions,
            replication_factor=max(1, len(self._image.replicas(topic.topic_id, 0))),
            configs=[
                Created.Config(
                    name=config.name,
                    value=config.value,
                    read_only=False,
                    config_source=CONFIG_SOURCES[config.source],
                    is_sensitive=False,
                )
                for config in self._configs.describe(topic.configs)
            ],
        )

    # -- DeleteTopics --------------------------------------------------------

    async def delete_topics(
        self, request: DeleteTopicsRequest, context: RequestContext
    ) -> DeleteTopicsResponse:
        """
        Who deletes by id is told the name, and the other way round.
        """
        named = _deletable(request, context)
        times = Counter((asked.name, asked.topic_id) for asked in named)

        async def delete(asked: Deletable) -> Deleted:
            answer = Deleted(name=asked.name, topic_id=asked.topic_id)
            try:
                if times[asked.name, asked.topic_id] > 1:
                    raise InvalidRequest("Duplicate topic name or id.")
                topic = self._find(asked)
                answer.name, answer.topic_id = topic.name, topic.topic_id
                await with_timeout(self._clock, request.timeout_ms, self._topics.delete(topic))
            except Exception as error:
                what = f"delete topic {asked.name}"
                answer.error_code, answer.error_message = error_fields(error, what)
            return answer

        topics = {(asked.name, asked.topic_id): asked for asked in named}
        return DeleteTopicsResponse(responses=await map_bounded(delete, list(topics.values())))

    def _find(self, asked: Deletable) -> Topic:
        if asked.name is None:
            if asked.topic_id == NO_UUID:
                raise InvalidRequest("Neither topic name nor id were specified.")
            return self._image.topic_by_id(asked.topic_id)
        if asked.topic_id != NO_UUID:
            raise InvalidRequest("You may not specify both topic name and topic id.")
        return self._image.topic(asked.name)

    # -- CreatePartitions ----------------------------------------------------

    async def create_partitions(
        self, request: CreatePartitionsRequest, context: RequestContext
    ) -> CreatePartitionsResponse:
        """
        The count is that of all partitions, not of those to be added.
        """
        times = Counter(asked.name for asked in request.topics)

        async def grow(asked: Growing) -> Grown:
            try:
                if times[asked.name] > 1:
                    raise InvalidRequest("Duplicate topic in request.")
                if asked.assignments is not None:
                    raise InvalidReplicaAssignment(_NO_ASSIGNMENT)
                topic = self._image.topic(asked.name)
                growing = self._topics.grow(topic, asked.count, request.validate_only)
                await with_timeout(self._clock, request.timeout_ms, growing)
            except Exception as error:
                code, message = error_fields(error, f"add partitions to topic {asked.name}")
                return Grown(name=asked.name, error_code=code, error_message=message)
            return Grown(name=asked.name)

        topics = {asked.name: asked for asked in request.topics}
        return CreatePartitionsResponse(results=await map_bounded(grow, list(topics.values())))



def _deletable(request: DeleteTopicsRequest, context: RequestContext) -> list[Deletable]:
    """
    What is to be deleted, in the form of version 6, which has names and ids.
    """
    if context.api_version >= 6:
        return request.topics
    return [Deletable(name=name) for name in request.topic_names]
