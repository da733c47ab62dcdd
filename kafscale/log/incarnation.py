"""
What one incarnation of a broker has of the log.

Each start of a broker is an incarnation, and so is each return of a broker
that was replaced. It has one journal, into which no other process writes
anything but seals, and it leads partitions until it is fenced. Then all of it
is dropped: whatever comes after belongs to the next incarnation, and nothing
here is ever begun again.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from kafscale.format import object_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import LogRules
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.bundles import Bundles
from kafscale.log.journal.fencing import fence_of
from kafscale.log.journal.journal import Journal
from kafscale.log.journal.linger import Linger
from kafscale.log.journal.slots import Slot
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.record_changes import RecordChanges
from kafscale.log.pressure import Pressure
from kafscale.log.reading.segments import Segments
from kafscale.log.reading.volumes import Volumes
from kafscale.log.retention.log_start import LogStarts
from kafscale.log.retention.retention import Retention
from kafscale.log.retention.trimming import Clearing
from kafscale.log.rolling.roller import Roller
from kafscale.log.rolling.writer import SegmentWriter
from kafscale.log.takeover.recovery import Claim
from kafscale.log.takeover.sealed_journals import Estates


class Incarnation:
    """
    From its beginning until it is fenced. Its partitions know it as their
    L{kafscale.log.partition.partition.PartitionHost}.

    @ivar number: Its number, which no other incarnation has.
    @ivar partitions: Those that it leads. None, for good, once it is fenced.
    @ivar journal: Where what is appended becomes durable.
    @ivar changes: How it changes the records of its partitions.
    @ivar volumes: Those that it has made.
    @ivar roller: Puts durable records into segments.
    @ivar retention: Moves log starts, as topics' configurations ask for it.
    @ivar sealed_journals: Those of earlier incarnations that it has sealed, or
        found sealed.
    @ivar trimmer: Deletes slots of its own journal and of those that are not
        needed any more.
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
        @param number: As `kafscale.cluster.membership` has registered it. Its
            record says how it is fenced, if not by seals.
        @param pressure: Counts the bytes of records in memory.
        @param fenced: Called once, when this incarnation is found to have been
            replaced: every partition is dropped by then, and no producer has
            heard of a refusal yet.
        """
        objects, metadata, clock = environment.objects, environment.metadata, environment.clock
        settings, counts = environment.settings, environment.counts
        namespace, broker_id = settings.namespace, environment.broker_id
        self.number = number
        self.partitions: dict[TopicIdPartition, Partition] = {}
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
            counts=counts,
            acknowledged=self._acknowledged,
            fenced=self._fenced,
        )
        bundles = object_keys.bundles(namespace, broker_id, number)
        self._bundles = Bundles(objects, clock, bundles, settings.bundled)
        self.sealed_journals = Estates(objects, metadata, namespace, number)
        self.trimmer = Clearing(
            environment,
            number,
            journal=self.journal,
            bundles=self._bundles,
            sealed_journals=self.sealed_journals,
        )
        self.retention = Retention(clock, clock.seconds, self.move_start)
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
            held_bytes=lambda: pressure.size,
        )
        self._starts = LogStarts(objects, self.changes, self.roller.roll, self.volumes)

    # -- its end ----------------------------------------------------------

    @property
    def fenced(self) -> bool:
        """
        Whether it was replaced.
        """
        return self.journal.fenced

    def fence(self) -> None:
        """
        Acknowledge and show nothing more (rule 2).
        """
        self.journal.fence()

    def _fenced(self) -> None:
        self._log.error(
            "another broker has taken over from incarnation {incarnation}; nothing more is"
            " acknowledged",
            incarnation=self.number,
        )
        # First of all nothing is found here any more: readers and producers
        # that are woken below look for their partitions again.
        dropped = list(self.partitions.values())
        self.partitions.clear()
        for partition in dropped:
            partition.drop()
        self._bundles.abandon()
        self.retention.abandon()
        self.roller.abandon()
        self.volumes.abandon()
        self._pressure.relieve()
        self._on_fenced()

    async def stop(self) -> None:
        """
        Store what was appended, and return when nothing is under way. The
        partitions stay claimed: the next incarnation recovers them, as after a
        crash.
        """
        await self.journal.flush()
        self._bundles.abandon()
        await self.retention.stop()
        await self.roller.stop()
        self.volumes.abandon()

    # -- its partitions ---------------------------------------------------

    def lead(self, claim: Claim, revision: int, rules: LogRules) -> Partition:
        """
        Begin to lead a partition, whose claim is committed at C{revision}.
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
        )
        partition = Partition(
            topic_id,
            index,
            claim.record,
            revision,
            journal=self.journal,
            segments=segments,
            host=self,
            counts=environment.counts.topic(topic_id),
            rules=rules,
        )
        partition.inherit(claim.batches)
        # Before anything begins that may find out that this broker is fenced.
        self.partitions[claim.where] = partition
        self.retention.led(partition)
        return partition

    def forget(self, partition: Partition) -> None:
        """
        Lead it no more.
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

    async def confirm(self, partition: Partition) -> None:
        """
        See L{kafscale.log.partition.partition.PartitionHost.confirm}.
        """
        await self.changes.check(partition)

    async def move_start(self, partition: Partition, offset: int) -> None:
        """
        See L{kafscale.log.partition.partition.PartitionHost.move_start}.
        """
        await self._starts.move(partition, offset)

    def _acknowledged(self, slot: Slot) -> None:
        if slot.frozen is not None:
            self._bundles.acknowledged(slot.number, slot.frozen)
        self.roller.settled(slot)
        self._pressure.relieve()
