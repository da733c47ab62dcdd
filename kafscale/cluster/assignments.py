"""
Replicas that are assigned to partitions by hand.

The object store replicates the records, so a list of replicas decides who leads: the
first living broker of the list, which is the first one while that lives. The lists
are in the topic's record. So a change is one commit, and the brokers do the rest, as
for every other change of the assignment (`kafscale.cluster.leadership`).

A change of a list is under way until the partition has been led once according to it.
The record keeps the list before and the leader epoch at that time, so it can be
cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from kafscale.errors import (
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    NoReassignmentInProgress,
)
from kafscale.format.topic import Reassignment, TopicRecord
from kafscale.interfaces import Broker, Phase


def check_replicas(replicas: Sequence[int], brokers: Sequence[Broker]) -> None:
    """
    Check a list of replicas that is assigned to a partition
    (C{ReplicationControlManager.validateManualPartitionAssignment} of Kafka).

    @param brokers: All live brokers.
    @raise InvalidReplicaAssignment: the list is empty, names a broker twice, or one
        that is not alive, or only brokers that are leaving.
    """
    if not replicas:
        raise InvalidReplicaAssignment(
            "The manual partition assignment includes an empty replica list."
        )
    phases = {broker.broker_id: broker.phase for broker in brokers}
    for number, broker_id in enumerate(replicas):
        if broker_id not in phases:
            raise InvalidReplicaAssignment(
                f"The manual partition assignment includes broker {broker_id}, but no such broker"
                " is registered."
            )
        if broker_id in replicas[:number]:
            raise InvalidReplicaAssignment(
                f"The manual partition assignment includes the broker {broker_id} more than once."
            )
    if all(phases[broker_id] is Phase.LEAVING for broker_id in replicas):
        raise InvalidReplicaAssignment(
            "All brokers specified in the manual partition assignment are leaving."
        )


def check_new(
    lists: Iterable[Sequence[int]], brokers: Sequence[Broker], size: int | None = None
) -> None:
    """
    Check the lists of replicas of new partitions of a topic.

    @param size: The number of replicas that its other partitions have; None if they
        may have any.
    @raise InvalidReplicaAssignment: see L{check_replicas}; or the lists are of
        different lengths.
    """
    for replicas in lists:
        check_replicas(replicas, brokers)
        if size is not None and len(replicas) != size:
            raise InvalidReplicaAssignment(
                f"The manual partition assignment includes a partition with {len(replicas)}"
                " replica(s), but this is not consistent with previous partitions, which have"
                f" {size} replica(s)."
            )
        size = len(replicas)


def in_progress(
    reassignments: Mapping[int, Reassignment], part: int, epoch: int
) -> Reassignment | None:
    """
    Return the reassignment of a partition that is under way.

    @param reassignments: Those in the topic's record.
    @param epoch: The present leader epoch of the partition.
    """
    change = reassignments.get(part)
    return change if change is not None and epoch <= change.epoch else None


def reassigned(
    record: TopicRecord, part: int, replicas: Sequence[int], moves: bool, epoch: int
) -> TopicRecord:
    """
    Return the topic's record after replicas were assigned to a partition.

    @param replicas: Checked with L{check_replicas}.
    @param moves: Whether the partition gets another leader by this.
    @param epoch: The present leader epoch.
    """
    before = in_progress(record.reassignments, part, epoch)
    previous = before.previous if before else tuple(record.replicas.get(part, ()))
    reassignments = {key: each for key, each in record.reassignments.items() if key != part}
    if moves:
        reassignments[part] = Reassignment(previous, epoch)
    return attrs.evolve(
        record, replicas={**record.replicas, part: replicas}, reassignments=reassignments
    )


def cancelled(record: TopicRecord, part: int, epoch: int) -> TopicRecord:
    """
    Return the topic's record after the reassignment of a partition was cancelled.

    @param epoch: The present leader epoch.
    @raise NoReassignmentInProgress: none is under way.
    """
    change = in_progress(record.reassignments, part, epoch)
    if change is None:
        raise NoReassignmentInProgress("No partition reassignment is in progress.")
    replicas = {key: each for key, each in record.replicas.items() if key != part}
    if change.previous:
        replicas[part] = change.previous
    reassignments = {key: each for key, each in record.reassignments.items() if key != part}
    return attrs.evolve(record, replicas=replicas, reassignments=reassignments)


def check_factor(before: int, replicas: Sequence[int]) -> None:
    """
    Check that the number of a partition's replicas stays the same.

    @raise InvalidReplicationFactor: it does not.
    """
    if before != len(replicas):
        raise InvalidReplicationFactor(
            f"The replication factor is changed from {before} to {len(replicas)}"
        )
