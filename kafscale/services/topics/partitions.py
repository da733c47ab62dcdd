"""
Partitions as Metadata and DescribeTopicPartitions describe them.
"""

from __future__ import annotations

import attrs

from kafscale.errors import NONE, LeaderNotAvailable
from kafscale.interfaces import IImage, Topic


@attrs.frozen
class PartitionMetadata:
    """
    A partition as clients see it. The store replicates records, so the replicas
    are the brokers that are assigned by hand, or else those that the partition may
    be read from: the leader and, where brokers have racks, one in each other rack
    (KIP-392).

    @ivar error_code: LEADER_NOT_AVAILABLE while there is no leader.
    @ivar leader_id: Broker id of the leader; -1 while there is none.
    @ivar replicas: Broker ids.
    @ivar in_sync: Broker ids of the replicas that are alive; if none is, the last
        leader.
    @ivar offline: Broker ids of the replicas that are not alive.
    """

    error_code: int
    index: int
    leader_id: int
    leader_epoch: int
    replicas: list[int]
    in_sync: list[int]
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
        replicas = image.replicas(topic.topic_id, index)
        if not replicas and known.leader >= 0:
            replicas = (known.leader,)
        in_sync = [broker_id for broker_id in replicas if broker_id in alive]
        led = known.leader in alive
        partitions.append(
            PartitionMetadata(
                NONE if led else LeaderNotAvailable.code,
                index,
                known.leader if led else -1,
                known.leader_epoch,
                list(replicas),
                in_sync or [each for each in replicas if each == known.leader],
                [broker_id for broker_id in replicas if broker_id not in alive],
            )
        )
    return partitions
