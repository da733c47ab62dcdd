"""
One incarnation of a broker: everything of the log that ends when it is fenced.

A broker gets a new incarnation each time it starts, and each time it comes back
after it was replaced. An incarnation has one journal, into which other
processes write nothing but seals, and it leads partitions until it is fenced.
Then all of it is dropped, and never used again: the broker goes on with the
next incarnation.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from kafscale.format import object_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.format.segment import TRANSACTIONS_LEVEL
from kafscale.interfaces import LogRules
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.bundles import Bundles
from kafscale.log.journal.fencing import fence_of
from kafscale.log.journal.journal import Journal
from kafscale.log.journal.linger import Linger
from kafscale.log.journal.slots import Slot
from kafscale.log.journal.stored import StoredSlots
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.record_changes import RecordChanges
from kafscale.log.pressure import Pressure
from kafscale.log.reading.segments import Segments
from kafscale.log.retention.log_start import LogStartMover
from kafscale.log.retention.retention import Retention
from kafscale.log.retention.trimming import JournalTrimmer
from kafscale.log.rolling.roller import Roller
from kafscale.log.rolling.volumes import Volumes
from kafscale.log.rolling.writer import SegmentWriter
from kafscale.log.takeover.recovery import Claim, Recovery
from kafscale.log.takeover.sealed_journals import SealedJournals


class Incarnation:
    """
    The journal, the partitions and the background work of one incarnation. It is
    the L{PartitionHost<kafscale.log.partition.partition.PartitionHost>} of its
    partitions.

    @ivar number: The incarnation's number, which is never used again.
    @ivar partitions: The partitions that it leads, by topic id and index. Empty
        from the fence on.
    @ivar steps: Held by each claim and release. Of two at a time one would take what the
        other is doing for the rest of a claim that failed (rule 12).
    @ivar journal: The journal, which makes appended records durable.
    @ivar changes: Commits the records of the partitions.
    @ivar volumes: The volumes that this incarnation has written.
    @ivar roller: Moves records from the journal into segments.
    @ivar retention: Moves log starts as the topics' configurations say.
    @ivar sealed_journals: The journals of earlier incarnations.
    @ivar recovery: Recovers partitions that it is to lead.
    @ivar trimmer: Deletes slots that are no longer needed, of this journal and
        of sealed ones.
    """

    _log = Logger()

    def __init__(
        self,
        environment: LogEnvironment,
        number: int,
        *,
        pressure: Pressure,
        fenced: Callable[[], None],
    ) -> None:
        """
        @param number: As registered by `kafscale.cluster.membership`.
        @param pressure: Counts the bytes of records in memory.
        @param fenced: Called once, when this incarnation turns out to have been
            replaced. Every partition is dropped by then, and no producer has been
            answered yet.
        """
        objects, metadata, clock = environment.objects, environment.metadata, environment.clock
        settings, counts = environment.settings, environment.counts
        namespace, broker_id = settings.namespace, environment.broker_id
        self.number = number
        self.partitions: dict[TopicIdPartition, Partition] = {}
        self.steps = DeferredLock()
        self._environment = environment
        self._seconds = clock.seconds
        self._pressure = pressure
        self._on_fenced = fenced
        fence = fence_of(settings.fencing, metadata, number, settings.chapters > 0)
        self.journal = Journal(
            objects,
            object_keys.journal(namespace, broker_id, number),
            clock,
            slot_bytes=settings.slot_bytes,
            in_flight=settings.slots_in_flight,
            linger=Linger(settings.linger),
            fence=fence,
            level_of=environment.level_of,
            counts=counts,
            acknowledged=self._acknowledged,
            fenced=self._fenced,
        )
        bundles = object_keys.bundles(namespace, broker_id, number)
        self._bundles = Bundles(objects, clock, bundles, settings.bundled)
        self._stored = StoredSlots(metadata, clock, number)
        self.sealed_journals = SealedJournals(objects, metadata, namespace, number)
        self.recovery = Recovery(environment, number, self.sealed_journals)
        self.trimmer = JournalTrimmer(
            environment,
            number,
            journal=self.journal,
            bundles=self._bundles,
            sealed_journals=self.sealed_journals,
        )
        self.retention = Retention(environment, self.move_start)
        self.changes = RecordChanges(metadata, self.journal, number)
        self.volumes = Volumes(objects, clock, namespace, number)
        writer = SegmentWriter(
            environment,
            number,
            changes=self.changes,
            journal=self.journal,
            fence=fence,
            volumes=self.volumes,
        )
        self.roller = Roller(
            environment,
            writer,
            journal=self.journal,
            trimmer=self.trimmer,
            retention=self.retention,
            record_bytes=lambda: pressure.size,
        )
        self._log_starts = LogStartMover(
            environment, self.changes, self.roller.roll, self.volumes.dropped
        )

    # -- fencing and stopping -----------------------------------------------

    @property
    def fenced(self) -> bool:
        """
        Whether this incarnation was replaced.
        """
        return self.journal.fenced

    def fence(self) -> None:
        """
        Stop acknowledging appends and serving reads, for good (rule 2).
        """
        self.journal.fence()

    def _fenced(self) -> None:
        self._log.error(
            "incarnation {incarnation} was replaced by another broker; this broker acknowledges"
            " nothing more and rejoins the cluster",
            incarnation=self.number,
        )
        # First of all no partition is found here any more, because dropping one
        # wakes readers, which look for theirs again.
        dropped = list(self.partitions.values())
        self.partitions.clear()
        for partition in dropped:
            partition.drop()
        self._bundles.abandon()
        self._stored.abandon()
        self.retention.abandon()
        self.roller.abandon()
        self.volumes.abandon()
        self._pressure.relieve()
        self._on_fenced()

    async def stop(self) -> None:
        """
        Flush the journal, and return when no background work is under way. The
        partitions stay claimed: the next incarnation recovers them, as after a
        crash.
        """
        await self.journal.flush()
        self._bundles.abandon()
        await self._stored.stop()
        await self.retention.stop()
        await self.roller.stop()
        self.volumes.abandon()

    # -- partitions ----------------------------------------------------------

    def lead(self, claim: Claim, revision: int, rules: LogRules) -> Partition:
        """
        Start to lead a partition.

        @param claim: The recovered state, which is committed.
        @param revision: The revision of that commit.
        @param rules: The topic's configuration, as far as it concerns segments.
        """
        environment = self._environment
        topic_id, index = claim.where
        segments = Segments(
            environment.objects,
            environment.cache,
            environment.settings.namespace,
            claim.where,
            claim.record,
            environment.settings.readahead,
            environment.work,
        )
        partition = Partition(
            topic_id,
            index,
            claim.record,
            revision,
            journal=self.journal,
            segments=segments,
            work=environment.work,
            host=self,
            counts=environment.counts.topic(topic_id),
            rules=rules,
        )
        partition.inherit(claim.batches, claim.true_times, claim.created)
        # Before anything starts that may find this incarnation fenced.
        self.partitions[claim.where] = partition
        self.retention.led(partition)
        return partition

    def forget(self, partition: Partition) -> None:
        """
        Stop leading a partition.
        """
        where = partition.topic_id, partition.index
        if self.partitions.get(where) is partition:
            del self.partitions[where]
        partition.drop()
        self.retention.forget(partition)

    def now_ms(self) -> int:
        """
        See L{kafscale.log.partition.partition.PartitionHost.now_ms}.
        """
        return int(self._seconds() * 1000)

    def grew(self, size: int) -> None:
        """
        See L{kafscale.log.partition.partition.PartitionHost.grew}.
        """
        self._pressure.grew(size)

    def takes_transactions(self) -> bool:
        """
        See L{ILog<kafscale.interfaces.ILog>}.
        """
        return self._environment.level_of("segment") >= TRANSACTIONS_LEVEL

    async def confirm(self, partition: Partition) -> None:
        """
        See L{kafscale.log.partition.partition.PartitionHost.confirm}.
        """
        await self.changes.check(partition)

    async def move_start(self, partition: Partition, offset: int) -> None:
        """
        See L{kafscale.log.partition.partition.PartitionHost.move_start}.
        """
        await self._log_starts.move(partition, offset)

    def _acknowledged(self, slot: Slot) -> None:
        if slot.frozen is not None:
            self._bundles.acknowledged(slot.number, slot.frozen)
        self._stored.acknowledged(slot.number)
        self.roller.settled(slot)
        self._pressure.relieve()
