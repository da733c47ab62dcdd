"""
Partitions as Metadata and DescribeTopicPartitions describe them.
"""

from __future__ import annotations

import attrs

from kafscale.errors import NONE, LeaderNotAvailable
from kafscale.interfaces import IImage, Topic

_INTERNAL = frozenset({"__consumer_offsets", "__transaction_state"})


@attrs.frozen
class PartitionMetadata:
    """
    A partition as clients see it. The store replicates records, so the replicas
    are the brokers that the partition may be read from: the leader and, where
    brokers have racks, one in each other rack (KIP-392).

    @ivar error_code: LEADER_NOT_AVAILABLE while there is no leader.
    @ivar leader_id: Broker id of the leader; -1 while there is none.
    @ivar replicas: Broker ids.
    @ivar offline: Broker ids of the replicas that are not alive.
    """

    error_code: int
    index: int
    leader_id: int
    leader_epoch: int
    replicas: list[int]
    offline: list[int]


def partitions_of(
    image: IImage, topic: Topic, first: int = 0, most: int | None = None
) -> list[PartitionMetadata]:
    """
    The partitions of a topic, from C{first} on.

    @param most: How many; None for all.
    """
    alive = {broker.broker_id for broker in image.brokers()}
    last = topic.partitions if most is None else min(topic.partitions, first + most)
    partitions = []
    for index in range(first, last):
        known = image.leadership(topic.topic_id, index)
        leader = known.leader
        if leader in alive:
            replicas = list(image.replicas(topic.topic_id, index))
            partitions.append(
                PartitionMetadata(NONE, index, leader, known.leader_epoch, replicas, [])
            )
        else:
            replicas = [leader] if leader >= 0 else []
            partitions.append(
                PartitionMetadata(
                    LeaderNotAvailable.code, index, -1, known.leader_epoch, replicas, replicas
                )
            )
    return partitions


def is_internal(name: str) -> bool:
    """
    Whether clients should hide a topic. This broker has no internal topics, but
    a client may create one with the name of one of Kafka's.
    """
    return name in _INTERNAL
