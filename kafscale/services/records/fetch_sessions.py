"""
Fetch sessions (KIP-227).

A consumer of many partitions names them once. Later requests name only the
partitions that have changed, and so do the responses. The broker keeps the
rest, within limits: a consumer for which there is no room gets session id 0,
and names all partitions in each request.

Kafka's C{FetchSession} and C{FetchSessionCache} do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias
from uuid import UUID

import attrs
from twisted.internet.interfaces import IReactorTime

from kafscale.errors import (
    FetchSessionIdNotFound,
    FetchSessionTopicIdError,
    InvalidFetchSessionEpoch,
)
from kafscale.interfaces import Repeated
from kafscale.wire.messages import FetchRequest

#: A topic by its id (from version 13 on) or name, and the index of a partition.
PartitionKey: TypeAlias = tuple[UUID | str, int]

_FIRST_EPOCH = 0
_LAST_EPOCH = -1
_LARGEST_EPOCH = 2**31 - 1


class RequestedPartition:
    """
    What a consumer requests of one partition and, in a session, what the last
    response to it said (Kafka's C{CachedPartition}).

    @ivar by_id: Whether the request names the topic by id.
    @ivar key: Identifies the partition, as the request does.
    @ivar index: Of the partition.
    @ivar offset: The first offset to read.
    @ivar max_bytes: The most bytes to read.
    @ivar leader_epoch: The leader epoch that the consumer knows; -1 if none.
    @ivar last_epoch: The epoch of the last record that the consumer has read;
        -1 if unknown.
    @ivar high_watermark: In the last response; -1 if the next response must
        have the partition, whatever its high watermark is.
    @ivar log_start: The log start offset in the last response.
    """

    __slots__ = (
        "by_id",
        "high_watermark",
        "index",
        "key",
        "last_epoch",
        "leader_epoch",
        "log_start",
        "max_bytes",
        "name",
        "offset",
        "topic_id",
    )

    def __init__(
        self, topic: FetchRequest.Topic, by_id: bool, partition: FetchRequest.Topic.Partition
    ) -> None:
        self.name = topic.topic
        self.topic_id = topic.topic_id
        self.by_id = by_id
        self.index = partition.partition
        self.key: PartitionKey = (topic.topic_id if by_id else topic.topic, partition.partition)
        self.high_watermark = -1
        self.log_start = -1
        self.update(partition)

    def update(self, partition: FetchRequest.Topic.Partition) -> None:
        """
        Take over what a later request says of the partition.
        """
        self.offset = partition.fetch_offset
        self.max_bytes = partition.partition_max_bytes
        self.leader_epoch = partition.current_leader_epoch
        self.last_epoch = partition.last_fetched_epoch


def partitions_in(request: FetchRequest, by_id: bool) -> list[RequestedPartition]:
    """
    The partitions that a request names, in its order.
    """
    return [
        RequestedPartition(topic, by_id, partition)
        for topic in request.topics
        for partition in topic.partitions
    ]


@attrs.define(eq=False)
class FetchSession:
    """
    The partitions of one consumer, in the order in which responses have them.

    @ivar session_id: Identifies the session in requests.
    @ivar by_id: Whether its requests name topics by id.
    @ivar created: When it was created, in seconds.
    @ivar used: When it was used last, in seconds.
    @ivar epoch: The epoch that the next request must have.
    @ivar repeated: As in L{RequestContext}; None once the session has changed.
    @ivar isolation_level: Of the last request; -1 before the second.
    """

    session_id: int
    by_id: bool
    partitions: dict[PartitionKey, RequestedPartition]
    created: float
    used: float
    epoch: int = 1
    repeated: Repeated | None = None
    isolation_level: int = -1

    def move_to_end(self, partition: RequestedPartition) -> None:
        """
        Let other partitions come before this one, which had records: otherwise
        the last ones would starve whenever a response is full before them.
        """
        if self.partitions.pop(partition.key, None) is not None:
            self.partitions[partition.key] = partition

    def update(self, request: FetchRequest) -> int:
        """
        Add and change the partitions that a request names, and remove those that
        it forgets.

        @return: By how many partitions the session has grown.
        """
        if self.isolation_level != request.isolation_level:
            self.isolation_level = request.isolation_level
            self.repeated = None
        if not request.topics and not request.forgotten_topics_data:
            return 0
        self.repeated = None
        before = len(self.partitions)
        for topic in request.topics:
            for partition in topic.partitions:
                requested = RequestedPartition(topic, self.by_id, partition)
                # An older object knows what the last response to it said.
                self.partitions.setdefault(requested.key, requested).update(partition)
        for forgotten in request.forgotten_topics_data:
            name = forgotten.topic_id if self.by_id else forgotten.topic
            for index in forgotten.partitions:
                self.partitions.pop((name, index), None)
        return len(self.partitions) - before


class FetchSessionCache:
    """
    The fetch sessions of this broker, least recently used first.
    """

    def __init__(
        self,
        clock: IReactorTime,
        random_id: Callable[[], int],
        most: int = 1000,
        most_partitions: int = 200_000,
        stale_seconds: float = 120.0,
    ) -> None:
        """
        @param clock: For the age of sessions.
        @param random_id: Returns a random number from 1 to 2^31 - 1, so that a
            client does not use the session of another one by mistake.
        @param most: How many sessions there may be
            (C{max.incremental.fetch.session.cache.slots}).
        @param most_partitions: How many partitions they may have together.
        @param stale_seconds: A session that was not used for this time may be
            replaced by any other; one that was, and is older than this, by a
            larger one only.
        """
        self._clock = clock
        self._random_id = random_id
        self._most = most
        self._most_partitions = most_partitions
        self._stale_seconds = stale_seconds
        self._sessions: dict[int, FetchSession] = {}
        self._partitions = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def resume(self, request: FetchRequest, by_id: bool) -> FetchSession | None:
        """
        The session of a request, updated by it; None if the request begins a
        session, or has none. A session that it replaces or ends is closed.

        @raise FetchSessionIdNotFound: there is no session with this id.
        @raise InvalidFetchSessionEpoch: a request was lost, or came twice.
        @raise FetchSessionTopicIdError: the session names topics by name and the
            request by id, or the other way round.
        """
        if request.session_epoch in (_FIRST_EPOCH, _LAST_EPOCH):
            self.close(request.session_id)
            return None
        session = self._sessions.get(request.session_id)
        if session is None:
            raise FetchSessionIdNotFound
        if session.epoch != request.session_epoch:
            raise InvalidFetchSessionEpoch
        if session.by_id != by_id:
            raise FetchSessionTopicIdError
        self._partitions += session.update(request)
        if not session.partitions or self._partitions > self._most_partitions:
            self.close(session.session_id)
        session.epoch = session.epoch % _LARGEST_EPOCH + 1
        session.used = self._clock.seconds()
        if self._sessions.pop(session.session_id, None) is not None:
            self._sessions[session.session_id] = session
        return session

    def holds(self, session: FetchSession) -> bool:
        """
        Whether a session is in the cache, so that its client may use it.
        """
        return self._sessions.get(session.session_id) is session

    def begin(
        self, requested: Iterable[RequestedPartition], by_id: bool
    ) -> FetchSession | None:
        """
        Begin a session with these partitions.

        @return: None if there is no room for it.
        """
        partitions = {each.key: each for each in requested}
        if not partitions or not self._make_room(len(partitions)):
            return None
        session_id = self._random_id()
        while session_id in self._sessions:
            session_id = self._random_id()
        now = self._clock.seconds()
        session = FetchSession(session_id, by_id, partitions, created=now, used=now)
        self._sessions[session_id] = session
        self._partitions += len(partitions)
        return session

    def close(self, session_id: int) -> None:
        """
        Remove a session, if there is one with this id.
        """
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self._partitions -= len(session.partitions)

    def _make_room(self, size: int) -> bool:
        """
        Make room for a session with this number of partitions, by removing
        another one if need be.

        @return: Whether there is room.
        """
        if not self._fits(size) and self._sessions:
            now = self._clock.seconds()
            oldest = next(iter(self._sessions.values()))
            if now - oldest.used > self._stale_seconds:
                self.close(oldest.session_id)
            else:
                settled = [
                    each
                    for each in self._sessions.values()
                    if now - each.created > self._stale_seconds and len(each.partitions) < size
                ]
                if settled:
                    smallest = min(settled, key=lambda each: len(each.partitions))
                    self.close(smallest.session_id)
        return self._fits(size)

    def _fits(self, size: int) -> bool:
        return len(self._sessions) < self._most and self._partitions + size <= self._most_partitions
