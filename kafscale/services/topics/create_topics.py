"""
CreateTopics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
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
    UnknownTopicOrPartition,
)
from kafscale.interfaces import (
    MAX_NEW_PARTITIONS,
    IAdminService,
    IImage,
    ITopicConfigs,
    ITopics,
    NewTopic,
    RequestContext,
    Serving,
    Topic,
)
from kafscale.interfaces.quotas import IQuotas
from kafscale.services.configs.resources import CONFIG_SOURCES
from kafscale.services.mutation_quota import mutation_quota
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import CreateTopicsRequest, CreateTopicsResponse
from kafscale.wire.schema import NO_UUID

CreatableTopic: TypeAlias = CreateTopicsRequest.Topic
CreatableTopicResult: TypeAlias = CreateTopicsResponse.Topic


@implementer(IAdminService)
class CreateTopicsService:
    """
    Versions 0 to 7 of CreateTopics::

        ====  ==================================================================
        v1    validate only; error messages
        v4    partitions and replication factor may be left to the broker: -1
        v5    flexible; the response has partitions, replication and
              configurations
        v6    THROTTLING_QUOTA_EXCEEDED is possible
        v7    topic ids
        ====  ==================================================================

    """

    def __init__(
        self,
        image: IImage,
        topics: ITopics,
        configs: ITopicConfigs,
        clock: IReactorTime,
        quotas: IQuotas,
        default_partitions: int = 1,
    ) -> None:
        """
        @param image: Knows the topics that exist, and the replicas of new ones.
        @param topics: Creates topics.
        @param configs: Checks and describes their configurations.
        @param clock: For the timeout of the request.
        @param quotas: Of created partitions.
        @param default_partitions: The number of partitions of a topic that is
            created with -1 (C{num.partitions}).
        """
        self._image = image
        self._topics = topics
        self._configs = configs
        self._clock = clock
        self._quotas = quotas
        self._default_partitions = default_partitions

    def serves(self) -> list[Serving]:
        """
        CreateTopics.
        """
        return [Serving(CreateTopicsRequest, 0, 7, self.create_topics, refusal(configs=()))]

    async def create_topics(
        self, request: CreateTopicsRequest, context: RequestContext
    ) -> CreateTopicsResponse:
        """
        Each topic is answered when it is durable and all its partitions have
        leaders, so that a client may produce to it at once.
        """
        times = Counter(topic.name for topic in request.topics)
        total = sum(
            max(len(topic.assignments), topic.num_partitions) for topic in request.topics
        )

        results: dict[str, CreatableTopicResult] = {}
        new: list[NewTopic] = []
        quota = mutation_quota(self._quotas, context, strict_since=6)
        for name, topic in {topic.name: topic for topic in request.topics}.items():
            try:
                if times[name] > 1:
                    raise InvalidRequest("Duplicate topic name.")
                if total > MAX_NEW_PARTITIONS:
                    raise PolicyViolation(
                        f"At most {MAX_NEW_PARTITIONS} partitions can be created at once"
                    )
                made = self._new(topic)
                if not request.validate_only and not self._exists(name):
                    quota.use(made.partitions)
                new.append(made)
            except Exception as error:
                results[name] = _refused(name, error)

        async def answer(creating: tuple[NewTopic, Awaitable[Topic]]) -> None:
            topic, created = creating
            try:
                result = await with_timeout(self._clock, request.timeout_ms, created)
                results[topic.name] = self._result(result, request.validate_only)
            except Exception as error:
                results[topic.name] = _refused(topic.name, error)

        creating = self._topics.create_all(new, request.validate_only)
        await map_bounded(answer, list(zip(new, creating, strict=True)), max(1, len(new)))
        return CreateTopicsResponse(
            throttle_time_ms=quota.throttle_ms, topics=[results[name] for name in times]
        )

    def _exists(self, name: str) -> bool:
        try:
            self._image.topic(name)
        except UnknownTopicOrPartition:
            return False
        return True

    def _new(self, topic: CreatableTopic) -> NewTopic:
        """
        The topic that a request describes.

        @raise KafkaError: no topic can be like that.
        """
        partitions = topic.num_partitions
        self._topics.check_name(topic.name)
        replicas = _assigned(topic)
        # -1 is the default (KIP-464) in every version: kafkajs asks for it in 3.
        if partitions == -1:
            partitions = len(replicas) or self._default_partitions
        elif partitions < 1:
            raise InvalidPartitions("Number of partitions must be larger than 0.")
        if topic.replication_factor < 1 and topic.replication_factor != -1:
            raise InvalidReplicationFactor("Replication factor must be larger than 0.")
        # The check comes first: it refuses null values, which are left out below.
        self._configs.check({config.name: config.value for config in topic.configs})
        configs = {
            config.name: config.value for config in topic.configs if config.value is not None
        }
        if len(configs) < len(topic.configs):
            raise InvalidConfig("A configuration is given more than once")
        return NewTopic(topic.name, partitions, configs, replicas)

    def _result(self, topic: Topic, validate_only: bool) -> CreatableTopicResult:
        return CreatableTopicResult(
            name=topic.name,
            topic_id=NO_UUID if validate_only else topic.topic_id,
            num_partitions=topic.partitions,
            replication_factor=len(topic.replicas.get(0, ()))
            or max(1, len(self._image.replicas(topic.topic_id, 0))),
            configs=[
                CreatableTopicResult.Config(
                    name=config.name,
                    value=config.value,
                    read_only=False,
                    config_source=CONFIG_SOURCES[config.source],
                    is_sensitive=False,
                )
                for config in self._configs.describe(topic.configs)
            ],
        )


def _refused(name: str, error: Exception) -> CreatableTopicResult:
    code, message = error_fields(error, f"create topic {name}")
    return CreatableTopicResult(name=name, error_code=code, error_message=message, configs=[])


def _assigned(topic: CreatableTopic) -> list[list[int]]:
    """
    The replicas that a request assigns to each partition of a topic; none if it leaves
    that to the brokers.

    @raise InvalidRequest: the number of partitions or of replicas is given, too.
    @raise InvalidReplicaAssignment: the assigned partitions are not 0, 1, 2 and so on.
    """
    if not topic.assignments:
        return []
    for name, number in (
        ("replication factor", topic.replication_factor),
        ("numPartitions", topic.num_partitions),
    ):
        if number != -1:
            raise InvalidRequest(
                f"A manual partition assignment was specified, but {name} was not set to -1."
            )
    lists = {each.partition_index: each.broker_ids for each in topic.assignments}
    if len(lists) < len(topic.assignments):
        raise InvalidReplicaAssignment("Found multiple manual assignments for a partition")
    if sorted(lists) != list(range(len(lists))):
        raise InvalidReplicaAssignment(
            "partitions should be a consecutive 0-based integer sequence"
        )
    return [lists[index] for index in range(len(lists))]
