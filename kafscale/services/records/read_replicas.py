"""
Reading where it is near (KIP-392).

A consumer that says in which rack it is, in another than the leader, is sent to
the broker of its own, which reads what the leader has made durable. One that
comes back was not served there: then it is served here, for a while.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.errors import NotLeaderOrFollower
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
"""How long who was sent away is not sent away again, on one connection."""


class ReadElsewhere(Exception):
    """
    Another broker is nearer to the reader.

    @ivar broker_id: Which.
    @ivar partition: The leader's.
    """

    def __init__(self, broker_id: int, partition: IReadable) -> None:
        super().__init__(broker_id)
        self.broker_id = broker_id
        self.partition = partition


class Nearby:
    """
    What this broker has for readers that say in which rack they are.
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
        @param rack: This broker's.
        """
        self._image = image
        self._log = log
        self._replicas = replicas
        self._rack = rack
        self._clock = clock
        # When they may be sent away again, by connection.
        self._sent: WeakKeyDictionary[object, dict[tuple[UUID, int], float]] = WeakKeyDictionary()

    def seen_from(self, rack: str, connection: object) -> IPartitions:
        """
        The partitions, for a reader in that rack.
        """
        return _SeenFrom(self, rack, connection)

    def partition(self, rack: str, connection: object, where: tuple[UUID, int]) -> IReadable:
        """
        One of them.
        """
        me = self._image.broker_id
        nearest = self._image.nearest(rack, *where)
        if (
            nearest == me
            and rack == self._rack
            and self._image.leadership(*where).leader != me
            and not self._log.leads(where)
        ):
            return self._replicas.partition(*where)
        partition = self._log.partition(*where)
        if nearest in (-1, me):
            return partition
        now = self._clock.seconds()
        if now < self._sent.get(connection, {}).get(where, 0.0):
            return partition
        return _Elsewhere(partition, self, nearest, connection)

    def sends(self, where: tuple[UUID, int], connection: object) -> None:
        """
        A reader is sent away.
        """
        self._sent.setdefault(connection, {})[where] = self._clock.seconds() + STAY_SECONDS


@implementer(IPartitions)
class _SeenFrom:
    """
    The partitions for one reader.
    """

    def __init__(self, nearby: Nearby, rack: str, connection: object) -> None:
        self._nearby = nearby
        self._rack = rack
        self._connection = connection

    def partition(self, topic_id: UUID, index: int) -> IReadable:
        """
        See L{IPartitions.partition}.
        """
        return self._nearby.partition(self._rack, self._connection, (topic_id, index))


@implementer(IReadable)
class _Elsewhere:
    """
    A partition that is led here and is to be read elsewhere: whether it can be
    read as it was asked for is found out here.
    """

    def __init__(
        self, partition: IPartition, nearby: Nearby, broker_id: int, connection: object
    ) -> None:
        self._partition = partition
        self._nearby = nearby
        self._broker_id = broker_id
        self._connection = connection
        self.topic_id: UUID = partition.topic_id
        self.index: int = partition.index
        self.leader_epoch: int = partition.leader_epoch
        self.log_start: int = partition.log_start
        self.high_watermark: int = partition.high_watermark
        # Who is past this is ahead of all other brokers, too.
        self.next_offset: int = partition.next_offset
        self.dropped: bool = partition.dropped

    def available(self, offset: int) -> int:
        """
        @raise ReadElsewhere: always.
        """
        self._nearby.sends((self.topic_id, self.index), self._connection)
        raise ReadElsewhere(self._broker_id, self._partition)

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        @raise NotLeaderOrFollower: always, as L{load}: nothing is L{available}.
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
