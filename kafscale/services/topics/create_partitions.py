"""
CreatePartitions.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded, with_timeout
from kafscale.errors import InvalidRequest
from kafscale.interfaces import IAdminService, IImage, ITopics, RequestContext, Serving
from kafscale.interfaces.quotas import IQuotas
from kafscale.services.mutation_quota import mutation_quota
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import CreatePartitionsRequest, CreatePartitionsResponse

CreatePartitionsTopic: TypeAlias = CreatePartitionsRequest.Topic
CreatePartitionsTopicResult: TypeAlias = CreatePartitionsResponse.Result


@implementer(IAdminService)
class CreatePartitionsService:
    """
    Versions 0 to 3 of CreatePartitions::

        ====  ==================================================================
        v2    flexible
        v3    THROTTLING_QUOTA_EXCEEDED is possible
        ====  ==================================================================

    """

    def __init__(
        self, image: IImage, topics: ITopics, clock: IReactorTime, quotas: IQuotas
    ) -> None:
        """
        @param image: Knows the topics that exist.
        @param topics: Adds partitions to topics.
        @param clock: For the timeout of the request.
        @param quotas: Of created partitions.
        """
        self._image = image
        self._topics = topics
        self._clock = clock
        self._quotas = quotas

    def serves(self) -> list[Serving]:
        """
        CreatePartitions.
        """
        return [Serving(CreatePartitionsRequest, 0, 3, self.create_partitions, refusal())]

    async def create_partitions(
        self, request: CreatePartitionsRequest, context: RequestContext
    ) -> CreatePartitionsResponse:
        """
        Each topic is answered when it has C{count} partitions in all, which is
        durable, and the new ones have leaders.
        """
        times = Counter(topic.name for topic in request.topics)
        quota = mutation_quota(self._quotas, context, strict_since=3)

        async def grow(topic: CreatePartitionsTopic) -> CreatePartitionsTopicResult:
            try:
                if times[topic.name] > 1:
                    raise InvalidRequest("Duplicate topic in request.")
                grown = self._image.topic(topic.name)
                if not request.validate_only and topic.count > grown.partitions:
                    quota.use(topic.count - grown.partitions)
                growing = self._topics.grow(
                    grown,
                    topic.count,
                    request.validate_only,
                    None
                    if topic.assignments is None
                    else [each.broker_ids for each in topic.assignments],
                )
                await with_timeout(self._clock, request.timeout_ms, growing)
            except Exception as error:
                code, message = error_fields(error, f"add partitions to topic {topic.name}")
                return CreatePartitionsTopicResult(
                    name=topic.name, error_code=code, error_message=message
                )
            return CreatePartitionsTopicResult(name=topic.name)

        topics = {topic.name: topic for topic in request.topics}
        results = await map_bounded(grow, list(topics.values()))
        return CreatePartitionsResponse(throttle_time_ms=quota.throttle_ms, results=results)
