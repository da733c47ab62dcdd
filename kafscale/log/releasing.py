"""
Handing partitions over, while this broker lives.

Whoever claims what was released finds all of it in segments, and need not stop
anybody. So first what is there is rolled, while producers go on; only then is
nothing more taken, for as long as the rest needs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import attrs

from kafscale.errors import NotLeaderOrFollower
from kafscale.log.changes import RecordChanges
from kafscale.log.partition import Partition
from kafscale.log.record import PartitionRecord
from kafscale.log.sealing import gather

PARALLEL = 16
"""How many partitions are rolled at once."""

Roll = Callable[[Partition], Awaitable[None]]


async def release(partitions: Sequence[Partition], roll: Roll, changes: RecordChanges) -> None:
    """
    Lead these no more.

    @param roll: Puts what is durable of a partition into a segment.
    @raise Exception: what rolling raised; they are led as before.
    """
    await _roll(partitions, roll)
    for partition in partitions:
        partition.closed = True
    try:
        # Every record that was appended is acknowledged or refused (log-rules,
        # 17), and then in a segment: the next leader needs no journal of ours.
        for partition in partitions:
            await partition.settled()
        await _roll(partitions, roll)
        for partition in partitions:
            await partition.lock.acquire()
        try:
            await _commit([each for each in partitions if not each.dropped], changes)
        finally:
            for partition in partitions:
                partition.lock.release()
    finally:
        for partition in partitions:
            partition.closed = False


async def _roll(partitions: Sequence[Partition], roll: Roll) -> None:
    async def rolled(partition: Partition) -> None:
        with suppress(NotLeaderOrFollower):  # it is lost already
            while partition.tail.visible_size and not partition.dropped:
                await roll(partition)

    await gather([lambda each=each: rolled(each) for each in partitions], PARALLEL)  # type: ignore[misc]


async def _commit(partitions: Sequence[Partition], changes: RecordChanges) -> None:
    changed = [(partition, _released(partition)) for partition in partitions]
    try:
        await changes.commit_all(changed)
    finally:
        # Whatever came of it (log-rules, 18).
        for partition in partitions:
            partition.drop()


def _released(partition: Partition) -> PartitionRecord:
    record = partition.record
    if record.rolled_to != partition.next_offset:
        raise NotLeaderOrFollower(f"{partition.topic_id}/{partition.index} is still written")
    return attrs.evolve(record, leader=-1, incarnation=0, journals=())
