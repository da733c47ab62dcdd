"""
Reading from a broker in the consumer's rack (KIP-392).

A consumer that states its rack, which is not the leader's, is referred to the
broker of its rack, which reads what the leader has made durable. A consumer that
comes back was not served there, so the leader serves it for a while.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.errors import NotLeaderOrFollower
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import (
    Fetched,
    IImage,
    ILog,
    IPartition,
    IPartitions,
    IReadable,
    IReplicas,
    Watcher,
)

STAY_SECONDS: Final = 60.0
"""For how long a consumer that was referred to another broker is not referred
again, on one connection."""


class PreferredReadReplica(Exception):
    """
    The consumer should read from another broker.

    @ivar broker_id: The id of that broker.
    @ivar partition: The partition of the leader.
    """

    def __init__(self, broker_id: int, partition: IReadable) -> None:
        super().__init__(broker_id)
        self.broker_id = broker_id
        self.partition = partition


class ReplicaSelector:
    """
    Selects where consumers that state their rack read a partition: here, as the
    leader or as a replica, or from another broker.
    """

    def __init__(
        self,
        image: IImage,
        log: ILog,
        replicas: IReplicas,
        rack: str | None,
        clock: IReactorTime,
    ) -> None:
        """
        @param image: Knows leaders and racks.
        @param log: Has the partitions that this broker leads.
        @param replicas: Has the partitions that it reads from other leaders.
        @param rack: The rack of this broker.
        @param clock: For L{STAY_SECONDS}.
        """
        self._image = image
        self._log = log
        self._replicas = replicas
        self._rack = rack
        self._clock = clock
        # When consumers may be referred again, by connection and partition.
        self._referred: WeakKeyDictionary[object, dict[TopicIdPartition, float]] = (
            WeakKeyDictionary()
        )

    def partitions_for(self, rack: str, connection: object) -> IPartitions:
        """
        The partitions for a consumer in this rack.
        """
        return _PartitionsFor(self, rack, connection)

    def partition(self, rack: str, connection: object, wanted: TopicIdPartition) -> IReadable:
        """
        One partition for a consumer in this rack.

        @raise NotLeaderOrFollower: this broker has no such partition.
        """
        me = self._image.broker_id
        nearest = self._image.nearest(rack, *wanted)
        if (
            nearest == me
            and rack == self._rack
            and self._image.leadership(*wanted).leader != me
            and not self._log.leads(wanted)
        ):
            return self._replicas.partition(*wanted)
        partition = self._log.partition(*wanted)
        if nearest in (-1, me):
            return partition
        now = self._clock.seconds()
        if now < self._referred.get(connection, {}).get(wanted, 0.0):
            return partition
        return _ReferringPartition(partition, self, nearest, connection)

    def referred(self, wanted: TopicIdPartition, connection: object) -> None:
        """
        A consumer is referred to another broker.
        """
        until = self._clock.seconds() + STAY_SECONDS
        self._referred.setdefault(connection, {})[wanted] = until


@implementer(IPartitions)
class _PartitionsFor:
    """
    The partitions for one consumer.
    """

    def __init__(self, selector: ReplicaSelector, rack: str, connection: object) -> None:
        self._selector = selector
        self._rack = rack
        self._connection = connection

    def partition(self, topic_id: UUID, index: int) -> IReadable:
        """
        See L{IPartitions.partition}.
        """
        return self._selector.partition(self._rack, self._connection, (topic_id, index))


@implementer(IReadable)
class _ReferringPartition:
    """
    A partition that this broker leads, and that the consumer should read from
    another broker. Offset and epochs of the request are checked here.
    """

    def __init__(
        self, partition: IPartition, selector: ReplicaSelector, broker_id: int, connection: object
    ) -> None:
        self._partition = partition
        self._selector = selector
        self._broker_id = broker_id
        self._connection = connection
        self.topic_id: UUID = partition.topic_id
        self.index: int = partition.index
        self.leader_epoch: int = partition.leader_epoch
        self.log_start: int = partition.log_start
        self.high_watermark: int = partition.high_watermark
        self.last_stable_offset: int = partition.last_stable_offset
        # A consumer past this offset is ahead of all other brokers, too.
        self.next_offset: int = partition.next_offset
        self.dropped: bool = partition.dropped

    @property
    def committed(self) -> _ReferringPartition:
        """
        See L{IReadable}.
        """
        return self

    def available(self, offset: int) -> int:
        """
        @raise PreferredReadReplica: always.
        """
        self._selector.referred((self.topic_id, self.index), self._connection)
        raise PreferredReadReplica(self._broker_id, self._partition)

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        Not called, as nothing is L{available}.

        @raise NotLeaderOrFollower: always.
        """
        raise NotLeaderOrFollower

    async def load(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        See L{read}.
        """
        raise NotLeaderOrFollower

    def watch(self, watcher: Watcher) -> None:
        """
        See L{IReadable.watch}.
        """
        self._partition.watch(watcher)

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """
        See L{IReadable.end_of_epoch}.
        """
        return self._partition.end_of_epoch(epoch)

    async def confirm(self) -> None:
        """
        See L{IReadable.confirm}.
        """
        await self._partition.confirm()
