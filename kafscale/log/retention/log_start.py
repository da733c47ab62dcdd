"""
How the start of a log moves, and what is before it goes.

The start is committed before anything is deleted, and told afterwards: what a
reader was told to be there is there, and nobody's second look finds less than
the first (rule 19).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import attrs
from twisted.logger import Logger

from kafscale.errors import KafkaStorageError, NotLeaderOrFollower, StoreUnavailable
from kafscale.format import object_keys
from kafscale.format.partition import Chapter
from kafscale.interfaces import IObjectStore
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.record_changes import RecordChanges


class LogStartMover:
    """
    The starts of the partitions of one incarnation.
    """

    _log = Logger()

    def __init__(
        self,
        objects: IObjectStore,
        changes: RecordChanges,
        roll: Callable[[Partition], Awaitable[None]],
        chapters_dropped: Callable[[Iterable[Chapter]], None],
    ) -> None:
        """
        @param roll: Puts what is durable of a partition into a segment.
        """
        self._objects = objects
        self._changes = changes
        self._roll = roll
        self._chapters_dropped = chapters_dropped

    async def move(self, partition: Partition, offset: int) -> None:
        """
        Move a partition's log start up to C{offset}, which is not above the
        high watermark; delete the segments that only hold what is before it.
        """
        # The log start never passes rolled_to (rule 20).
        while partition.record.rolled_to < offset:
            await self._roll(partition)
            if partition.dropped:
                raise NotLeaderOrFollower
        async with partition.lock:
            if partition.dropped:
                raise NotLeaderOrFollower
            record = partition.record
            if offset <= record.log_start:
                return
            # The newest segment stays even when none of its records is alive:
            # it carries the end offset and the producers' states (21).
            try:
                first = await partition.segments.base_of(offset)
            except KafkaStorageError:
                await self._changes.check(partition)
                raise
            gone = await partition.segments.objects_before(first)
            epochs = partition.epochs.truncate(offset)
            # What is before the first was to be deleted earlier, and does not
            # count any more; what is not part of the log never did.
            counted = record.first_segment or 0
            bound = {each.base for each in record.chapters}
            freed = sum(
                info.size
                for info in gone
                if (base := object_keys.segment_base(info.key)) >= counted
                and base not in bound
                and info.key == partition.segments.key(base)
            )
            dropped = [each for each in record.chapters if first is None or each.base < first]
            freed += sum(each.size for each in dropped)
            moved = attrs.evolve(
                record,
                log_start=offset,
                first_segment=first,
                stored_bytes=record.stored_bytes - freed,
                epochs=epochs.entries,
                makers=record.makers_from(first),
                chapters=record.chapters[len(dropped) :],
            )
            revision = await self._changes.commit(partition, moved)
            partition.started(moved, revision, epochs)
            partition.segments.forget([info.key for info in gone])
            self._chapters_dropped(dropped)
        garbage = [info.key for info in gone]
        try:
            for at in range(0, len(garbage), 1000):
                await self._objects.delete(garbage[at : at + 1000])
        except StoreUnavailable as why:
            # The log start has moved all the same; the next move deletes them.
            self._log.warn("segments before the log start stay for now: {why}", why=why)
