"""
Finding partitions and their leaders.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, overload
from uuid import UUID

from kafscale.errors import FencedLeaderEpoch, UnknownLeaderEpoch, UnknownTopicOrPartition
from kafscale.interfaces import Broker, IImage, ILog, IPartition, IPartitions, IReadable, Topic

N = TypeVar("N")


def living_leader(image: IImage, name: str, index: int) -> int:
    """
    The broker id of a partition's leader; -1 while there is no living leader.

    @raise UnknownTopicOrPartition: there is no such partition.
    """
    topic = image.topic(name)
    if not 0 <= index < topic.partitions:
        raise UnknownTopicOrPartition
    leader = image.leadership(topic.topic_id, index).leader
    return leader if any(broker.broker_id == leader for broker in image.brokers()) else -1


@overload
def find_partition(log: ILog, topic: Topic, index: int) -> IPartition: ...


@overload
def find_partition(log: IPartitions, topic: Topic, index: int) -> IReadable: ...


def find_partition(log: IPartitions, topic: Topic, index: int) -> IReadable:
    """
    A partition of the log.

    @raise UnknownTopicOrPartition: the topic has no partition with this index.
    @raise NotLeaderOrFollower: this broker does not lead it.
    """
    if not 0 <= index < topic.partitions:
        raise UnknownTopicOrPartition
    return log.partition(topic.topic_id, index)


def check_epoch(partition: IReadable, leader_epoch: int) -> None:
    """
    Compare the leader epoch that a client knows with the partition's (KIP-320).

    @param leader_epoch: -1 if the client does not know it.
    @raise FencedLeaderEpoch: the client is behind, and must refresh its metadata.
    @raise UnknownLeaderEpoch: this broker is behind.
    """
    if leader_epoch != -1 and leader_epoch != partition.leader_epoch:
        if leader_epoch < partition.leader_epoch:
            raise FencedLeaderEpoch
        raise UnknownLeaderEpoch


def current_leader(image: IImage, kind: type[N], topic_id: UUID, index: int) -> N:
    """
    The leader of a partition, for the response that sends a client there
    (KIP-951).

    @param kind: The structure of that response.
    @return: With C{leader_id} -1 while there is no living leader.
    """
    known = image.leadership(topic_id, index)
    living = any(broker.broker_id == known.leader for broker in image.brokers())
    make: Any = kind
    leader: N = make(leader_id=known.leader if living else -1, leader_epoch=known.leader_epoch)
    return leader


def addresses(image: IImage, listener: str) -> list[tuple[Broker, str, int]]:
    """
    The brokers that have a listener, with their hosts and ports there.

    @param listener: The name of the listener that the client has connected to.
    """
    found = []
    for broker in image.brokers():
        address = broker.address(listener)
        if address is not None:
            found.append((broker, *address))
    return found


def endpoints(
    image: IImage, kind: type[N], broker_ids: Iterable[int], listener: str
) -> list[N]:
    """
    The addresses of brokers, for the response that sends a client there
    (KIP-951).

    @param kind: The structure of that response.
    @param listener: The name of the listener that the client has connected to.
    """
    wanted = set(broker_ids)
    make: Any = kind
    return [
        make(node_id=broker.broker_id, host=host, port=port, rack=broker.rack)
        for broker, host, port in addresses(image, listener)
        if broker.broker_id in wanted
    ]
