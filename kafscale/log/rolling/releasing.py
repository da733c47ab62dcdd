"""
Handing partitions over, while this broker lives.

Whoever claims what was released finds all of it in segments, and need not stop
anybody. So first what is there is rolled, while producers go on; only then is
nothing more taken, for as long as the rest needs.
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
    Lead these no more.

    @param roll: Puts what is durable of partitions into segments.
    @raise Exception: what rolling raised; they are led as before.
    """
    await roll(partitions)
    for partition in partitions:
        partition.closed = True
    try:
        # Every record that was appended is acknowledged or refused (rule 17), and
        # then in a segment: the next leader needs no journal of ours.
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
        # Whatever came of it (rule 18).
        for partition in partitions:
            partition.drop()


def _released(partition: Partition) -> PartitionRecord:
    record = partition.record
    if record.rolled_to != partition.next_offset:
        raise NotLeaderOrFollower(f"{partition.topic_id}/{partition.index} is still written")
    return attrs.evolve(record, leader=-1, incarnation=0, journals=())
