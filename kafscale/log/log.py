"""
The partitions that this broker leads, and the one journal they share.

Claiming a partition is the same when a broker starts on its own data and when
it takes over from another: seal the predecessor's journal, read what is in no
segment yet, and commit the new leader into the partition's record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from zope.interface import implementer

from kafscale.counts import LogState
from kafscale.errors import CommitConflict, NotLeaderOrFollower
from kafscale.format import metadata_keys, object_keys
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.interfaces import Delete, ILog, LogRules
from kafscale.log.environment import LogEnvironment
from kafscale.log.incarnation import Incarnation
from kafscale.log.partition.partition import Partition
from kafscale.log.pressure import Pressure
from kafscale.log.retention.orphans import Sweep
from kafscale.log.rolling.releasing import release
from kafscale.log.takeover.recovery import Gone, GuardOf, commit_claims, prepare
from kafscale.log.takeover.sealing import listing


def no_guard(topic_id: UUID) -> None:
    """
    No topic is deleted.
    """


@implementer(ILog)
class Log:
    """
    See L{ILog}. It lives as long as the process, while one incarnation follows
    another.

    @ivar incarnation: The one that writes now, or the last one while this
        broker is fenced.
    @ivar counts: Of all incarnations of this process.
    @ivar pressure: Whether there is room for more.
    """

    def __init__(
        self,
        environment: LogEnvironment,
        incarnation: int,
        *,
        fenced: Callable[[], None],
        rules_of: Callable[[UUID], LogRules] = lambda topic_id: LogRules(),
    ) -> None:
        """
        @param incarnation: The number of the first incarnation.
        @param fenced: Called when a successor has stopped the incarnation:
            every partition is dropped by then. `begin` with a new number is how
            to go on.
        @param rules_of: What a topic's configuration says of segments when its
            partitions are claimed; L{configured} is told what comes later.
        """
        self._environment = environment
        self._metadata = environment.metadata
        self._on_fenced = fenced
        self._rules_of = rules_of
        self.pressure = Pressure(environment.settings, self._unsettled_bytes)
        self.counts = environment.counts
        self._sweep = Sweep(
            environment, lambda *volume: self.incarnation.volumes.is_settled(*volume)
        )
        self.begin(incarnation)

    # -- beginning and ending ---------------------------------------------

    def begin(self, incarnation: int) -> None:
        """
        Write as the incarnation with this number from now on.
        """
        self.pressure.size = 0
        self.incarnation = Incarnation(
            self._environment, incarnation, pressure=self.pressure, fenced=self._on_fenced
        )
        # Every request looks here: one step less than through the incarnation.
        self._partitions: Mapping[TopicIdPartition, Partition] = self.incarnation.partitions
        self._sweep.begin()

    def fence(self) -> None:
        """
        Acknowledge and show nothing more, until L{begin} is called again. If it
        was fenced before, nothing changes.
        """
        self.incarnation.fence()

    async def stop(self) -> None:
        """
        Store what was appended; then let go. The partitions stay claimed: the
        next incarnation recovers them, as after a crash.
        """
        await self.incarnation.stop()
        await self._sweep.stop()

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

    def leads(self, where: TopicIdPartition) -> bool:
        """
        See L{ILog.leads}.
        """
        return where in self._partitions

    def led(self) -> Sequence[TopicIdPartition]:
        """
        See L{ILog.led}.
        """
        return tuple(self._partitions)

    async def claim(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf = no_guard
    ) -> None:
        """
        See L{ILog.claim}.
        """
        incarnation = self.incarnation
        remaining = list(wanted)
        while not incarnation.fenced:
            # Also what another call has claimed meanwhile is led already.
            remaining = [where for where in remaining if where not in incarnation.partitions]
            if not remaining:
                return
            claims = await prepare(
                incarnation.sealed_journals,
                self._environment.broker_id,
                incarnation.number,
                remaining,
                is_gone,
            )
            try:
                done, remaining = await commit_claims(
                    self._metadata, incarnation.number, claims, guard_of
                )
            except CommitConflict:
                incarnation.fence()
            if incarnation.fenced:
                return  # what this incarnation has claimed, the next one claims
            incarnation.sealed_journals.slots.forget()
            led = [
                incarnation.lead(claim, revision, self._rules_of(claim.where[0]))
                for claim, revision in done
                if claim.where not in incarnation.partitions
            ]
            incarnation.roller.inherited(partition for partition in led if partition.tail.size)

    async def recover(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf = no_guard
    ) -> None:
        """
        See L{ILog.recover}.
        """
        now = self.incarnation
        for number, broker_id in await now.sealed_journals.left():
            if broker_id == self._environment.broker_id and number < now.number:
                await now.sealed_journals.of(number)
        await self.claim(wanted, is_gone, guard_of)
        await now.sealed_journals.wind_up()

    async def clear_up(self, is_gone: Gone) -> None:
        """
        See L{ILog.clear_up}.
        """
        now = self.incarnation
        for number, broker_id in await now.sealed_journals.left():
            # Of its own past `recover` has taken care.
            if broker_id != self._environment.broker_id and await is_gone(broker_id, number):
                await now.sealed_journals.of(number)
        now.trimmer.begin()

    def configured(self, topic_id: UUID, partitions: int, rules: LogRules) -> None:
        """
        See L{ILog.configured}.
        """
        for index in range(partitions):
            partition = self._partitions.get((topic_id, index))
            if partition is not None and partition.rules != rules:
                before, partition.rules = partition.rules, rules
                self.incarnation.roller.configured(partition)
                self.incarnation.retention.configured(partition, before)

    def recorded(self, where: TopicIdPartition, leader_epoch: int) -> None:
        """
        See L{ILog.recorded}.
        """
        partition = self._partitions.get(where)
        # What is closed is released: the next leader may be heard of first.
        if partition and not partition.closed and partition.leader_epoch < leader_epoch:
            self.fence()

    async def release(self, wanted: Iterable[TopicIdPartition]) -> None:
        """
        See L{ILog.release}.
        """
        incarnation = self.incarnation
        partitions = [
            incarnation.partitions[where] for where in wanted if where in incarnation.partitions
        ]
        try:
            await release(partitions, incarnation.roller.roll_all, incarnation.changes)
        finally:
            for partition in partitions:  # whatever came of it (rule 18)
                if partition.dropped:
                    incarnation.forget(partition)
            incarnation.trimmer.begin()

    async def drop(self, topic_id: UUID) -> None:
        """
        See L{ILog.drop}.
        """
        incarnation = self.incarnation
        for partition in self.partitions():
            if partition.topic_id == topic_id:
                incarnation.forget(partition)
                # A segment that is being made is there before the objects are listed.
                await partition.lock.run(lambda: None)
        self.counts.topics.pop(topic_id, None)
        incarnation.trimmer.begin()

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
            self.incarnation.volumes.dropped(PartitionRecord.from_entry(entry).chapters)
        objects = self._environment.objects
        prefix = object_keys.topic(self._environment.settings.namespace, topic_id)
        found = [info.key async for info in listing(objects, prefix)]
        for at in range(0, len(found), 1000):
            await objects.delete(found[at : at + 1000])
            for key in found[at : at + 1000]:
                self._environment.cache.drop(key)
        self.incarnation.trimmer.begin()

    # -- how it is --------------------------------------------------------

    def state(self) -> LogState:
        """
        How it is at the moment, for who watches it.
        """
        journal = self.incarnation.journal
        return LogState(
            partitions=len(self._partitions),
            unrolled_bytes=self.pressure.size,
            unsettled_bytes=journal.unsettled_bytes,
            journal_slots=journal.span,
            slots_under_way=journal.sending,
        )

    def _unsettled_bytes(self) -> int:
        return self.incarnation.journal.unsettled_bytes
