"""
Topics and partitions as the several APIs that describe them all see them.
"""

from __future__ import annotations

import attrs

from kafscale.errors import NONE, LeaderNotAvailable
from kafscale.interfaces import IImage, Topic

#: What nobody asked for.
NO_OPERATIONS = -(2**31)

# The operations that Kafka knows on each, a bit for the code of each; all are
# allowed while there is no authorization.
TOPIC_OPERATIONS = sum(1 << code for code in (3, 4, 5, 6, 7, 8, 10, 11))
CLUSTER_OPERATIONS = sum(1 << code for code in (5, 7, 8, 9, 10, 11, 12))

GROUP_OPERATIONS = sum(1 << code for code in (3, 6, 8, 10, 11))

#: C{DescribeConfigsResponse.ConfigSource}.
CONFIG_SOURCES = {"topic": 1, "broker": 4, "default": 5}

_INTERNAL = frozenset({"__consumer_offsets", "__transaction_state"})


@attrs.frozen
class DescribedPartition:
    """
    A partition as clients see it. The store replicates, so the replicas are
    those brokers that it may be read from: the leader and, where there are
    racks, one in each other rack (KIP-392).
    """

    error_code: int
    index: int
    leader_id: int
    leader_epoch: int
    replicas: list[int]
    offline: list[int]


def partitions_of(
    image: IImage, topic: Topic, first: int = 0, most: int | None = None
) -> list[DescribedPartition]:
    """
    The partitions of a topic from C{first} on.
    """
    alive = {broker.broker_id for broker in image.brokers()}
    last = topic.partitions if most is None else min(topic.partitions, first + most)
    described = []
    for index in range(first, last):
        known = image.leadership(topic.topic_id, index)
        leader = known.leader
        if leader in alive:
            readers = list(image.replicas(topic.topic_id, index))
            described.append(
                DescribedPartition(NONE, index, leader, known.leader_epoch, readers, [])
            )
        else:
            replicas = [leader] if leader >= 0 else []
            described.append(
                DescribedPartition(
                    LeaderNotAvailable.code, index, -1, known.leader_epoch, replicas, replicas
                )
            )
    return described


def is_internal(name: str) -> bool:
    """
    Whether clients are to hide the topic. There is none such here unless
    somebody makes one of Kafka's names.
    """
    return name in _INTERNAL
