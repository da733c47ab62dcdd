"""
DeleteTopics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from typing import TypeAlias
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded, with_timeout
from kafscale.errors import InvalidRequest
from kafscale.interfaces import IAdminService, IImage, ITopics, RequestContext, Serving, Topic
from kafscale.interfaces.quotas import IQuotas
from kafscale.services.mutation_quota import mutation_quota
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import DeleteTopicsRequest, DeleteTopicsResponse
from kafscale.wire.schema import NO_UUID

DeleteTopicState: TypeAlias = DeleteTopicsRequest.Topic
DeletableTopicResult: TypeAlias = DeleteTopicsResponse.Topic


@implementer(IAdminService)
class DeleteTopicsService:
    """
    Versions 0 to 6 of DeleteTopics::

        ====  ==================================================================
        v3    TOPIC_DELETION_DISABLED is possible (never here)
        v4    flexible
        v5    error messages; THROTTLING_QUOTA_EXCEEDED is possible
        v6    topics are named by name or by id
        ====  ==================================================================

    """

    def __init__(
        self, image: IImage, topics: ITopics, clock: IReactorTime, quotas: IQuotas
    ) -> None:
        """
        @param image: Knows the topics that exist.
        @param topics: Deletes topics.
        @param clock: For the timeout of the request.
        @param quotas: Of deleted partitions.
        """
        self._image = image
        self._topics = topics
        self._clock = clock
        self._quotas = quotas

    def serves(self) -> list[Serving]:
        """
        DeleteTopics.
        """
        return [Serving(DeleteTopicsRequest, 0, 6, self.delete_topics, refusal())]

    async def delete_topics(
        self, request: DeleteTopicsRequest, context: RequestContext
    ) -> DeleteTopicsResponse:
        """
        Each topic is answered with its name and its id, however it was named,
        when its deletion is durable.
        """
        if context.api_version >= 6:
            named = request.topics
        else:
            named = [DeleteTopicState(name=name) for name in request.topic_names]
        times = Counter((state.name, state.topic_id) for state in named)
        quota = mutation_quota(self._quotas, context, strict_since=5)

        results = {
            (state.name, state.topic_id): DeletableTopicResult(
                name=state.name, topic_id=state.topic_id
            )
            for state in named
        }
        found: dict[UUID, tuple[Topic, DeletableTopicResult]] = {}
        for (name, topic_id), result in results.items():
            try:
                if times[name, topic_id] > 1:
                    raise InvalidRequest("Duplicate topic name or id.")
                topic = self._find(name, topic_id)
                if topic.topic_id in found:
                    raise InvalidRequest(
                        "The provided topic name maps to an ID that was already supplied."
                    )
                quota.use(topic.partitions)
                result.name, result.topic_id = topic.name, topic.topic_id
                found[topic.topic_id] = topic, result
            except Exception as error:
                _refuse(result, error)

        async def answer(deleting: tuple[DeletableTopicResult, Awaitable[None]]) -> None:
            result, deleted = deleting
            try:
                await with_timeout(self._clock, request.timeout_ms, deleted)
            except Exception as error:
                _refuse(result, error)

        deleting = self._topics.delete_all([topic for topic, _ in found.values()])
        pairs = zip([result for _, result in found.values()], deleting, strict=True)
        await map_bounded(answer, list(pairs), max(1, len(found)))
        return DeleteTopicsResponse(
            throttle_time_ms=quota.throttle_ms, responses=list(results.values())
        )

    def _find(self, name: str | None, topic_id: UUID) -> Topic:
        if name is None:
            if topic_id == NO_UUID:
                raise InvalidRequest("Neither topic name nor id were specified.")
            return self._image.topic_by_id(topic_id)
        if topic_id != NO_UUID:
            raise InvalidRequest("You may not specify both topic name and topic id.")
        return self._image.topic(name)


def _refuse(result: DeletableTopicResult, error: Exception) -> None:
    what = f"delete topic {result.name or result.topic_id}"
    result.error_code, result.error_message = error_fields(error, what)
