"""
Where a partition is: here, with another broker, or nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, overload
from uuid import UUID

from kafscale.errors import FencedLeaderEpoch, UnknownLeaderEpoch, UnknownTopicOrPartition
from kafscale.interfaces import IImage, ILog, IPartition, IPartitions, IReadable, Topic

N = TypeVar("N")


@overload
def find_partition(log: ILog, topic: Topic, index: int) -> IPartition: ...


@overload
def find_partition(log: IPartitions, topic: Topic, index: int) -> IReadable: ...


def find_partition(log: IPartitions, topic: Topic, index: int) -> IReadable:
    """
    The partition, if this broker leads it.

    @raise UnknownTopicOrPartition: the topic has none of that index.
    @raise NotLeaderOrFollower: somebody else leads it.
    """
    if not 0 <= index < topic.partitions:
        raise UnknownTopicOrPartition
    return log.partition(topic.topic_id, index)


def check_epoch(partition: IReadable, leader_epoch: int) -> None:
    """
    Compare what the client takes for the leader's epoch (-1: it does not say)
    with what it is (KIP-320).

    @raise FencedLeaderEpoch: the client is behind, and must ask for metadata.
    @raise UnknownLeaderEpoch: this broker is behind.
    """
    if leader_epoch != -1 and leader_epoch != partition.leader_epoch:
        if leader_epoch < partition.leader_epoch:
            raise FencedLeaderEpoch
        raise UnknownLeaderEpoch


def current_leader(image: IImage, kind: type[N], topic_id: UUID, index: int) -> N:
    """
    Who leads the partition, as the message's C{kind} of it (KIP-951).
    """
    known = image.leadership(topic_id, index)
    living = any(broker.broker_id == known.leader for broker in image.brokers())
    make: Any = kind
    leader: N = make(leader_id=known.leader if living else -1, leader_epoch=known.leader_epoch)
    return leader


def endpoints(image: IImage, kind: type[N], broker_ids: Iterable[int]) -> list[N]:
    """
    How to reach these brokers, as the message's C{kind} of it (KIP-951).
    """
    wanted = set(broker_ids)
    make: Any = kind
    return [
        make(node_id=broker.broker_id, host=broker.host, port=broker.port, rack=broker.rack)
        for broker in image.brokers()
        if broker.broker_id in wanted
    ]
