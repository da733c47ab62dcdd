"""
Moving the log start of a partition, and deleting the segments before it.

The new log start is committed before anything is deleted, and answered after
that. So the records from a reported log start on exist, and a log start that
was reported never goes back (rule 19).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import attrs
from twisted.logger import Logger

from kafscale.errors import KafkaStorageError, NotLeaderOrFollower, StoreUnavailable
from kafscale.format import object_keys
from kafscale.format.partition import Chapter
from kafscale.log.environment import LogEnvironment
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.record_changes import RecordChanges


class LogStartMover:
    """
    Moves the log starts of one incarnation's partitions.
    """

    _log = Logger()

    def __init__(
        self,
        environment: LogEnvironment,
        changes: RecordChanges,
        roll: Callable[[Partition], Awaitable[None]],
        chapters_dropped: Callable[[Iterable[Chapter]], None],
    ) -> None:
        """
        @param changes: Commits the partitions' records.
        @param roll: Writes the durable records of a partition into a segment.
        @param chapters_dropped: Called with the chapters that a record names no
            longer.
        """
        self._objects = environment.objects
        self._name_of = environment.name_of
        self._changes = changes
        self._roll = roll
        self._chapters_dropped = chapters_dropped

    async def move(self, partition: Partition, offset: int) -> None:
        """
        Move a partition's log start up, and delete the segments that hold only
        records before it.

        @param offset: The new log start, not above the high watermark.
        @raise NotLeaderOrFollower: this broker does not lead the partition any
            more.
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
            # The newest segment stays even when none of its records is left:
            # it carries the end offset and the states of producers (rule 21).
            try:
                first = await partition.segments.base_of(offset)
            except KafkaStorageError:
                await self._changes.check(partition)
                raise
            gone = await partition.segments.objects_before(first)
            epochs = partition.epochs.truncate(offset)
            # Segments before the first were to be deleted earlier, and are not
            # counted any more; those that are no part of the log never were.
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
                key_epochs=record.key_epochs_from(first),
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
            self._log.warn(
                "could not delete segments of {partition} before offset {offset}, trying again when"
                " its log start next moves: {why}",
                partition=self._name_of(partition.topic_id, partition.index),
                offset=offset,
                why=why,
            )
