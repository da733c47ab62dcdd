"""
Releasing partitions to other brokers, while this broker lives.

A broker that claims a released partition finds all of it in segments, and has
no journal to seal. So everything is rolled first, while producers go on. Only
then are appends refused, for as long as it takes to roll the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import attrs

from kafscale.errors import NotLeaderOrFollower
from kafscale.format.partition import PartitionRecord
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.record_changes import RecordChanges

Roll = Callable[[Sequence[Partition]], Awaitable[None]]


async def release(partitions: Sequence[Partition], roll: Roll, changes: RecordChanges) -> None:
    """
    Stop leading these partitions.

    @param roll: Writes the durable records of partitions into segments.
    @raise Exception: a roll failed; the partitions are led as before.
    """
    await roll(partitions)
    for partition in partitions:
        partition.closed = True
    try:
        # Every appended record is acknowledged or refused (rule 17), and then
        # in a segment, so the next leader does not need this broker's journal.
        for partition in partitions:
            await partition.settled()
        while left := [each for each in partitions if _is_unrolled(each)]:
            await roll(left)
        async with AsyncExitStack() as locks:
            for partition in partitions:
                await partition.lock.acquire()
                locks.callback(partition.lock.release)
            await _commit([each for each in partitions if not each.dropped], changes)
    finally:
        for partition in partitions:
            partition.closed = False


def _is_unrolled(partition: Partition) -> bool:
    return bool(partition.tail.visible_size) and not partition.dropped


async def _commit(partitions: Sequence[Partition], changes: RecordChanges) -> None:
    changed = [(partition, _released(partition)) for partition in partitions]
    try:
        await changes.commit_all(changed)
    finally:
        # Whatever the outcome (rule 18).
        for partition in partitions:
            partition.drop()


def _released(partition: Partition) -> PartitionRecord:
    record = partition.record
    if record.rolled_to != partition.next_offset:
        raise NotLeaderOrFollower(f"{partition.topic_id}/{partition.index} has unrolled records")
    return attrs.evolve(record, leader=-1, incarnation=0, journals=())
