"""
Taking partitions over: at start from the broker's own past, later from others.

Nothing here depends on the length of the log, only on what is in no segment:
a partition's record tells where its segments end, and the sealed journals that
it names hold the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import UUID

import attrs

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import CommitConflict, CorruptMessage, NoSuchObject
from kafscale.format import metadata_keys
from kafscale.format.epochs import Epochs
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.format.slot import Range
from kafscale.format.trailer import intact
from kafscale.interfaces import Compare, Entry, IMetadataStore, IObjectReader
from kafscale.log.commit import Change, settle_all
from kafscale.log.takeover.sealed_journals import Estates
from kafscale.log.takeover.sealing import PARALLEL, CorruptLog
from kafscale.log.takeover.slot_ranges import Parts, read_parts
from kafscale.wire.records import iterate, read_batch_header

GuardOf = Callable[[UUID], Compare | None]
"""What holds while a topic is there; None: nobody knows better."""

IsGone = Callable[[int, int], Awaitable[bool]]
"""Whether an incarnation of a broker (its id, its number) is not alive, as far
as anybody can tell."""


@attrs.frozen
class Claim:
    """
    A partition that was recovered, and is not led yet.

    @ivar record: As it is to be committed.
    @ivar revision: Of the record that recovery began from.
    @ivar batches: What predecessors' journals hold of it that is in no segment.
    """

    where: TopicIdPartition
    record: PartitionRecord
    revision: int
    batches: Sequence[bytes]


async def prepare(
    estates: Estates,
    broker_id: int,
    incarnation: int,
    wanted: Sequence[TopicIdPartition],
    is_gone: IsGone,
) -> list[Claim]:
    """
    Read the partitions' records, seal the journals that they name, and read
    what is theirs there. Partitions whose leaders are not gone are left out.

    @raise CorruptLog: something that was acknowledged is not there.
    """
    objects, metadata = estates.slots, estates.metadata
    entries: dict[str, Entry] = {}
    for topic_id in {where[0] for where in wanted}:
        found, _ = await metadata.range(metadata_keys.partitions(topic_id))
        entries |= {entry.key: entry for entry in found}
    wanted = [
        where
        for where in wanted
        if await _is_free(entries.get(metadata_keys.partition(*where)), is_gone)
    ]
    parts: Parts = {}
    if len(wanted) > 1:  # their records share slots
        needed: list[tuple[str, Range]] = []
        for where in wanted:
            record = _record(entries.get(metadata_keys.partition(*where)))
            with suppress(NoSuchObject, CorruptLog):  # which are looked into below
                needed += (await _needed(estates, incarnation, where, record))[0]
        parts = await read_parts(objects, needed)
    claims = []
    for where in wanted:
        entry = entries.get(metadata_keys.partition(*where))
        while await _is_free(entry, is_gone):
            try:
                claims.append(
                    await _recover(objects, estates, broker_id, incarnation, where, entry, parts)
                )
                break
            except (NoSuchObject, CorruptLog) as missing:
                # The predecessor, before it was sealed, or another successor
                # has rolled what is missing and let its slots go; then the
                # record says so, and the one read before is not to be claimed.
                newer = await metadata.get(metadata_keys.partition(*where))
                if newer == entry:
                    raise CorruptLog(f"{_name(where)} cannot be recovered: {missing}") from None
                entry = newer
    return claims


async def _is_free(entry: Entry | None, is_gone: IsGone) -> bool:
    """
    Whether a partition with this record may be taken.
    """
    record = _record(entry)
    return record.leader < 0 or await is_gone(record.leader, record.incarnation)


async def _recover(
    objects: IObjectReader,
    estates: Estates,
    broker_id: int,
    incarnation: int,
    where: TopicIdPartition,
    entry: Entry | None,
    parts: Parts,
) -> Claim:
    record = _record(entry)
    revision = 0 if entry is None else entry.revision
    needed, journals = await _needed(estates, incarnation, where, record)
    batches, end = await _read(objects, where, record.rolled_to, needed, parts)
    epoch = record.epoch + 1
    claimed = attrs.evolve(
        record,
        leader=broker_id,
        incarnation=incarnation,
        epoch=epoch,
        epochs=Epochs(record.epochs).assign(epoch, end).entries,
        journals=(*journals, (incarnation, epoch)),
    )
    return Claim(where, claimed, revision, batches)


def _record(entry: Entry | None) -> PartitionRecord:
    return PartitionRecord() if entry is None else PartitionRecord.from_entry(entry)


async def _needed(
    estates: Estates, incarnation: int, where: TopicIdPartition, record: PartitionRecord
) -> tuple[list[tuple[str, Range]], list[tuple[int, int]]]:
    """
    What journals hold of a partition that is in no segment, in order; and the
    (incarnation, epoch) of those that hold some.
    """
    needed: list[tuple[str, Range]] = []
    journals = []
    # No claim before the end of each journal is recorded (rule 6). Our
    # own is named after a claim of which we did not hear that it was done:
    # nothing was written under it.
    for past in sorted({number for number, _ in record.journals} - {incarnation}):
        estate = await estates.of(past)
        parts = estate.needed(where, record)
        needed += parts
        journals += sorted({(past, part.leader_epoch) for _, part in parts})
    needed.sort(key=lambda found: found[1].first_offset)
    return needed, journals


async def _read(
    objects: IObjectReader,
    where: TopicIdPartition,
    start: int,
    needed: Sequence[tuple[str, Range]],
    parts: Parts,
) -> tuple[list[bytes], int]:
    """
    The batches from C{start} on, and the offset after the last.
    """
    known = [(key, part, parts.pop((key, part.position), None)) for key, part in needed]
    missing = [(key, part) for key, part, data in known if data is None]
    read = await map_bounded(
        lambda each: objects.get(each[0], each[1].position, each[1].length), missing, PARALLEL
    )
    rest = iter(read)
    fetched = [next(rest) if data is None else data for _, _, data in known]
    batches: list[bytes] = []
    end = start
    for (key, part), data in zip(needed, fetched, strict=True):
        try:
            found = [data[at : at + header.size] for at, header in iterate(data)]
        except CorruptMessage:
            found = []
        if len(data) != part.length or not intact(found, part.crc):
            raise CorruptLog(f"{key} does not hold what its footer says of {_name(where)}")
        for batch in found:
            header = read_batch_header(batch)
            if header.next_offset <= end:
                continue  # a segment has it already
            if header.base_offset != end:
                raise CorruptLog(f"{_name(where)} has no record at {end}; {key} has {header}")
            batches.append(batch)
            end = header.next_offset
    return batches, end


async def commit_claims(
    metadata: IMetadataStore, incarnation: int, claims: Sequence[Claim], guard_of: GuardOf
) -> tuple[list[tuple[Claim, int]], list[TopicIdPartition]]:
    """
    Commit the claims, each if its record is as it was when recovery began, and
    if this incarnation is not sealed itself (rule 12). A partition
    without a record was never led, or its topic is deleted: it is claimed only
    while that is there, and else left out.

    @return: Those done, with their revisions; and the partitions of those that
        lost a race, to be recovered again.
    @raise CommitConflict: this incarnation is sealed.
    """
    alive = Compare(metadata_keys.seal(incarnation), 0)
    groups: dict[UUID | None, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(None if claim.revision else claim.where[0], []).append(claim)
    done: list[tuple[Claim, int]] = []
    lost: list[TopicIdPartition] = []
    left_out = False
    for topic_id, group in groups.items():
        guard = None if topic_id is None else guard_of(topic_id)
        changes = [
            Change(metadata_keys.partition(*claim.where), claim.revision, claim.record.to_json())
            for claim in group
        ]
        guards = (alive,) if guard is None else (alive, guard)
        for claim, revision in zip(group, await settle_all(metadata, changes, guards), strict=True):
            if revision is not None:
                done.append((claim, revision))
            elif guard is None:
                lost.append(claim.where)
            else:
                left_out = True
    if (lost or left_out) and await metadata.get(alive.key) is not None:
        raise CommitConflict(alive.key)
    return done, lost


def _name(where: TopicIdPartition) -> str:
    return f"partition {where[1]} of topic {where[0]}"
