"""
Sealing: how a successor stops an earlier incarnation.

That incarnation may be dead, or only slow: it may wake up in an hour and go on
writing. No clock can tell. What stops it is a seal: an object under the key of
a slot that it has not written yet. Its next attempt to create that slot finds
the seal, and it acknowledges nothing more. What it had written before the seal
is the journal's final content, the same for every reader.

Where a create may replace an object, a mark in the metadata store stops it: see
`kafscale.log.journal.fencing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import CommitConflict, ObjectExists
from kafscale.format import metadata_keys, object_keys
from kafscale.format.errors import UnreadableData
from kafscale.format.incarnation import WINDOW, IncarnationRecord, JournalRecord, SealRecord
from kafscale.format.reading import list_objects, slot_footer
from kafscale.format.slot import SMALLEST_SLOT, Range, Seal, write_seal
from kafscale.interfaces import Compare, IMetadataStore, IObjectReader, IObjectStore
from kafscale.log.commit import settle

BARRIER = 32
"""How many slots past the last one listed the barrier is put at first (rule 3).
More than a writer has under way and sends until the barrier exists."""

PARALLEL_READS = 64
"""How many footers are read at once."""


@attrs.frozen
class JournalExtent:
    """
    The part of a sealed journal that counts.

    @ivar incarnation: The number of the incarnation that wrote it.
    @ivar broker: The id of that incarnation's broker.
    @ivar prefix: The prefix of its slots' keys.
    @ivar trim: The lowest slot that may still be needed.
    @ivar sealed_at: The slot after the last one that counts.
    """

    incarnation: int
    broker: int
    prefix: str
    trim: int
    sealed_at: int


async def seal(
    objects: IObjectStore,
    metadata: IMetadataStore,
    namespace: str,
    incarnation: int,
    sealer: int,
    *,
    known: int = 0,
    slots: IObjectReader | None = None,
) -> JournalExtent:
    """
    Stop an incarnation for good, and find the end of its journal. Any number of
    successors may do this at once: all of them get the same answer.

    @param incarnation: The number of the incarnation to stop.
    @param sealer: The number of the incarnation that stops it.
    @param known: All slots before this one were acknowledged, so that the walk
        can begin here.
    @param slots: Reads the slots, through a cache; by default they are read from
        C{objects}.
    @raise RecordGone: there is no such incarnation, or not any more: all of its
        records were in segments, and its slots are deleted.
    @raise CorruptLog: slots that were acknowledged are missing. Nothing is
        changed then.
    """
    slots = slots or objects
    key = metadata_keys.seal(incarnation)
    guards: tuple[Compare, ...]
    raised_barrier = False
    while True:
        # The end first: once it is recorded the writer's trim mark does not move.
        recorded = await metadata.get(key)
        entry = await metadata.get(metadata_keys.incarnation(incarnation))
        if entry is None:
            raise RecordGone(f"incarnation {incarnation} is not in the metadata store")
        record = IncarnationRecord.from_entry(entry)
        broker, trim = record.broker, record.trim
        prefix = object_keys.journal(namespace, broker, incarnation)
        end = None if recorded is None else SealRecord.from_entry(recorded).sealed_at
        if end is not None:
            # What is recorded is the end, whatever seal objects exist: one may
            # have been put where a slot was deleted (rule 5).
            return JournalExtent(incarnation, broker, prefix, trim, end)
        stored = await metadata.get(metadata_keys.journal(incarnation))
        if stored is not None:
            # Its writer keeps to the window, and has recorded how far it came.
            count = JournalRecord.from_entry(stored).stored
            missing = await _missing_below(objects, slots, prefix, max(trim, known), count)
            if missing is not None and await metadata.get(entry.key) == entry:
                raise CorruptLog(
                    f"{object_keys.slot(prefix, missing)} is missing, and it was acknowledged:"
                    " objects were deleted, or this is not the store in which they are"
                    " (docs/operations.md: When records are missing)"
                )
            if missing is not None:
                continue  # the writer, or another successor, has trimmed it meanwhile
        if record.is_marked:
            if recorded is None:
                # This stops it. The trim mark that counts is read afterwards.
                with suppress(CommitConflict):  # another's mark does, too
                    exists = Compare(entry.key, None)  # no mark outlives it (rule 27)
                    await settle(metadata, key, 0, SealRecord(sealer).to_json(), (exists,))
                continue
            # All that it has acknowledged was stored before it was marked. It
            # may go on storing, so two successors may find different ends, all
            # past that; the first to record one wins (rule 5).
            end, _ = await _first_missing(slots, prefix, max(trim, known))
            revision, guards = recorded.revision, ()
        else:
            if not raised_barrier:
                await _raise_barrier(objects, slots, prefix, max(trim, known), sealer)
                raised_barrier = True
            end = await _seal_first_missing(objects, slots, prefix, max(trim, known), sealer)
            # The writer may have trimmed past this slot during the walk; then
            # the seal is where a slot was deleted, and stops nothing (rule 4).
            # Comparing the record's revision finds out. Of two sealers the
            # first to record an end wins (rule 5).
            revision, guards = 0, (Compare(entry.key, entry.revision),)
        try:
            await settle(metadata, key, revision, SealRecord(sealer, end).to_json(), guards)
        except CommitConflict:
            continue
        return JournalExtent(incarnation, broker, prefix, trim, end)


async def _missing_below(
    objects: IObjectStore, slots: IObjectReader, prefix: str, first: int, stored: int
) -> int | None:
    """
    Look for a slot that was acknowledged and is missing (rule 26): below the
    number that the writer has recorded, or so far below a slot that exists that
    the writer must have acknowledged it before.

    @param first: The lowest slot that may be needed.
    @param stored: All slots below this one were acknowledged.
    @return: The number of the first that is missing; None if none is.
    """
    present = first
    last = -1
    after = object_keys.slot(prefix, first - 1) if first else ""
    async for info in list_objects(objects, prefix, after):
        if info.size >= SMALLEST_SLOT:  # and is no seal
            last = object_keys.slot_number(info.key)
            present += last == present
    least = max(stored, last - WINDOW + 1)
    if present < least:
        # A slot may have been stored after its place was listed.
        present, _ = await _first_missing(slots, prefix, present)
    return present if present < least else None


async def _raise_barrier(
    objects: IObjectStore, slots: IObjectReader, prefix: str, first: int, sealer: int
) -> None:
    """
    Put a seal ahead of a writer that may be busy, for it to run into: a sealer
    that follows slot by slot would never catch up (rule 3). If the writer is past
    the place already, put it farther ahead. A seal past the last slot is a barrier: an
    earlier attempt may have been given up because a slot is damaged.
    """
    last = first - 1
    ahead = BARRIER
    is_ahead = False
    while True:
        after = object_keys.slot(prefix, last) if last >= 0 else ""
        async for info in list_objects(objects, prefix, after):
            last = object_keys.slot_number(info.key)
            is_ahead = info.size < SMALLEST_SLOT  # and is a seal
        if is_ahead:
            return
        barrier = object_keys.slot(prefix, last + ahead)
        try:
            await objects.create(barrier, [write_seal(sealer)])
            return
        except ObjectExists:
            if isinstance(await slot_footer(slots, barrier), Seal):
                return  # another's does, too
        ahead *= 2


async def _seal_first_missing(
    objects: IObjectStore, slots: IObjectReader, prefix: str, first: int, sealer: int
) -> int:
    """
    Walk along the existing slots from C{first} on, and seal the first one that is
    missing. A seal on the way ends the walk.

    @return: The number of the slot with the seal.
    """
    number = first
    while True:
        number, is_sealed = await _first_missing(slots, prefix, number)
        if is_sealed:
            return number
        try:
            await objects.create(object_keys.slot(prefix, number), [write_seal(sealer)])
        except ObjectExists:
            continue  # it appeared, or an earlier attempt was done: look again
        return number


async def _first_missing(slots: IObjectReader, prefix: str, start: int) -> tuple[int, bool]:
    """
    Find the first slot from C{start} on that is missing or holds a seal.

    @return: Its number, and whether it holds a seal.
    @raise UnreadableData: a slot before that is damaged or newer.
    """

    async def look(number: int) -> Sequence[Range] | Seal | UnreadableData | None:
        try:
            return await slot_footer(slots, object_keys.slot(prefix, number))
        except UnreadableData as error:
            return error  # which does not matter if a slot before is missing

    number = start
    while True:
        window = range(number, number + PARALLEL_READS)
        found = await map_bounded(look, window, PARALLEL_READS)
        for number, held in zip(window, found, strict=True):
            if isinstance(held, UnreadableData):
                raise held
            if held is None or isinstance(held, Seal):
                return number, held is not None
        number += 1


async def read_slots(
    objects: IObjectReader, extent: JournalExtent
) -> list[tuple[str, Sequence[Range]]]:
    """
    Read the footers of the slots of a sealed journal that may hold records which
    are in no segment.

    @return: The key of each slot, and the ranges in it.
    @raise CorruptLog: a slot is missing, or a seal is before the end.
    """
    slots = [
        object_keys.slot(extent.prefix, number) for number in range(extent.trim, extent.sealed_at)
    ]
    found = await map_bounded(lambda key: slot_footer(objects, key), slots, PARALLEL_READS)
    result = []
    for key, held in zip(slots, found, strict=True):
        if held is None or isinstance(held, Seal):
            found_instead = "missing" if held is None else "a seal"
            raise CorruptLog(f"{key} must be a slot with records, but is {found_instead}")
        result.append((key, held))
    return result


class RecordGone(LookupError):
    """
    An incarnation has no record in the metadata store.
    """


class CorruptLog(Exception):
    """
    The stored log contradicts its records: something else has changed it.
    """
