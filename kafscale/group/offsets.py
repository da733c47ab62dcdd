"""
How far a group has read, and when that is to be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from types import MappingProxyType
from uuid import UUID

from kafscale.format import metadata_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.group.group import Group
from kafscale.group.subscription import subscribed
from kafscale.interfaces import CommittedOffset, GroupState


class Offsets:
    """
    The commits of one group: those that are durable, and which are on their
    way.
    """

    def __init__(self, prefix: str) -> None:
        """
        @param prefix: What the keys of all of them begin with.
        """
        self._prefix = prefix
        self._keys: dict[TopicIdPartition, str] = {}
        self._offsets: dict[TopicIdPartition, CommittedOffset] = {}
        self._tickets = count()
        self._coming: dict[TopicIdPartition, set[int]] = {}
        self._topics: dict[UUID, set[TopicIdPartition]] = {}  # all of both

    def durable(self) -> Mapping[TopicIdPartition, CommittedOffset]:
        """
        What can be told.
        """
        return MappingProxyType(self._offsets)

    def all(self) -> list[TopicIdPartition]:
        """
        Of which partitions there are commits, or will be.
        """
        return [where for topic in self._topics.values() for where in topic]

    def topics(self) -> list[UUID]:
        """
        Of which topics there are.
        """
        return list(self._topics)

    def of_topic(self, topic_id: UUID) -> list[TopicIdPartition]:
        """
        Of which partitions of a topic.
        """
        return list(self._topics.get(topic_id, ()))

    def key(self, where: TopicIdPartition) -> str:
        """
        Where the commit for a partition is in the store.
        """
        found = self._keys.get(where)
        if found is None:
            found = self._keys[where] = metadata_keys.offset(self._prefix, where)
        return found

    def begin(self, wanted: Iterable[TopicIdPartition]) -> int:
        """
        Commits for these are on their way. A ticket for L{end}.
        """
        ticket = next(self._tickets)
        for where in wanted:
            self._coming.setdefault(where, set()).add(ticket)
            self._topics.setdefault(where[0], set()).add(where)
        return ticket

    def end(
        self, ticket: int, offsets: Mapping[TopicIdPartition, CommittedOffset], durable: bool
    ) -> None:
        """
        These have arrived, or never will. What was removed after they set out
        is removed from the store after them, and does not come back here.
        """
        for where, offset in offsets.items():
            coming = self._coming.get(where, set())
            if ticket in coming:
                coming.remove(ticket)
                if not coming:
                    del self._coming[where]
                if durable:
                    self._offsets[where] = offset
                elif not coming and where not in self._offsets:
                    self._forget(where)

    def put(self, where: TopicIdPartition, offset: CommittedOffset) -> None:
        """
        This one was in the store.
        """
        self._offsets[where] = offset
        self._topics.setdefault(where[0], set()).add(where)

    def remove(self, wanted: Iterable[TopicIdPartition]) -> None:
        """
        These are to be removed from the store.
        """
        for where in wanted:
            self._offsets.pop(where, None)
            self._coming.pop(where, None)
            self._forget(where)

    def _forget(self, where: TopicIdPartition) -> None:
        topic = self._topics.get(where[0], set())
        topic.discard(where)
        self._keys.pop(where, None)
        if not topic:
            self._topics.pop(where[0], None)

    def expired(
        self, group: Group, now: float, retention: float, name_of: Mapping[object, str]
    ) -> list[TopicIdPartition]:
        """
        What is to be forgotten (KIP-211): of a group without members, some
        time after it lost them; of one that never had any, after the commit;
        and of one with members what they are not subscribed to any more.

        @param name_of: Names of topics by their id.
        """
        # A commit after the last member has gone is a commit all the same.
        begin = group.since if group.state is GroupState.EMPTY and group.protocol_type else 0.0

        def due(offset: CommittedOffset) -> bool:
            if offset.expires_ms >= 0:
                return now * 1000 >= offset.expires_ms
            return now - max(begin, offset.committed_ms / 1000) >= retention

        old = [
            where
            for where, offset in self._offsets.items()
            if where not in self._coming and due(offset)
        ]
        if not old or group.state is GroupState.EMPTY:
            return old
        topics = subscribed(group) if group.state is GroupState.STABLE else None
        return [] if topics is None else [w for w in old if name_of.get(w[0]) not in topics]
