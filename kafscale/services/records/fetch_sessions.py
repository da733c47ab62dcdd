"""
Fetch sessions: what a consumer asks for again and again (KIP-227).

A consumer of many partitions names them once; after that it names only what
has changed, and is answered only about what has. The broker remembers the rest,
within limits: who finds no room is told session 0, and names everything each
time.
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

#: A topic by its id (from version 13 on) or name, and the partition's index.
Key: TypeAlias = tuple[UUID | str, int]

_FIRST_EPOCH = 0
_LAST_EPOCH = -1
_LARGEST_EPOCH = 2**31 - 1


class Asked:
    """
    What a consumer asks of one partition, and in a session what it was told
    last.

    @ivar by_id: Whether its topic is named by id.
    @ivar key: Names the partition as the consumer does.
    @ivar high_watermark: As told last; -1 when the consumer must be told,
        whatever it is.
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
        self.key: Key = (topic.topic_id if by_id else topic.topic, partition.partition)
        self.high_watermark = -1
        self.log_start = -1
        self.ask(partition)

    def ask(self, partition: FetchRequest.Topic.Partition) -> None:
        """
        From now on ask for this.
        """
        self.offset = partition.fetch_offset
        self.max_bytes = partition.partition_max_bytes
        self.leader_epoch = partition.current_leader_epoch
        self.last_epoch = partition.last_fetched_epoch


def asked_in(request: FetchRequest, by_id: bool) -> list[Asked]:
    """
    What the request itself names, in its order.
    """
    return [
        Asked(topic, by_id, partition) for topic in request.topics for partition in topic.partitions
    ]


@attrs.define(eq=False)
class Session:
    """
    What one consumer asks for, in the order in which it is answered.

    @ivar session_id: As the client names it.
    @ivar epoch: The epoch that the next request must have.
    @ivar by_id: Whether it names topics by id.
    @ivar created: When, in seconds.
    @ivar used: When it was used last, in seconds.
    @ivar repeated: As in L{RequestContext}; None once the session has changed.
    """

    session_id: int
    by_id: bool
    partitions: dict[Key, Asked]
    created: float
    used: float
    epoch: int = 1
    repeated: Repeated | None = None

    def to_end(self, asked: Asked) -> None:
        """
        The partition gave data, so the others come before it next time: else
        those at the end would starve when the answer is full before them.
        """
        if self.partitions.pop(asked.key, None) is not None:
            self.partitions[asked.key] = asked

    def update(self, request: FetchRequest) -> int:
        """
        Add and change what the request names, drop what it forgets; by how
        many partitions the session grew.
        """
        if not request.topics and not request.forgotten_topics_data:
            return 0
        self.repeated = None
        before = len(self.partitions)
        for topic in request.topics:
            for partition in topic.partitions:
                asked = Asked(topic, self.by_id, partition)
                # The other object knows what the consumer was told already.
                self.partitions.setdefault(asked.key, asked).ask(partition)
        for forgotten in request.forgotten_topics_data:
            name = forgotten.topic_id if self.by_id else forgotten.topic
            for index in forgotten.partitions:
                self.partitions.pop((name, index), None)
        return len(self.partitions) - before


class Sessions:
    """
    All sessions of the broker, the one used longest ago first.
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
        @param random_id: A number from 1 to 2^31 - 1: hard to guess, so that
            a client does not use another's session by mistake.
        @param most: How many sessions there may be.
        @param most_partitions: How many partitions in all of them.
        @param stale_seconds: After so long unused, a session makes room for
            any other; before, and once it is that old, for a larger one only.
        """
        self._clock = clock
        self._random_id = random_id
        self._most = most
        self._most_partitions = most_partitions
        self._stale_seconds = stale_seconds
        self._sessions: dict[int, Session] = {}
        self._partitions = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def resume(self, request: FetchRequest, by_id: bool) -> Session | None:
        """
        The session that the request goes on with, brought up to date; None
        when it begins a new one, or has none. One that it replaces or leaves
        is closed.

        @raise FetchSessionIdNotFound: there is none of that id (any more).
        @raise InvalidFetchSessionEpoch: a request was lost, or came twice.
        @raise FetchSessionTopicIdError: it names topics otherwise than before.
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

    def holds(self, session: Session) -> bool:
        """
        Whether the client may go on with it.
        """
        return self._sessions.get(session.session_id) is session

    def begin(self, asked: Iterable[Asked], by_id: bool) -> Session | None:
        """
        A new session, or None when there is no room for it.
        """
        partitions = {each.key: each for each in asked}
        if not partitions or not self._make_room(len(partitions)):
            return None
        session_id = self._random_id()
        while session_id in self._sessions:
            session_id = self._random_id()
        now = self._clock.seconds()
        session = Session(session_id, by_id, partitions, created=now, used=now)
        self._sessions[session_id] = session
        self._partitions += len(partitions)
        return session

    def close(self, session_id: int) -> None:
        """
        Forget a session; none of that id is no error.
        """
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self._partitions -= len(session.partitions)

    def _make_room(self, size: int) -> bool:
        """
        Whether there is room for a session of so many partitions, if need be
        in the place of another one.
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
