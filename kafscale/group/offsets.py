"""
The committed offsets of a group, and when they expire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from types import MappingProxyType
from uuid import UUID

from kafscale.format import metadata_keys
from kafscale.format.offset import CommittedOffset
from kafscale.format.partition import TopicIdPartition
from kafscale.group.group import Group
from kafscale.group.subscription import subscribed
from kafscale.interfaces import GroupState


class Offsets:
    """
    The committed offsets of one group: those that are durable, and those that
    are being written.
    """

    def __init__(self, prefix: str) -> None:
        """
        @param prefix: What their keys in the metadata store begin with.
        """
        self._prefix = prefix
        self._keys: dict[TopicIdPartition, str] = {}
        self._offsets: dict[TopicIdPartition, CommittedOffset] = {}
        self._tickets = count()
        self._writing: dict[TopicIdPartition, set[int]] = {}
        self._topics: dict[UUID, set[TopicIdPartition]] = {}  # durable or being written

    def durable(self) -> Mapping[TopicIdPartition, CommittedOffset]:
        """
        The offsets that are durable, by partition. It changes with them.
        """
        return MappingProxyType(self._offsets)

    def all(self) -> list[TopicIdPartition]:
        """
        The partitions with an offset, durable or being written.
        """
        return [partition for topic in self._topics.values() for partition in topic]

    def of_topic(self, topic_id: UUID) -> list[TopicIdPartition]:
        """
        The partitions of a topic with an offset, durable or being written.
        """
        return list(self._topics.get(topic_id, ()))

    def key(self, partition: TopicIdPartition) -> str:
        """
        The key of a partition's offset in the metadata store.
        """
        found = self._keys.get(partition)
        if found is None:
            found = self._keys[partition] = metadata_keys.offset(self._prefix, partition)
        return found

    def begin(self, wanted: Iterable[TopicIdPartition]) -> int:
        """
        Offsets for these partitions are being written.

        @return: A ticket for L{end}.
        """
        ticket = next(self._tickets)
        for partition in wanted:
            self._writing.setdefault(partition, set()).add(ticket)
            self._topics.setdefault(partition[0], set()).add(partition)
        return ticket

    def end(
        self, ticket: int, offsets: Mapping[TopicIdPartition, CommittedOffset], durable: bool
    ) -> None:
        """
        A write has ended. Offsets that were removed meanwhile stay removed:
        their deletion is written later than they are.

        @param ticket: From L{begin}.
        @param durable: Whether they were written.
        """
        for partition, offset in offsets.items():
            writing = self._writing.get(partition, set())
            if ticket in writing:
                writing.remove(ticket)
                if not writing:
                    del self._writing[partition]
                if durable:
                    self._offsets[partition] = offset
                elif not writing and partition not in self._offsets:
                    self._drop(partition)

    def put(self, partition: TopicIdPartition, offset: CommittedOffset) -> None:
        """
        Add an offset that was read from the metadata store.
        """
        self._offsets[partition] = offset
        self._topics.setdefault(partition[0], set()).add(partition)

    def remove(self, wanted: Iterable[TopicIdPartition]) -> None:
        """
        Remove the offsets of these partitions. The caller deletes them from the
        metadata store.
        """
        for partition in wanted:
            self._offsets.pop(partition, None)
            self._writing.pop(partition, None)
            self._drop(partition)

    def _drop(self, partition: TopicIdPartition) -> None:
        topic = self._topics.get(partition[0], set())
        topic.discard(partition)
        self._keys.pop(partition, None)
        if not topic:
            self._topics.pop(partition[0], None)

    def expired(
        self, group: Group, now: float, retention: float, name_of: Mapping[object, str]
    ) -> list[TopicIdPartition]:
        """
        The partitions whose offsets have expired (KIP-211): in a group without
        members, some time after the last one left, and after the commit; in a
        group with members, some time after the commit, if no member subscribes
        to the topic.

        @param now: In seconds since 1970.
        @param retention: That time, in seconds.
        @param name_of: Names of topics by id.
        """
        # Offsets may be committed after the last member left, too.
        begin = group.since if group.state is GroupState.EMPTY and group.protocol_type else 0.0

        def due(offset: CommittedOffset) -> bool:
            if offset.expires_ms >= 0:
                return now * 1000 >= offset.expires_ms
            return now - max(begin, offset.committed_ms / 1000) >= retention

        old = [
            partition
            for partition, offset in self._offsets.items()
            if partition not in self._writing and due(offset)
        ]
        if not old or group.state is GroupState.EMPTY:
            return old
        topics = subscribed(group) if group.state is GroupState.STABLE else None
        if topics is None:
            return []
        return [partition for partition in old if name_of.get(partition[0]) not in topics]
