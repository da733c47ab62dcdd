"""
Recovering partitions: at the start from the broker's own past, later from that
of other brokers.

The work depends on how many records are in no segment, and not on the length of
the log: a partition's record says where its segments end, and the sealed
journals that it names hold the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import UUID

import attrs
from twisted.logger import Logger

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import CommitConflict, CorruptMessage, NoSuchObject
from kafscale.format import metadata_keys
from kafscale.format.epochs import Epochs
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.format.slot import Range
from kafscale.format.topic import NameRecord, TopicRecord
from kafscale.format.trailer import intact
from kafscale.interfaces import Compare, Entry, IMetadataStore
from kafscale.interfaces.incarnations import alive
from kafscale.log.commit import Change, settle_all
from kafscale.log.environment import LogEnvironment
from kafscale.log.takeover.sealed_journals import SealedJournals
from kafscale.log.takeover.sealing import PARALLEL_READS, CorruptLog, RecordGone
from kafscale.log.takeover.slot_ranges import RangeData, read_ranges
from kafscale.wire.records import iterate, read_batch_header

REFUSED_SECONDS = 60.0
"""Seconds after which partitions whose acknowledged records are missing are tried
again: each attempt reads their journals."""

GuardOf = Callable[[UUID], Compare | None]
"""Returns what holds in the metadata store while a topic exists; None for no
guard."""

IsGone = Callable[[int, int], Awaitable[bool]]
"""Returns whether an incarnation (of a broker id, with a number) is not a member
of the cluster any more."""


@attrs.frozen
class Claim:
    """
    A partition that was recovered, and is not led yet.

    @ivar record: The record to commit.
    @ivar revision: The revision of the record that recovery began from.
    @ivar batches: The batches from sealed journals that are in no segment.
    @ivar true_times: Whether their headers are known to state the largest timestamps
        of their records.
    @ivar created: The revision at which the topic was created; None if it is
        deleted. It is not looked up if the partition has a segment.
    """

    where: TopicIdPartition
    record: PartitionRecord
    revision: int
    batches: Sequence[bytes]
    true_times: bool
    created: int | None


class Recovery:
    """
    Recovers partitions for one incarnation, from their records and from sealed
    journals.
    """

    _log = Logger()

    def __init__(
        self, environment: LogEnvironment, incarnation: int, sealed_journals: SealedJournals
    ) -> None:
        """
        @param incarnation: The number of the incarnation that is to lead the
            partitions.
        @param sealed_journals: The journals of earlier incarnations.
        """
        self._metadata = environment.metadata
        self._name_of = environment.name_of
        self._seconds = environment.clock.seconds
        self._broker_id = environment.broker_id
        self._incarnation = incarnation
        self._sealed_journals = sealed_journals
        self._refused: dict[TopicIdPartition, str] = {}  # and why; logged already
        self._again_at = 0.0  # when to try these again

    async def prepare(
        self, wanted: Sequence[TopicIdPartition], is_gone: IsGone, *, leave_out_own: bool = False
    ) -> list[Claim]:
        """
        Read the records of partitions, seal the journals that the records name,
        and read from the journals what is in no segment. Partitions that have a
        leader which is not gone are left out. So are those whose acknowledged
        records are missing: that is logged, and for L{REFUSED_SECONDS} they are
        not looked at again.

        @param leave_out_own: Whether that holds if this broker has written all of
            their journals, too.
        @raise CorruptLog: otherwise, if acknowledged records are missing there.
        """
        self._sealed_journals.look_again()
        if self._seconds() < self._again_at:
            wanted = [where for where in wanted if where not in self._refused]
        topics = [metadata_keys.partitions(topic_id) for topic_id, _ in wanted]
        found = await map_bounded(self._metadata.range, list(dict.fromkeys(topics)))
        entries = {entry.key: entry for records, _ in found for entry in records}
        wanted = [
            where
            for where in wanted
            if await _is_free(entries.get(metadata_keys.partition(*where)), is_gone)
        ]
        begun = [
            topic_id
            for topic_id, index in wanted
            if _record(entries.get(metadata_keys.partition(topic_id, index))).last_segment is None
        ]
        topic_ids = list(dict.fromkeys(begun))
        created = dict(
            zip(topic_ids, await map_bounded(self._created, topic_ids), strict=True)
        )
        read: RangeData = {}
        if len(wanted) > 1:  # their records are in the same slots
            needed: list[tuple[str, Range]] = []
            for where in wanted:
                record = _record(entries.get(metadata_keys.partition(*where)))
                with suppress(NoSuchObject, CorruptLog, RecordGone):  # looked into below
                    needed += (await self._needed(where, record))[0]
            read = await read_ranges(self._sealed_journals.reader, needed)
        claims = []
        for where in wanted:
            entry = entries.get(metadata_keys.partition(*where))
            while await _is_free(entry, is_gone):
                try:
                    claims.append(
                        await self._recover(where, entry, read, created.get(where[0]))
                    )
                    self._refused.pop(where, None)
                    break
                except (NoSuchObject, CorruptLog, RecordGone) as missing:
                    # The last leader, before it was sealed, or another successor
                    # has rolled what is missing and deleted its slots, and perhaps
                    # the incarnation's record. Then the partition's record says
                    # so, and the one read before must not be claimed.
                    newer = await self._metadata.get(metadata_keys.partition(*where))
                    if newer != entry:
                        self._sealed_journals.look_again()
                        entry = newer
                        continue
                    journals = self._journals_of(_record(entry))
                    if not leave_out_own and self._sealed_journals.are_of(
                        self._broker_id, journals
                    ):
                        raise CorruptLog(
                            f"{_name(where)} cannot be recovered: {missing}"
                        ) from None
                    self._refuse(where, str(missing))
                    break
        return claims

    async def _created(self, topic_id: UUID) -> int | None:
        """
        Return the revision at which a topic was created; None if it is deleted. The
        entry of its name is put once, when it is created.
        """
        topic = await self._metadata.get(metadata_keys.topic(topic_id))
        if topic is None:
            return None
        name = await self._metadata.get(metadata_keys.name(TopicRecord.from_entry(topic).name))
        if name is None or NameRecord.from_entry(name).topic_id != topic_id:
            return None
        return name.revision

    def _refuse(self, where: TopicIdPartition, why: str) -> None:
        self._again_at = self._seconds() + REFUSED_SECONDS
        if self._refused.get(where) != why:
            self._refused[where] = why
            self._log.error(
                "cannot lead {partition}, while other partitions are not affected; it is tried"
                " again every {seconds:g} s until the objects are restored: {why}",
                partition=self._name_of(*where),
                seconds=REFUSED_SECONDS,
                why=why,
            )

    async def _recover(
        self,
        where: TopicIdPartition,
        entry: Entry | None,
        read: RangeData,
        created: int | None,
    ) -> Claim:
        """
        @param read: Ranges that were read already.
        @param created: See L{Claim.created}.
        """
        record = _record(entry)
        revision = 0 if entry is None else entry.revision
        needed, journals = await self._needed(where, record)
        batches, end = await self._read(where, record.rolled_to, needed, read)
        epoch = record.epoch + 1
        claimed = attrs.evolve(
            record,
            leader=self._broker_id,
            incarnation=self._incarnation,
            epoch=epoch,
            epochs=Epochs(record.epochs).assign(epoch, end).entries,
            journals=(*journals, (self._incarnation, epoch)),
        )
        true_times = all(each.true_times for _, each in needed)
        return Claim(where, claimed, revision, batches, true_times, created)

    async def _needed(
        self, where: TopicIdPartition, record: PartitionRecord
    ) -> tuple[list[tuple[str, Range]], list[tuple[int, int]]]:
        """
        Find the ranges of sealed journals that have records of a partition
        which are in no segment.

        @return: The ranges in the order of their offsets, each with the key of
            its slot; and the (incarnation, epoch) pairs of their journals.
        """
        needed: list[tuple[str, Range]] = []
        journals = []
        # No claim before the end of each journal is recorded (rule 6).
        for number in self._journals_of(record):
            journal = await self._sealed_journals.open(number)
            ranges = journal.needed(where, record)
            needed += ranges
            journals += sorted({(number, each.leader_epoch) for _, each in ranges})
        needed.sort(key=lambda found: found[1].first_offset)
        return needed, journals

    def _journals_of(self, record: PartitionRecord) -> list[int]:
        """
        Return the incarnations whose journals a record names, but this one. It is
        named if an earlier claim had an unknown outcome: nothing was written
        under that claim.
        """
        return sorted({number for number, _ in record.journals} - {self._incarnation})

    async def _read(
        self,
        where: TopicIdPartition,
        start: int,
        needed: Sequence[tuple[str, Range]],
        read: RangeData,
    ) -> tuple[list[bytes], int]:
        """
        Read ranges of a partition.

        @param start: Offset of the first record to return.
        @param read: Ranges that were read already.
        @return: The batches from C{start} on, and the offset after the last.
        @raise CorruptLog: the ranges leave a gap, or were changed.
        """
        known = [(key, each, read.pop((key, each.position), None)) for key, each in needed]
        missing = [(key, each) for key, each, data in known if data is None]
        reader = self._sealed_journals.reader
        late = iter(
            await map_bounded(
                lambda found: reader.get(found[0], found[1].position, found[1].length),
                missing,
                PARALLEL_READS,
            )
        )
        fetched = [next(late) if data is None else data for _, _, data in known]
        batches: list[bytes] = []
        end = start
        for (key, each), data in zip(needed, fetched, strict=True):
            try:
                found = [data[at : at + header.size] for at, header in iterate(data)]
            except CorruptMessage:
                found = []
            if len(data) != each.length or not intact(found, each.crc):
                raise CorruptLog(f"the records of {_name(where)} in {key} were changed")
            for batch in found:
                header = read_batch_header(batch)
                if header.next_offset <= end:
                    continue  # a segment has it already
                if header.base_offset != end:
                    raise CorruptLog(
                        f"{_name(where)} has no record at offset {end}: {key} continues at"
                        f" {header.base_offset}"
                    )
                batches.append(batch)
                end = header.next_offset
        return batches, end


async def _is_free(entry: Entry | None, is_gone: IsGone) -> bool:
    """
    Return whether a partition with this record may be claimed.
    """
    record = _record(entry)
    return record.leader < 0 or await is_gone(record.leader, record.incarnation)


def _record(entry: Entry | None) -> PartitionRecord:
    return PartitionRecord() if entry is None else PartitionRecord.from_entry(entry)


async def commit_claims(
    metadata: IMetadataStore, incarnation: int, claims: Sequence[Claim], guard_of: GuardOf
) -> tuple[list[tuple[Claim, int]], list[TopicIdPartition]]:
    """
    Commit claims, each if the partition's record is as it was when recovery began,
    and if this incarnation is not sealed itself (rules 12 and 27). A partition without a
    record was never led, or its topic was deleted: it is claimed only while the
    topic exists, and is left out otherwise.

    @return: The claims that were committed, with the revisions; and the
        partitions of those that lost a race, to be recovered again.
    @raise CommitConflict: this incarnation is sealed.
    """
    changes = [
        Change(
            metadata_keys.partition(*claim.where),
            claim.revision,
            claim.record.to_json(),
            None if claim.revision else guard_of(claim.where[0]),
        )
        for claim in claims
    ]
    guards = alive(incarnation)
    revisions = await settle_all(metadata, changes, guards)
    done: list[tuple[Claim, int]] = []
    lost: list[TopicIdPartition] = []
    left_out = False
    for claim, change, revision in zip(claims, changes, revisions, strict=True):
        if revision is not None:
            done.append((claim, revision))
        elif change.guard is None:
            lost.append(claim.where)
        else:
            left_out = True
    if (lost or left_out) and not await metadata.holds(guards):
        raise CommitConflict(metadata_keys.incarnation(incarnation))
    return done, lost


def _name(where: TopicIdPartition) -> str:
    return f"partition {where[1]} of topic {where[0]}"
