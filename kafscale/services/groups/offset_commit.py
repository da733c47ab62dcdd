"""
OffsetCommit, OffsetFetch and OffsetDelete: how far groups have read.

The coordinator knows topics by their ids alone, so that the commits for a topic
that is deleted are not those for one that is created under its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.errors import (
    NONE,
    GroupIdNotFound,
    IllegalGeneration,
    KafkaError,
    OffsetMetadataTooLarge,
    UnknownTopicId,
    UnknownTopicOrPartition,
    code_of,
)
from kafscale.format.offset import CommittedOffset
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import (
    ICoordinationService,
    IGroupCoordinator,
    IImage,
    MemberIdentity,
    RequestContext,
    Serving,
    Topic,
)
from kafscale.services.refusals import refusal
from kafscale.wire.messages import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
)

Commit: TypeAlias = OffsetCommitRequest.Topic.Partition

_NEVER = CommittedOffset(-1)
"""What is told where there was no commit: not an error, and not offset 0, so
that consumers do what their C{auto.offset.reset} says."""


@implementer(ICoordinationService)
class OffsetCommitService:
    """
    Versions 0 to 10 of OffsetCommit, 0 to 10 of OffsetFetch, 0 of OffsetDelete::

        ============  ===========================================================
        Commit v1     generation and member id; a time, in this version only
        v2 to v4      how long the commit is to be kept
        v6            leader epochs
        v7            static members
        v8            flexible
        v9            a group that is not there is GROUP_ID_NOT_FOUND
        v10           topics by id
        Fetch v2      null topics: all; an error of the whole answer
        v5            leader epochs
        v6            flexible
        v7            whether transactions are to be waited for: there are none
        v8            several groups
        v10           topics by id
        ============  ===========================================================

    Version 0 of both once meant ZooKeeper; here it means the same as the others.
    """

    def __init__(
        self,
        image: IImage,
        coordinator: IGroupCoordinator,
        clock: IReactorTime,
        max_metadata: int,
    ) -> None:
        """
        @param max_metadata: Bytes of the longest note beside an offset.
        """
        self._image = image
        self._coordinator = coordinator
        self._clock = clock
        self._max_metadata = max_metadata

    def serves(self) -> list[Serving]:
        """
        The three APIs.
        """
        return [
            Serving(OffsetCommitRequest, 0, 10, self.commit, refusal()),
            Serving(
                OffsetFetchRequest, 0, 10, self.fetch, refusal(committed_offset=-1, metadata="")
            ),
            Serving(OffsetDeleteRequest, 0, 0, self.delete, refusal()),
        ]

    # -- OffsetCommit ----------------------------------------------------------

    async def commit(
        self, request: OffsetCommitRequest, context: RequestContext
    ) -> OffsetCommitResponse:
        """
        Partitions that cannot be committed do not keep back the others.
        """
        refused: dict[tuple[str, UUID, int], int] = {}
        offsets: dict[TopicIdPartition, CommittedOffset] = {}
        for asked in request.topics:
            for commit in asked.partitions:
                try:
                    topic = self._topic(asked.name, asked.topic_id, context.api_version)
                    where = _place(topic, commit.partition_index)
                    offsets[where] = self._committed(request, commit)
                except KafkaError as error:
                    refused[(asked.name, asked.topic_id, commit.partition_index)] = error.code
        member = MemberIdentity(
            request.member_id, request.generation_id_or_member_epoch, request.group_instance_id
        )
        try:
            # Also with nothing to commit: the member may have to be refused.
            await self._coordinator.commit_offsets(request.group_id, member, offsets)
        except GroupIdNotFound:
            if context.api_version >= 9:
                raise
            raise IllegalGeneration from None
        return _commit_answer(request, refused)

    def _topic(self, name: str, topic_id: UUID, version: int) -> Topic:
        if version >= 10:
            return self._image.topic_by_id(topic_id)
        return self._image.topic(name)

    def _committed(self, request: OffsetCommitRequest, commit: Commit) -> CommittedOffset:
        metadata = commit.committed_metadata or ""
        if len(metadata.encode()) > self._max_metadata:
            raise OffsetMetadataTooLarge
        now = round(self._clock.seconds() * 1000)
        kept = request.retention_time_ms
        return CommittedOffset(
            commit.committed_offset,
            commit.committed_leader_epoch,
            metadata,
            now if commit.commit_timestamp < 0 else commit.commit_timestamp,
            -1 if kept < 0 else now + kept,
        )

    # -- OffsetFetch -----------------------------------------------------------

    async def fetch(
        self, request: OffsetFetchRequest, context: RequestContext
    ) -> OffsetFetchResponse:
        """
        From version 8 on each group is answered for itself.
        """
        if context.api_version < 8:
            committed = self._coordinator.committed_offsets(request.group_id)
            return OffsetFetchResponse(topics=self._of_old(request, committed))
        return OffsetFetchResponse(
            groups=[self._of_group(asked, context.api_version) for asked in request.groups]
        )

    def _of_old(
        self, request: OffsetFetchRequest, committed: Mapping[TopicIdPartition, CommittedOffset]
    ) -> list[OffsetFetchResponse.Topic]:
        topics: list[tuple[str, UUID | None, Iterable[int]]]
        if request.topics is None:
            topics = [(t.name, t.topic_id, indexes) for t, indexes in self._all(committed)]
        else:
            topics = [
                (asked.name, self._id_of(asked.name), asked.partition_indexes)
                for asked in request.topics
            ]
        kind = OffsetFetchResponse.Topic
        return [
            kind(name=name, partitions=_told(kind.Partition, committed, topic_id, indexes))
            for name, topic_id, indexes in topics
        ]

    def _of_group(self, asked: OffsetFetchRequest.Group, version: int) -> OffsetFetchResponse.Group:
        try:
            committed = self._coordinator.committed_offsets(asked.group_id)
        except KafkaError as error:
            return OffsetFetchResponse.Group(
                group_id=asked.group_id, topics=[], error_code=error.code
            )
        topics: list[tuple[str, UUID, UUID | None, Iterable[int]]]
        if asked.topics is None:
            topics = [
                (each.name, each.topic_id, each.topic_id, indexes)
                for each, indexes in self._all(committed)
            ]
        else:
            topics = [
                (
                    each.name,
                    each.topic_id,
                    self._known(each.topic_id) if version >= 10 else self._id_of(each.name),
                    each.partition_indexes,
                )
                for each in asked.topics
            ]
        kind = OffsetFetchResponse.Group.Topic
        return OffsetFetchResponse.Group(
            group_id=asked.group_id,
            topics=[
                kind(
                    name=name,
                    topic_id=asked_id,
                    partitions=_told(
                        kind.Partition,
                        committed,
                        topic_id,
                        indexes,
                        UnknownTopicId.code if topic_id is None and version >= 10 else NONE,
                    ),
                )
                for name, asked_id, topic_id, indexes in topics
            ],
        )

    def _all(
        self, committed: Mapping[TopicIdPartition, CommittedOffset]
    ) -> list[tuple[Topic, list[int]]]:
        """
        All topics with commits, and their partitions with commits.
        """
        indexes: dict[UUID, list[int]] = {}
        for topic_id, index in sorted(committed, key=lambda where: (where[0].int, where[1])):
            indexes.setdefault(topic_id, []).append(index)
        known = [topic for topic in self._image.topics() if topic.topic_id in indexes]
        return [(topic, indexes[topic.topic_id]) for topic in known]

    def _id_of(self, name: str) -> UUID | None:
        try:
            return self._image.topic(name).topic_id
        except UnknownTopicOrPartition:
            return None

    def _known(self, topic_id: UUID) -> UUID | None:
        try:
            return self._image.topic_by_id(topic_id).topic_id
        except UnknownTopicId:
            return None

    # -- OffsetDelete ----------------------------------------------------------

    async def delete(
        self, request: OffsetDeleteRequest, context: RequestContext
    ) -> OffsetDeleteResponse:
        """
        What members are subscribed to is kept.
        """
        outcome: dict[tuple[str, int], int] = {}
        wanted: dict[TopicIdPartition, tuple[str, int]] = {}
        for asked in request.topics:
            for partition in asked.partitions:
                index = partition.partition_index
                try:
                    wanted[_place(self._image.topic(asked.name), index)] = (asked.name, index)
                except UnknownTopicOrPartition:
                    outcome[(asked.name, index)] = UnknownTopicOrPartition.code
        names = {where[0]: name for where, (name, _) in wanted.items()}
        refused = await self._coordinator.delete_offsets(request.group_id, list(wanted), names)
        for where, error in refused.items():
            outcome[wanted[where]] = code_of(error)
        kind = OffsetDeleteResponse.Topic
        return OffsetDeleteResponse(
            topics=[
                kind(
                    name=asked.name,
                    partitions=[
                        kind.Partition(
                            partition_index=each.partition_index,
                            error_code=outcome.get((asked.name, each.partition_index), NONE),
                        )
                        for each in asked.partitions
                    ],
                )
                for asked in request.topics
            ]
        )



def _place(topic: Topic, index: int) -> TopicIdPartition:
    if not 0 <= index < topic.partitions:
        raise UnknownTopicOrPartition
    return topic.topic_id, index


def _told(
    kind: Any,
    committed: Mapping[TopicIdPartition, CommittedOffset],
    topic_id: UUID | None,
    indexes: Iterable[int],
    code: int = NONE,
) -> list[Any]:
    """
    The commits for some partitions, as the message's C{kind} of it.
    """
    partitions = []
    for index in indexes:
        found = _NEVER if topic_id is None else committed.get((topic_id, index), _NEVER)
        partitions.append(
            kind(
                partition_index=index,
                committed_offset=found.offset,
                committed_leader_epoch=found.leader_epoch,
                metadata=found.metadata,
                error_code=code,
            )
        )
    return partitions


def _commit_answer(
    request: OffsetCommitRequest, refused: Mapping[tuple[str, UUID, int], int], code: int = NONE
) -> OffsetCommitResponse:
    kind = OffsetCommitResponse.Topic
    return OffsetCommitResponse(
        topics=[
            kind(
                name=asked.name,
                topic_id=asked.topic_id,
                partitions=[
                    kind.Partition(
                        partition_index=each.partition_index,
                        error_code=refused.get(
                            (asked.name, asked.topic_id, each.partition_index), code
                        ),
                    )
                    for each in asked.partitions
                ],
            )
            for asked in request.topics
        ]
    )
