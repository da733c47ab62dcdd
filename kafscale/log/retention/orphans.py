"""
A search for objects that nothing refers to and nothing has deleted.

An object is normally deleted as soon as nothing refers to it
(`kafscale.log.retention.trimming`, `kafscale.log.takeover.sealed_journals`,
`kafscale.log.retention.log_start`). Orphans come from operations that were late
or whose answer was lost: a slot that lands in a journal whose slots were
deleted, a segment that appears below a log start or in a deleted topic, a
deletion that failed. So now and then all keys are listed, page by page. An
object that is an orphan in one search, and still is in the next, is deleted.

An orphan stays one: trim marks, recorded ends and first segments never go back,
no topic gets the id of another, and an incarnation whose record was deleted gets
none again (`kafscale.log.retention.incarnations`). Seals are never deleted, nor is
a segment at or past C{rolled_to} (rule 10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore
from kafscale.concurrency.gathering import map_bounded
from kafscale.format import metadata_keys, object_keys
from kafscale.format.bundle import GROUP
from kafscale.format.incarnation import (
    NO_SLOTS,
    IncarnationRecord,
    SealRecord,
    needed_slots,
)
from kafscale.format.partition import PartitionRecord
from kafscale.format.reading import may_be_seal
from kafscale.format.slot import SMALLEST_SLOT
from kafscale.interfaces import ObjectInfo
from kafscale.log.environment import LogEnvironment
from kafscale.log.retention.incarnations import IncarnationRecords, lowest_incarnation
from kafscale.log.takeover.sealing import PARALLEL_READS

PAGE_KEYS = 1000
"""How many keys are looked at together."""

PAUSE_SECONDS = 1.0
"""Seconds between two pages."""

MAX_REMEMBERED = 100_000
"""How many keys are remembered from one search to the next; others have to wait."""


class OrphanSweep:
    """
    Searches a namespace at an interval.
    """

    _log = Logger()

    def __init__(self, environment: LogEnvironment, is_settled: Callable[[int, int], bool]) -> None:
        """
        @param is_settled: See L{kafscale.log.rolling.volumes.Volumes.is_settled}.
        """
        self._is_settled = is_settled
        self._objects = environment.objects
        self._metadata = environment.metadata
        self._namespace = environment.settings.namespace
        self._incarnations = IncarnationRecords(environment)
        self._seconds = environment.settings.orphan_seconds
        self._counts = environment.counts
        self._suspects: set[str] = set()  # orphans of the search before
        self._lowest: int | None = None
        self._wound_up: set[int] = set()  # incarnations none of whose bundles is needed
        self._chore = Chore(
            environment.clock, self._sweep, self._failed, interval=self._seconds
        )

    def begin(self) -> None:
        """
        Search at the interval from now on. Called again, it changes nothing.
        """
        if self._seconds:
            self._chore.start()

    async def stop(self) -> None:
        """
        Start no more searches, and return when none is under way.
        """
        await self._chore.stop()

    def _failed(self, failure: Failure) -> None:
        self._log.warn(
            "orphan sweep failed, next in {seconds:.0f} s: {why}",
            seconds=self._seconds,
            why=failure.getErrorMessage(),
        )

    async def _sweep(self) -> None:
        before, self._suspects, self._lowest = self._suspects, set(), None
        self._wound_up.clear()
        deleted = 0
        for kind in object_keys.SWEPT:
            prefix, after = object_keys.prefix_of(self._namespace, kind), ""
            while not self._chore.stopped:
                page = await self._objects.list(prefix, after, PAGE_KEYS)
                # The metadata is read after the objects are listed: what refers
                # to an object was there before the object.
                if kind == object_keys.VOLUMES:
                    found = await self._orphan_volumes_among(page)
                else:
                    found = await self._orphans_among(page)
                deleted += await self._delete([key for key in found if key in before])
                if len(self._suspects) < MAX_REMEMBERED:
                    self._suspects.update(key for key in found if key not in before)
                if len(page) < PAGE_KEYS:
                    break
                after = page[-1].key
                await self._chore.sleep(PAUSE_SECONDS)
        if deleted:
            self._log.info("orphan sweep deleted {number} objects", number=deleted)
        if not self._chore.stopped:
            await self._incarnations.delete_finished(lambda: self._chore.stopped)

    # -- finding orphans -------------------------------------------------------

    async def _orphans_among(self, page: Sequence[ObjectInfo]) -> list[str]:
        """
        Return the keys of slots, bundles and segments that are orphans. Some of
        the slots may be seals.
        """
        needed: dict[int, range | None] = {}
        records: dict[str, PartitionRecord | None] = {}
        found = []
        for info in page:
            slot = object_keys.parse_slot(self._namespace, info.key)
            bundle = object_keys.parse_bundle(self._namespace, info.key)
            segment = object_keys.parse_segment(self._namespace, info.key)
            if slot is not None and info.size >= SMALLEST_SLOT:
                incarnation, number = slot
                if incarnation not in needed:
                    needed[incarnation] = await self._needed(incarnation)
                slots = needed[incarnation]
                if slots is not None and number not in slots:
                    found.append(info.key)
            elif bundle is not None:
                incarnation, number = bundle
                if incarnation not in needed:
                    needed[incarnation] = await self._needed(incarnation)
                slots = needed[incarnation]
                is_below = slots is not None and number + GROUP <= slots.start
                if is_below or incarnation in self._wound_up:
                    found.append(info.key)
            elif segment is not None:
                topic_id, index, base = segment
                key = metadata_keys.partition(topic_id, index)
                if key not in records:
                    records[key] = await self._record(key)
                record = records[key]
                if record is None or _is_orphan(record, base, info.key):
                    found.append(info.key)
        return found

    async def _orphan_volumes_among(self, page: Sequence[ObjectInfo]) -> list[str]:
        """
        Return the keys of volumes that no record names and none ever will: only
        the leader of a partition names a volume, and only for partitions that
        it was written for.
        """
        found = {
            info.key: volume
            for info in page
            if (volume := object_keys.parse_volume(self._namespace, info.key)) is not None
        }
        if not found:
            return []
        settled = {volume for volume in found.values() if self._is_settled(*volume)}
        entries, _ = await self._metadata.range(metadata_keys.PARTITIONS)
        records = [PartitionRecord.from_entry(entry) for entry in entries]
        known = {
            incarnation
            for incarnation in {volume[0] for volume in found.values()}
            if await self._needed(incarnation) is not None
        }
        named = {(each.incarnation, each.number) for record in records for each in record.chapters}
        leading = {record.incarnation for record in records}
        return [
            key
            for key, volume in found.items()
            if volume not in named
            and volume[0] in known
            and (volume[0] not in leading or volume in settled)
        ]

    async def _needed(self, incarnation: int) -> range | None:
        """
        See L{needed_slots}. None if there never was such an incarnation, so that
        it is not known whose slots these are.
        """
        if self._lowest is None:  # once in a search, before the first record
            self._lowest, _ = await lowest_incarnation(self._metadata)
        entry = await self._metadata.get(metadata_keys.incarnation(incarnation))
        if entry is None:
            return NO_SLOTS if incarnation < self._lowest else None
        record = IncarnationRecord.from_entry(entry)
        if record.wound_up:
            self._wound_up.add(incarnation)
        sealed = await self._metadata.get(metadata_keys.seal(incarnation))
        return needed_slots(record, None if sealed is None else SealRecord.from_entry(sealed))

    async def _record(self, key: str) -> PartitionRecord | None:
        """
        Return a partition's record; None if the partition was deleted. Without
        a record there never was a segment.
        """
        entry = await self._metadata.get(key)
        return None if entry is None else PartitionRecord.from_entry(entry)

    # -- deleting orphans ------------------------------------------------------

    async def _delete(self, garbage: Sequence[str]) -> int:
        """
        Delete objects, but never a seal.

        @return: How many were deleted.
        """
        slots = [key for key in garbage if object_keys.parse_slot(self._namespace, key) is not None]
        kinds = await map_bounded(
            lambda key: may_be_seal(self._objects, key), slots, PARALLEL_READS
        )
        stay = {key for key, is_seal in zip(slots, kinds, strict=True) if is_seal}
        gone = [key for key in garbage if key not in stay]
        if gone and not self._chore.stopped:
            await self._objects.delete(gone)
            self._counts.orphans += len(gone)
            return len(gone)
        return 0


def _is_orphan(record: PartitionRecord, base: int, key: str) -> bool:
    """
    Return whether the segment at C{key}, with the base offset C{base}, is not
    part of the partition's log, and never will be.
    """
    if base < (record.first_segment or 0):
        return True
    if base >= record.rolled_to:
        return False
    if base >= record.next_base:
        # There are chapters here. A segment that includes them may exist
        # already, and be about to be committed.
        return object_keys.segment_key_epoch(key) < record.epoch
    name = key.rsplit("/", 1)[1]
    return name != object_keys.segment("", base, record.key_epoch(base))
