"""
The sealed journals of earlier incarnations, which may hold records that are in
no segment yet.

When the last record of a sealed journal is in a segment, its slots are deleted.
Its seals stay for ever, because the writer may only have been asleep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import attrs
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from kafscale.concurrency.gathering import map_bounded
from kafscale.config.settings import MAX_SLOTS_IN_FLIGHT
from kafscale.errors import CommitConflict, NoSuchObject
from kafscale.format import metadata_keys, object_keys
from kafscale.format.bundle import GROUP, read_bundle
from kafscale.format.errors import CorruptObject, NewerFormat, UnreadableData
from kafscale.format.incarnation import IncarnationRecord
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.format.reading import list_objects, may_be_seal
from kafscale.format.slot import Range
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.log.commit import settle
from kafscale.log.takeover.sealing import (
    CorruptLog,
    JournalExtent,
    RecordGone,
    read_slots,
    seal,
)
from kafscale.log.takeover.suffix_cache import SuffixCache

PARALLEL_BUNDLES = 16
"""How many bundles are read at once."""


class SealedJournal:
    """
    One sealed journal, up to its end.

    @ivar extent: Which of its slots count.
    @ivar ranges: For each partition the ranges that hold its records, each with
        the key of its slot.
    """

    def __init__(self, extent: JournalExtent, slots: Sequence[tuple[str, Sequence[Range]]]) -> None:
        self.extent = extent
        self.ranges: dict[TopicIdPartition, list[tuple[str, Range]]] = {}
        for key, held in slots:
            for each in held:
                self.ranges.setdefault((each.topic_id, each.index), []).append((key, each))

    def needed(self, where: TopicIdPartition, record: PartitionRecord) -> list[tuple[str, Range]]:
        """
        Return the ranges of a partition that are in no segment, in order. A range
        counts only if the record names the epoch in which it was written
        (rule 13).
        """
        return [
            (key, each)
            for key, each in self.ranges.get(where, ())
            if each.last_offset >= record.rolled_to
            and (self.extent.incarnation, each.leader_epoch) in record.journals
        ]


class SealedJournals:
    """
    The sealed journals that this broker has opened.

    @ivar reader: Reads their slots, through a cache of the ends that sealing has
        read.
    """

    _log = Logger()

    def __init__(
        self, objects: IObjectStore, metadata: IMetadataStore, namespace: str, incarnation: int
    ) -> None:
        self._objects = objects
        self._metadata = metadata
        self._namespace = namespace
        self._incarnation = incarnation
        self.reader = SuffixCache(objects)
        self._known: dict[int, SealedJournal] = {}
        self._damaged: dict[int, str] = {}  # and why
        self._deleting = DeferredLock()

    async def open(self, incarnation: int) -> SealedJournal:
        """
        Return the journal of an incarnation. It is sealed first, which stops
        the incarnation for good.

        @raise CorruptLog: slots that were acknowledged are missing, or a slot
            is damaged or newer. That is raised again until L{look_again}, for
            each partition of the journal.
        @raise RecordGone: see L{seal}.
        """
        journal = self._known.get(incarnation)
        if journal is None:
            if incarnation in self._damaged:
                raise CorruptLog(self._damaged[incarnation])
            try:
                journal = self._known[incarnation] = await self._opened(incarnation)
            except (CorruptLog, CorruptObject, NewerFormat) as damage:
                self._damaged[incarnation] = str(damage)
                self.reader.forget()  # what was read may be restored
                raise CorruptLog(str(damage)) from None
        return journal

    def are_of(self, broker_id: int, incarnations: Iterable[int]) -> bool:
        """
        Whether the journals of these incarnations are open, and a broker has
        written all of them.
        """
        opened = [self._known.get(incarnation) for incarnation in incarnations]
        return all(each is not None and each.extent.broker == broker_id for each in opened)

    def look_again(self) -> None:
        """
        Forget which journals are damaged.
        """
        self._damaged.clear()

    async def _opened(self, incarnation: int) -> SealedJournal:
        known = await self._read_bundles(incarnation)
        trim = -1
        while True:
            extent = await seal(
                self._objects,
                self._metadata,
                self._namespace,
                incarnation,
                self._incarnation,
                known=known,
                slots=self.reader,
            )
            try:
                return SealedJournal(extent, await read_slots(self.reader, extent))
            except CorruptLog:
                # Another successor may be deleting the slots meanwhile; then the
                # trim mark has moved.
                if extent.trim == trim:
                    raise
                trim = extent.trim

    async def _read_bundles(self, incarnation: int) -> int:
        """
        Read the bundles of a journal, and so many slots with one request.

        @return: A number. All slots before it were acknowledged.
        """
        entry = await self._metadata.get(metadata_keys.incarnation(incarnation))
        if entry is None:
            return 0  # `seal` will raise an error
        record = IncarnationRecord.from_entry(entry)
        prefix = object_keys.bundles(self._namespace, record.broker, incarnation)
        slots = object_keys.journal(self._namespace, record.broker, incarnation)

        async def read(key: str) -> int:
            end = 0
            try:
                for number, data in read_bundle(await self._objects.get(key)):
                    self.reader.know(object_keys.slot(slots, number), data)
                    end = number + 1
            except (NoSuchObject, UnreadableData) as why:
                self._log.warn(
                    "could not read the bundle {key}, reading its slots one by one: {why}",
                    key=key,
                    why=why,
                )
            return end

        trim = record.trim
        after = object_keys.slot(prefix, trim - GROUP) if trim >= GROUP else ""
        found = [info.key async for info in list_objects(self._objects, prefix, after)]
        return max(await map_bounded(read, found, PARALLEL_BUNDLES), default=0)

    async def open_if_left(self, incarnation: int) -> None:
        """
        L{open} the journal of an incarnation whose record another successor may
        have deleted meanwhile: then there is nothing left to be done.

        @raise CorruptLog: see L{open}.
        """
        with suppress(RecordGone):
            await self.open(incarnation)

    async def of_others(self) -> list[tuple[int, int]]:
        """
        Return the incarnations other than this one whose slots are not all
        deleted, each with its broker's id. Some of them may be alive.
        """
        entries, _ = await self._metadata.range(metadata_keys.INCARNATIONS)
        records = [
            (metadata_keys.incarnation_of(entry.key), IncarnationRecord.from_entry(entry))
            for entry in entries
        ]
        return [
            (incarnation, record.broker)
            for incarnation, record in records
            if not record.wound_up and incarnation != self._incarnation
        ]

    async def delete_rolled(self) -> None:
        """
        Delete the slots of the journals whose records are all in segments.
        """
        async with self._deleting:
            for incarnation, journal in list(self._known.items()):
                if await self._is_rolled(journal):
                    await self._delete_slots(journal.extent)
                    del self._known[incarnation]

    async def _is_rolled(self, journal: SealedJournal) -> bool:
        for topic_id, index in list(journal.ranges):
            entry = await self._metadata.get(metadata_keys.partition(topic_id, index))
            if entry is not None:
                record = PartitionRecord.from_entry(entry)
                if journal.needed((topic_id, index), record):
                    return False
            journal.ranges.pop((topic_id, index), None)
        return True

    async def _delete_slots(self, extent: JournalExtent) -> None:
        """
        Move the trim mark to the end, then delete all slots, and what is past
        the end, but never a seal (rules 9 and 10).
        """
        key = metadata_keys.incarnation(extent.incarnation)
        entry = await self._metadata.get(key)
        record = None if entry is None else IncarnationRecord.from_entry(entry)
        if entry is None or record is None or record.wound_up:
            return  # another successor did it
        trimmed = attrs.evolve(record, trim=extent.sealed_at)
        revision = entry.revision
        if record != trimmed:
            try:
                revision = await settle(self._metadata, key, revision, trimmed.to_json())
            except CommitConflict:
                return  # another successor does it
        bundles = object_keys.bundles(self._namespace, extent.broker, extent.incarnation)
        gone = [info.key async for info in list_objects(self._objects, bundles)]
        garbage = []
        past_end = 0
        async for info in list_objects(self._objects, extent.prefix):
            number = object_keys.slot_number(info.key)
            if number >= extent.sealed_at:
                if await may_be_seal(self._objects, info.key):
                    continue
                past_end += 1
            garbage.append(info.key)
        gone += garbage
        for at in range(0, len(gone), 1000):
            await self._objects.delete(gone[at : at + 1000])
        # Recorded last, so that the next successor finishes what was
        # interrupted before.
        with suppress(CommitConflict):
            wound_up = attrs.evolve(trimmed, wound_up=True)
            await settle(self._metadata, key, revision, wound_up.to_json())
        self._log.debug(
            "deleted {slots} slots of the sealed journal of incarnation {incarnation}",
            slots=len(garbage),
            incarnation=extent.incarnation,
        )
        # A writer that died with several flushes under way leaves a few slots
        # past the end. More of them mean that a slot was removed by hand.
        if past_end > MAX_SLOTS_IN_FLIGHT:
            self._log.warn(
                "records are probably lost: the journal of incarnation {incarnation} ended at slot"
                " {end}, but {past_end} slots were past that",
                incarnation=extent.incarnation,
                end=extent.sealed_at,
                past_end=past_end,
            )
