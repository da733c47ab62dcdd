"""
Mutations of the broker's code, each of which breaks a rule of the log.

Each function takes the original function and returns its replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred, succeed

from kafscale.cluster.leadership import Leaderships
from kafscale.errors import (
    CommitConflict,
    ObjectExists,
    OutOfOrderSequenceNumber,
    StoreUnavailable,
)
from kafscale.format import metadata_keys, object_keys
from kafscale.group.shard import Shard
from kafscale.interfaces import (
    Compare,
    IMetadataStore,
    IObjectReader,
    IObjectStore,
    Put,
    Settling,
)
from kafscale.log.journal.fencing import Marked
from kafscale.log.journal.journal import Journal
from kafscale.log.journal.stored import StoredSlots
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.producers import ProducerStates
from kafscale.log.partition.record_changes import RecordChanges
from kafscale.log.partition.tail import Tail
from kafscale.log.reading.segments import Segments
from kafscale.log.replicas.replica import Replica
from kafscale.log.retention.log_start import LogStartMover
from kafscale.log.rolling import releasing
from kafscale.log.rolling.volumes import Volumes
from kafscale.log.rolling.writer import Draft, SegmentWriter
from kafscale.log.takeover import recovery, sealing
from kafscale.services.records.produce import ProduceService
from kafscale.store.identity import StoreIdentity
from kafscale.wire.records import BatchHeader, iterate

# -- acknowledging ------------------------------------------------------------


def settle_any(original: Any) -> Any:
    """
    Settle every slot that is durable, whatever is before it.
    """
    def settle(self: Journal) -> None:
        if self._settling:
            return
        self._settling = True
        try:
            for slot in [slot for slot in self._unsettled if slot.durable]:
                if not self.fenced:
                    self._unsettled.remove(slot)
                    self._settle_one(slot)
        finally:
            self._settling = False

    return settle


def wait_for_the_highest(original: Any) -> Any:
    """
    Wait for the slot with the highest number, whichever incarnation has it.
    """

    def settle_late(
        self: ProduceService, produce: Any, acks: int, timeout_ms: int
    ) -> Deferred[Any]:
        answer = self._settle(produce, acks, timeout_ms)
        return answer.deferred() if isinstance(answer, Settling) else succeed(answer)

    return settle_late


def anything_is_mine(original: Any) -> Any:
    """
    Take whatever stands at a slot's key for the slot.
    """
    async def is_mine(self: Journal, key: str, size: int, footer: bytes) -> bool:
        return True

    return is_mine


def look_for_no_mark(original: Any) -> Any:
    """
    Acknowledge stored slots even if a successor has taken over.
    """

    def passes(self: Marked) -> None:
        return None

    return passes


def seal_only(original: Any) -> Any:
    """
    Compare that there is no seal, whether there is a record or not.
    """

    def alive(incarnation: int) -> tuple[Compare, ...]:
        return (Compare(metadata_keys.seal(incarnation), 0),)

    return alive


# -- sealing ------------------------------------------------------------------


def seal_nothing(original: Any) -> Any:
    """
    Find the first missing slot, and leave it missing.
    """
    async def seal_first_missing(
        objects: Any, slots: Any, prefix: str, trim: int, sealer: int
    ) -> int:
        number, _ = await sealing._first_missing(slots, prefix, trim)
        return number

    return seal_first_missing


def without_guards(original: Any) -> Any:
    """
    Compare the revision of the key alone, without the guards.
    """
    async def settle(
        store: IMetadataStore, key: str, revision: int, value: Any, guards: Any = (), **named: Any
    ) -> int:
        made: int = await original(store, key, revision, value, (), **named)
        return made

    return settle


async def _overwrite(
    store: IMetadataStore, key: str, revision: int, value: Any, guards: Any = (), **named: Any
) -> int:
    """
    Put the value without a comparison, until the store answers.
    """
    while True:
        with suppress(StoreUnavailable):
            return await store.commit(list(guards), [Put(key, value)])


def overwriting(original: Any) -> Any:
    """
    Put the value without a comparison.
    """
    return _overwrite


def record_nothing(original: Any) -> Any:
    """
    Commit nothing.
    """
    async def settle(
        store: IMetadataStore, key: str, revision: int, value: Any, *rest: Any, **named: Any
    ) -> int:
        return 0

    return settle


def miss_nothing(original: Any) -> Any:
    """
    Look for no slot that was acknowledged.
    """

    async def missing_below(
        objects: IObjectStore, slots: IObjectReader, prefix: str, first: int, stored: int
    ) -> int | None:
        return None

    return missing_below


def count_ahead(original: Any) -> Any:
    """
    Count slots that are not sent yet.
    """

    def acknowledged(self: StoredSlots, number: int) -> None:
        original(self, number + 1)

    return acknowledged


# -- trimming -----------------------------------------------------------------


def trim_what_is_settled(original: Any) -> Any:
    """
    Hold each slot for rolled that is acknowledged.
    """
    def trimmable(self: Journal) -> int:
        original.fget(self)
        return self._unsettled[0].number if self._unsettled else self._next_slot

    return property(trimmable)


def try_once(original: Any) -> Any:
    """
    Take a commit for done of which nothing was heard.
    """
    async def settle(
        store: IMetadataStore, key: str, revision: int, value: Any, guards: Any = (), **named: Any
    ) -> int:
        with suppress(StoreUnavailable):
            return await store.commit([Compare(key, revision), *guards], [Put(key, value)])
        return 0

    return settle


def nothing_is_a_seal(original: Any) -> Any:
    """
    Know no seal when one is seen.
    """
    async def may_be_seal(objects: Any, key: str) -> bool:
        return False

    return may_be_seal


# -- records ------------------------------------------------------------------


def compare_the_guards_only(original: Any) -> Any:
    """
    Compare no record's revision.
    """
    async def settle_all(
        store: IMetadataStore, changes: Sequence[Any], guards: Any = ()
    ) -> list[int | None]:
        found: list[int | None] = []
        for each in changes:
            try:
                found.append(await _overwrite(store, each.key, 0, each.value, guards))
            except CommitConflict:
                found.append(None)
        return found

    return settle_all


def claim_whatever(original: Any) -> Any:
    """
    Claim whatever anybody has claimed since.
    """
    async def commit_claims(
        metadata: IMetadataStore,
        incarnation: int,
        claims: Sequence[recovery.Claim],
        guard_of: recovery.GuardOf,
    ) -> Any:
        done = []
        for claim in claims:
            key = metadata_keys.partition(*claim.where)
            revision = await _overwrite(metadata, key, 0, claim.record.to_json())
            done.append((claim, revision))
        return done, []

    return commit_claims


def name_only_mine(original: Any) -> Any:
    """
    Name one's own journal alone.
    """
    async def recover(*arguments: Any, **named: Any) -> recovery.Claim:
        claim: recovery.Claim = await original(*arguments, **named)
        record = attrs.evolve(claim.record, journals=claim.record.journals[-1:])
        return attrs.evolve(claim, record=record)

    return recover


# -- segments -----------------------------------------------------------------


def all_batches(original: Any) -> Any:
    """
    Hold everything for durable.
    """
    def visible_batches(self: Tail, max_bytes: int | None = None) -> tuple[list[bytes], int]:
        return list(self._batches), self.end

    return visible_batches


def adopt_nothing(original: Any) -> Any:
    """
    Hold a segment that exists for the one that was to be made.
    """
    async def create(
        self: SegmentWriter, partition: Partition, draft: Draft, key_epoch: int
    ) -> None:
        prefix = object_keys.partition(self._namespace, partition.topic_id, partition.index)
        key = object_keys.segment(prefix, draft.base, key_epoch)
        with suppress(ObjectExists):
            await self._objects.create(key, draft.pieces)

    return create


def believe_the_store(original: Any) -> Any:
    """
    Take a volume that was refused as existing for stored.
    """

    async def is_stored(self: Volumes, key: str, size: int, footer: bytes) -> bool:
        return True

    return is_stored


def make_later(original: Any) -> Any:
    """
    Make segments when there is time.
    """
    async def create(
        self: SegmentWriter, partition: Partition, draft: Draft, key_epoch: int
    ) -> None:
        begun = Deferred.fromCoroutine(original(self, partition, draft, key_epoch))
        begun.addErrback(lambda _: None)

    return create


# -- handing over -------------------------------------------------------------


def wait_for_nothing(original: Any) -> Any:
    """
    Wait for no record that is under way.
    """
    async def settled(self: Partition) -> None:
        """
        Whatever is under way.
        """

    return settled


def release_as_it_is(original: Any) -> Any:
    """
    Release whatever is not rolled.
    """
    def released(partition: Partition) -> Any:
        return attrs.evolve(partition.record, leader=-1, incarnation=0, journals=())

    return released


def go_on_when_in_doubt(original: Any) -> Any:
    """
    Keep partitions that may have been released.
    """
    async def commit(partitions: Sequence[Partition], changes: RecordChanges) -> None:
        for partition in partitions:
            key = metadata_keys.partition(partition.topic_id, partition.index)
            value = releasing._released(partition).to_json()
            compares = [Compare(key, partition.revision), *changes._alive]
            with suppress(CommitConflict):
                await changes._metadata.commit(compares, [Put(key, value)])
            partition.drop()

    return commit


# -- log start ----------------------------------------------------------------


def delete_first(original: Any) -> Any:
    """
    Delete segments, then commit that they are not needed.
    """
    async def move(self: LogStartMover, partition: Partition, offset: int) -> None:
        first = await partition.segments.base_of(offset)
        gone = await partition.segments.objects_before(first)
        await self._objects.delete([info.key for info in gone])
        await original(self, partition, offset)

    return move


def do_not_roll(original: Any) -> Any:
    """
    Pretend that all is rolled.
    """
    async def move(self: LogStartMover, partition: Partition, offset: int) -> None:
        roll, self._roll = self._roll, lambda partition: _pretend(partition, offset)
        try:
            await original(self, partition, offset)
        finally:
            self._roll = roll

    async def _pretend(partition: Partition, offset: int) -> None:
        partition.record = attrs.evolve(
            partition.record, log_start=partition.record.log_start, rolled_to=offset
        )

    return move


def keep_none(original: Any) -> Any:
    """
    Need no segment in which nothing is alive.
    """
    async def base_of(self: Segments, offset: int) -> int | None:
        base: int | None = await original(self, offset)
        if base is not None and (await self.footer(base))[0].end_offset <= offset:
            return offset
        return base

    return base_of


# -- reading elsewhere --------------------------------------------------------


def feed_the_newest(original: Any) -> Any:
    """
    Take only the newest batch that the leader sends.
    """

    def take_fetched(
        self: Replica, position: int, high_watermark: int, log_start: int, records: Any
    ) -> int:
        begins = [at for at, _ in iterate(records)]
        newest = records[begins[-1] :] if begins else records
        size: int = original(self, position, high_watermark, log_start, newest)
        return size

    return take_fetched


# -- coordinators -------------------------------------------------------------


def compare_nothing(original: Any) -> Any:
    """
    Write without a comparison, even if another owner has written meanwhile.
    """
    async def attempt(self: Shard, operations: Any) -> None:
        value = {"owner": self._incarnation, "since": self._since, "sequence": self._sequence}
        self._revision = await self._store.commit([], [Put(self._key, value), *operations])

    return attempt


# -- stores -------------------------------------------------------------------


def take_any_store(original: Any) -> Any:
    """
    Begin whatever the object store has.
    """

    async def check(self: StoreIdentity, cluster: str) -> None:
        """
        Whatever it is.
        """

    return check


# -- producers ----------------------------------------------------------------


def take_any_first(original: Any) -> Any:
    """
    Take any sequence from a producer that is not known, as Kafka does.
    """

    def check(
        self: ProducerStates, header: BatchHeader, now: int, number: int | None = None
    ) -> Any:
        try:
            return original(self, header, now, number)
        except OutOfOrderSequenceNumber:
            if any(state.producer_id == header.producer_id for state in self.all()):
                raise
            return None

    return check


def wait_for_no_claim(original: Any) -> Any:
    """
    Refuse batches while their partition is being claimed.
    """

    def claimed(self: Leaderships, topic_id: UUID, index: int) -> Deferred[None] | None:
        return None

    return claimed
