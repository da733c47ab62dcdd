"""
OffsetCommit, OffsetFetch and OffsetDelete: the committed offsets of groups.

The coordinator knows topics by their ids only, so a topic that is created with
the name of a deleted one has no committed offsets.
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

CommitPartition: TypeAlias = OffsetCommitRequest.Topic.Partition

_NOT_COMMITTED = CommittedOffset(-1)
"""The answer for a partition without committed offset: neither an error nor offset
0, so that consumers apply their C{auto.offset.reset}."""


@implementer(ICoordinationService)
class OffsetCommitService:
    """
    Versions 0 to 10 of OffsetCommit, 0 to 10 of OffsetFetch, 0 of OffsetDelete::

        ============  ===========================================================
        Commit v1     generation and member id; a commit time (v1 only)
        v2 to v4      retention time
        v6            leader epochs
        v7            static members
        v8            flexible
        v9            an unknown group is GROUP_ID_NOT_FOUND
        v10           topics by id
        Fetch v2      null topics means all; an error of the whole response
        v5            leader epochs
        v6            flexible
        v7            whether to wait for open transactions (there are none)
        v8            several groups
        v10           topics by id
        ============  ===========================================================

    Version 0 of both stands for ZooKeeper in old brokers; here it is served like
    the others.
    """

    def __init__(
        self,
        image: IImage,
        coordinator: IGroupCoordinator,
        clock: IReactorTime,
        max_metadata: int,
    ) -> None:
        """
        @param image: Knows the ids of topics.
        @param coordinator: The groups of this broker.
        @param clock: In seconds since 1970.
        @param max_metadata: The largest size of the metadata of an offset, in
            bytes (C{offset.metadata.max.bytes}).
        """
        self._image = image
        self._coordinator = coordinator
        self._clock = clock
        self._max_metadata = max_metadata

    def serves(self) -> list[Serving]:
        """
        OffsetCommit, OffsetFetch and OffsetDelete.
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
        Commit offsets. Partitions with an error do not prevent the others.
        """
        refused: dict[tuple[str, UUID, int], int] = {}
        offsets: dict[TopicIdPartition, CommittedOffset] = {}
        for named in request.topics:
            for commit in named.partitions:
                try:
                    topic = self._topic(named.name, named.topic_id, context.api_version)
                    partition = _partition(topic, commit.partition_index)
                    offsets[partition] = self._committed(request, commit)
                except KafkaError as error:
                    refused[named.name, named.topic_id, commit.partition_index] = error.code
        member = MemberIdentity(
            request.member_id, request.generation_id_or_member_epoch, request.group_instance_id
        )
        try:
            # Also without any offset: the identity of the member is checked.
            await self._coordinator.commit_offsets(request.group_id, member, offsets)
        except GroupIdNotFound:
            if context.api_version >= 9:
                raise
            raise IllegalGeneration from None
        kind = OffsetCommitResponse.Topic
        return OffsetCommitResponse(
            topics=[
                kind(
                    name=topic.name,
                    topic_id=topic.topic_id,
                    partitions=[
                        kind.Partition(
                            partition_index=each.partition_index,
                            error_code=refused.get(
                                (topic.name, topic.topic_id, each.partition_index), NONE
                            ),
                        )
                        for each in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )

    def _topic(self, name: str, topic_id: UUID, version: int) -> Topic:
        if version >= 10:
            return self._image.topic_by_id(topic_id)
        return self._image.topic(name)

    def _committed(self, request: OffsetCommitRequest, commit: CommitPartition) -> CommittedOffset:
        metadata = commit.committed_metadata or ""
        if len(metadata.encode()) > self._max_metadata:
            raise OffsetMetadataTooLarge
        now = round(self._clock.seconds() * 1000)
        retention = request.retention_time_ms
        return CommittedOffset(
            commit.committed_offset,
            commit.committed_leader_epoch,
            metadata,
            now if commit.commit_timestamp < 0 else commit.commit_timestamp,
            -1 if retention < 0 else now + retention,
        )

    # -- OffsetFetch -----------------------------------------------------------

    async def fetch(
        self, request: OffsetFetchRequest, context: RequestContext
    ) -> OffsetFetchResponse:
        """
        The committed offsets of a group; from version 8 on of several groups,
        each with an error of its own.
        """
        if context.api_version < 8:
            committed = self._coordinator.committed_offsets(request.group_id)
            return OffsetFetchResponse(topics=self._single_group(request, committed))
        return OffsetFetchResponse(
            groups=[self._group(group, context.api_version) for group in request.groups]
        )

    def _single_group(
        self, request: OffsetFetchRequest, committed: Mapping[TopicIdPartition, CommittedOffset]
    ) -> list[OffsetFetchResponse.Topic]:
        topics: list[tuple[str, UUID | None, Iterable[int]]]
        if request.topics is None:
            topics = [(t.name, t.topic_id, indexes) for t, indexes in self._all_topics(committed)]
        else:
            topics = [
                (topic.name, self._id_of(topic.name), topic.partition_indexes)
                for topic in request.topics
            ]
        kind = OffsetFetchResponse.Topic
        return [
            kind(name=name, partitions=_offsets(kind.Partition, committed, topic_id, indexes))
            for name, topic_id, indexes in topics
        ]

    def _group(self, group: OffsetFetchRequest.Group, version: int) -> OffsetFetchResponse.Group:
        try:
            committed = self._coordinator.committed_offsets(group.group_id)
        except KafkaError as error:
            return OffsetFetchResponse.Group(
                group_id=group.group_id, topics=[], error_code=error.code
            )
        topics: list[tuple[str, UUID, UUID | None, Iterable[int]]]
        if group.topics is None:
            topics = [
                (each.name, each.topic_id, each.topic_id, indexes)
                for each, indexes in self._all_topics(committed)
            ]
        else:
            topics = [
                (
                    each.name,
                    each.topic_id,
                    self._known_id(each.topic_id) if version >= 10 else self._id_of(each.name),
                    each.partition_indexes,
                )
                for each in group.topics
            ]
        kind = OffsetFetchResponse.Group.Topic
        return OffsetFetchResponse.Group(
            group_id=group.group_id,
            topics=[
                kind(
                    name=name,
                    topic_id=named_id,
                    partitions=_offsets(
                        kind.Partition,
                        committed,
                        topic_id,
                        indexes,
                        UnknownTopicId.code if topic_id is None and version >= 10 else NONE,
                    ),
                )
                for name, named_id, topic_id, indexes in topics
            ],
        )

    def _all_topics(
        self, committed: Mapping[TopicIdPartition, CommittedOffset]
    ) -> list[tuple[Topic, list[int]]]:
        """
        All topics and partitions with committed offsets.
        """
        indexes: dict[UUID, list[int]] = {}
        for topic_id, index in sorted(committed, key=lambda each: (each[0].int, each[1])):
            indexes.setdefault(topic_id, []).append(index)
        known = [topic for topic in self._image.topics() if topic.topic_id in indexes]
        return [(topic, indexes[topic.topic_id]) for topic in known]

    def _id_of(self, name: str) -> UUID | None:
        try:
            return self._image.topic(name).topic_id
        except UnknownTopicOrPartition:
            return None

    def _known_id(self, topic_id: UUID) -> UUID | None:
        try:
            return self._image.topic_by_id(topic_id).topic_id
        except UnknownTopicId:
            return None

    # -- OffsetDelete ----------------------------------------------------------

    async def delete(
        self, request: OffsetDeleteRequest, context: RequestContext
    ) -> OffsetDeleteResponse:
        """
        Delete committed offsets. Those of topics that members subscribe to are
        kept.
        """
        codes: dict[tuple[str, int], int] = {}
        wanted: dict[TopicIdPartition, tuple[str, int]] = {}
        for topic in request.topics:
            for each in topic.partitions:
                name_and_index = topic.name, each.partition_index
                try:
                    known = self._image.topic(topic.name)
                    wanted[_partition(known, each.partition_index)] = name_and_index
                except UnknownTopicOrPartition:
                    codes[name_and_index] = UnknownTopicOrPartition.code
        names = {partition[0]: name for partition, (name, _) in wanted.items()}
        refused = await self._coordinator.delete_offsets(request.group_id, list(wanted), names)
        for partition, error in refused.items():
            codes[wanted[partition]] = code_of(error)
        kind = OffsetDeleteResponse.Topic
        return OffsetDeleteResponse(
            topics=[
                kind(
                    name=topic.name,
                    partitions=[
                        kind.Partition(
                            partition_index=each.partition_index,
                            error_code=codes.get((topic.name, each.partition_index), NONE),
                        )
                        for each in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )


def _partition(topic: Topic, index: int) -> TopicIdPartition:
    if not 0 <= index < topic.partitions:
        raise UnknownTopicOrPartition
    return topic.topic_id, index


def _offsets(
    kind: Any,
    committed: Mapping[TopicIdPartition, CommittedOffset],
    topic_id: UUID | None,
    indexes: Iterable[int],
    code: int = NONE,
) -> list[Any]:
    """
    The committed offsets of some partitions.

    @param kind: The structure for a partition in the response.
    @param topic_id: None if the topic does not exist.
    @param code: The error code of each.
    """
    partitions = []
    for index in indexes:
        found = _NOT_COMMITTED
        if topic_id is not None:
            found = committed.get((topic_id, index), found)
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
