"""
The partitions that this broker leads, and the one journal they share.

Claiming a partition is the same when a broker starts on its own data and when
it takes over from another: seal the predecessor's journal, read what is in no
segment yet, and commit the new leader into the partition's record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.counts import LogCounts, LogState
from kafscale.errors import CommitConflict, NotLeaderOrFollower
from kafscale.format import metadata_keys, object_keys
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.interfaces import Delete, ILog, IMetadataStore, IObjectStore, LogRules
from kafscale.log.journal.bundles import Bundles
from kafscale.log.journal.fencing import fence_of
from kafscale.log.journal.journal import Journal
from kafscale.log.journal.linger import Linger
from kafscale.log.journal.slots import Slot
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.record_changes import RecordChanges
from kafscale.log.pressure import Pressure
from kafscale.log.reading.cache import BlockCache
from kafscale.log.reading.segments import Segments
from kafscale.log.reading.volumes import Volumes
from kafscale.log.retention.log_start import LogStarts
from kafscale.log.retention.orphans import Sweep
from kafscale.log.retention.retention import Retention
from kafscale.log.retention.trimming import Clearing
from kafscale.log.rolling.releasing import release
from kafscale.log.rolling.roller import Roller
from kafscale.log.rolling.writer import SegmentWriter
from kafscale.log.settings import LogSettings
from kafscale.log.takeover.recovery import Claim, Gone, GuardOf, commit_claims, prepare
from kafscale.log.takeover.sealed_journals import Estates
from kafscale.log.takeover.sealing import listing


def no_guard(topic_id: UUID) -> None:
    """
    No topic is deleted.
    """


@implementer(ILog)
class Log:
    """
    See L{ILog}.

    @ivar incarnation: Of this broker; 0 before L{begin}.
    @ivar counts: Of all incarnations of this process.
    @ivar pressure: Whether there is room for more.
    """

    _log = Logger()

    def __init__(
        self,
        objects: IObjectStore,
        metadata: IMetadataStore,
        cache: BlockCache,
        clock: IReactorTime,
        wall_clock: Callable[[], float],
        broker_id: int,
        settings: LogSettings,
        fenced: Callable[[], None],
        rules_of: Callable[[UUID], LogRules] = lambda topic_id: LogRules(),
    ) -> None:
        """
        @param wall_clock: Seconds since 1970.
        @param rules_of: What a topic's configuration says of segments.
        @param fenced: Called when a successor has sealed the journal: every
            partition is dropped by then. `begin` with a new incarnation is how
            to go on.
        """
        self._objects = objects
        self._metadata = metadata
        self._cache = cache
        self._clock = clock
        self._wall_clock = wall_clock
        self._broker_id = broker_id
        self._settings = settings
        self._on_fenced = fenced
        self._rules_of = rules_of
        self._partitions: dict[TopicIdPartition, Partition] = {}
        self.pressure = Pressure(settings, lambda: self.journal.unsettled_bytes)
        self.incarnation = 0
        self.counts = LogCounts()
        self._sweep = Sweep(
            objects, metadata, clock, settings.namespace, settings.orphan_seconds, self.counts,
            lambda *volume: self._volumes.is_settled(*volume),
        )  # fmt: skip

    # -- beginning and ending ---------------------------------------------

    def begin(self, incarnation: int) -> None:
        """
        Write as this incarnation from now on. Its record says how it is
        fenced, if not by seals.
        """
        settings = self._settings
        self.incarnation = incarnation
        self.pressure.size = 0
        fence = fence_of(settings.fencing, self._metadata, incarnation, settings.chapters > 0)
        self.journal = Journal(
            self._objects,
            object_keys.journal(settings.namespace, self._broker_id, incarnation),
            self._clock,
            slot_bytes=settings.slot_bytes,
            in_flight=settings.slots_in_flight,
            linger=Linger(settings.linger),
            fence=fence,
            counts=self.counts,
            acknowledged=self._acknowledged,
            fenced=self._fenced,
        )
        self._estates = Estates(self._objects, self._metadata, settings.namespace, incarnation)
        bundles = object_keys.bundles(settings.namespace, self._broker_id, incarnation)
        self._bundles = Bundles(self._objects, bundles, settings.bundled)
        self._clearing = Clearing(
            self._objects, self._metadata, self._clock, self.journal, self._estates,
            self._bundles, incarnation,
        )  # fmt: skip
        self._retention = Retention(self._clock, self._wall_clock, self.move_start)
        changes = self._changes = RecordChanges(self._metadata, self.journal, incarnation)
        namespace = settings.namespace
        self._volumes = Volumes(self._objects, self._clock, namespace, incarnation)
        writer = SegmentWriter(
            self._objects, changes, self.journal, fence, self._volumes, namespace, incarnation,
            self.counts,
        )  # fmt: skip
        self._roller = Roller(
            writer, self._clock, self.journal, self._clearing, settings,
            lambda: self.pressure.size, self._retention,
        )  # fmt: skip
        self._starts = LogStarts(self._objects, changes, self._roller.roll, self._volumes)
        self._sweep.begin()

    async def stop(self) -> None:
        """
        Store what was appended; then let go. The partitions stay claimed: the
        next incarnation recovers them, as after a crash.
        """
        await self.journal.flush()
        self._bundles.abandon()
        await self._retention.stop()
        await self._roller.stop()
        self._volumes.abandon()
        await self._sweep.stop()

    def _fenced(self) -> None:
        self._log.error(
            "another broker has taken over from incarnation {incarnation}; nothing more is"
            " acknowledged",
            incarnation=self.incarnation,
        )
        dropped, self._partitions = self._partitions, {}
        for partition in dropped.values():
            partition.drop()
        self._bundles.abandon()
        self._retention.abandon()
        self._roller.abandon()
        self._volumes.abandon()
        self.pressure.relieve()
        self._on_fenced()

    # -- partitions -------------------------------------------------------

    def partition(self, topic_id: UUID, index: int) -> Partition:
        """
        See L{ILog.partition}.
        """
        partition = self._partitions.get((topic_id, index))
        if partition is None:
            raise NotLeaderOrFollower
        return partition

    def partitions(self) -> Sequence[Partition]:
        """
        All that this broker leads.
        """
        return tuple(self._partitions.values())

    async def claim(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf = no_guard
    ) -> None:
        """
        See L{ILog.claim}.
        """
        journal, incarnation = self.journal, self.incarnation
        remaining = list(wanted)
        while not journal.fenced:
            # Also what another call has claimed meanwhile is led already.
            remaining = [where for where in remaining if where not in self._partitions]
            if not remaining:
                return
            claims = await prepare(
                self._estates.slots, self._metadata, self._estates,
                self._broker_id, incarnation, remaining, is_gone,
            )  # fmt: skip
            try:
                done, remaining = await commit_claims(self._metadata, incarnation, claims, guard_of)
            except CommitConflict:
                journal.fence()
            if journal.fenced:
                return  # what this incarnation has claimed, the next one claims
            self._estates.slots.forget()
            led = [
                self._lead(claim, revision)
                for claim, revision in done
                if claim.where not in self._partitions
            ]
            self._roller.inherited(partition for partition in led if partition.tail.size)

    async def recover(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf = no_guard
    ) -> None:
        """
        See L{ILog.recover}.
        """
        for incarnation, broker_id in await self._estates.left():
            if broker_id == self._broker_id and incarnation < self.incarnation:
                await self._estates.of(incarnation)
        await self.claim(wanted, is_gone, guard_of)
        await self._estates.wind_up()

    async def clear_up(self, is_gone: Gone) -> None:
        """
        See L{ILog.clear_up}.
        """
        for incarnation, broker_id in await self._estates.left():
            # Of its own past `recover` has taken care.
            if broker_id != self._broker_id and await is_gone(broker_id, incarnation):
                await self._estates.of(incarnation)
        self._clearing.begin()

    def _lead(self, claim: Claim, revision: int) -> Partition:
        topic_id, index = claim.where
        settings = self._settings
        segments = Segments(
            self._objects, self._cache, settings.namespace, claim.where, claim.record,
            settings.readahead,
        )  # fmt: skip
        partition = Partition(
            topic_id,
            index,
            claim.record,
            revision,
            journal=self.journal,
            segments=segments,
            host=self,
            counts=self.counts.topic(topic_id),
            rules=self._rules_of(topic_id),
        )
        partition.inherit(claim.batches)
        # Before anything begins that may find out that this broker is fenced.
        self._partitions[claim.where] = partition
        self._retention.led(partition)
        return partition

    def configured(self, topic_id: UUID, partitions: int) -> None:
        """
        See L{ILog.configured}.
        """
        rules = self._rules_of(topic_id)
        for index in range(partitions):
            partition = self._partitions.get((topic_id, index))
            if partition is not None and partition.rules != rules:
                before, partition.rules = partition.rules, rules
                self._roller.configured(partition)
                self._retention.configured(partition, before)

    def leads(self, where: TopicIdPartition) -> bool:
        """
        See L{ILog.leads}.
        """
        return where in self._partitions

    def recorded(self, where: TopicIdPartition, leader_epoch: int) -> None:
        """
        See L{ILog.recorded}.
        """
        partition = self._partitions.get(where)
        # What is closed is released: the next leader may be heard of first.
        if partition and not partition.closed and partition.leader_epoch < leader_epoch:
            self.journal.fence()

    def led(self) -> Sequence[TopicIdPartition]:
        """
        See L{ILog.led}.
        """
        return tuple(self._partitions)

    async def release(self, wanted: Iterable[TopicIdPartition]) -> None:
        """
        See L{ILog.release}.
        """
        partitions = [self._partitions[where] for where in wanted if where in self._partitions]
        try:
            await release(partitions, self._roller.roll_all, self._changes)
        finally:
            for partition in partitions:  # whatever came of it (rule 18)
                if partition.dropped:
                    self._forget(partition)
            self._clearing.begin()

    def _forget(self, partition: Partition) -> None:
        where = partition.topic_id, partition.index
        if self._partitions.get(where) is partition:
            del self._partitions[where]
        partition.drop()
        self._retention.forget(partition)

    async def drop(self, topic_id: UUID) -> None:
        """
        See L{ILog.drop}.
        """
        for where in [where for where in self._partitions if where[0] == topic_id]:
            partition = self._partitions[where]
            self._forget(partition)
            # A segment that is being made is there before the objects are listed.
            await partition.lock.run(lambda: None)
        self.counts.topics.pop(topic_id, None)
        self._clearing.begin()

    async def delete(self, topic_id: UUID) -> None:
        """
        Remove all that the log has of a topic. To be repeated as a whole if it
        does not come to its end.
        """
        await self.drop(topic_id)
        # Without a record the journal's ranges count no more (rule 13).
        entries, _ = await self._metadata.range(metadata_keys.partitions(topic_id))
        for at in range(0, len(entries), 100):
            await self._metadata.commit([], [Delete(entry.key) for entry in entries[at : at + 100]])
        for entry in entries:
            self._volumes.dropped(PartitionRecord.from_json(entry.value).chapters)
        prefix = object_keys.topic(self._settings.namespace, topic_id)
        found = [info.key async for info in listing(self._objects, prefix)]
        for at in range(0, len(found), 1000):
            await self._objects.delete(found[at : at + 1000])
            for key in found[at : at + 1000]:
                self._cache.drop(key)
        self._clearing.begin()

    async def confirm(self, partition: Partition) -> None:
        """
        See L{kafscale.log.partition.partition.PartitionHost.confirm}.
        """
        await self._changes.check(partition)

    async def move_start(self, partition: Partition, offset: int) -> None:
        """
        See L{kafscale.log.partition.partition.PartitionHost.move_start}.
        """
        await self._starts.move(partition, offset)

    # -- how it is --------------------------------------------------------

    def state(self) -> LogState:
        """
        How it is at the moment, for who watches it.
        """
        return LogState(
            partitions=len(self._partitions),
            unrolled_bytes=self.pressure.size,
            unsettled_bytes=self.journal.unsettled_bytes,
            journal_slots=self.journal.span,
            slots_under_way=self.journal.sending,
        )

    # -- for its partitions ------------------------------------------------

    def now_ms(self) -> int:
        """
        See L{kafscale.log.partition.partition.PartitionHost.now_ms}.
        """
        return int(self._wall_clock() * 1000)

    def grew(self, size: int) -> None:
        """
        See L{kafscale.log.partition.partition.PartitionHost.grew}.
        """
        self.pressure.grew(size)

    def _acknowledged(self, slot: Slot) -> None:
        if slot.frozen is not None:
            self._bundles.acknowledged(slot.number, slot.frozen)
        self._roller.settled(slot)
        self.pressure.relieve()
