"""
The log of a broker: the partitions that it leads.

A partition is claimed in the same way when a broker starts on its own data and
when it takes over from another broker: seal the journal of the last leader,
read from it the records that are in no segment yet, and commit the new leader
into the partition's record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from twisted.logger import Logger
from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded
from kafscale.counts import LogState
from kafscale.errors import CommitConflict, NotLeaderOrFollower
from kafscale.format import metadata_keys, object_keys
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.format.reading import list_objects
from kafscale.interfaces import MAX_COMMIT, Delete, ILog, LogRules
from kafscale.log.environment import LogEnvironment
from kafscale.log.incarnation import Incarnation
from kafscale.log.partition.partition import Partition
from kafscale.log.pressure import Pressure
from kafscale.log.retention.orphans import OrphanSweep
from kafscale.log.rolling.releasing import release
from kafscale.log.takeover.recovery import GuardOf, IsGone, commit_claims
from kafscale.log.takeover.sealing import CorruptLog


def no_guard(topic_id: UUID) -> None:
    """
    Claim without a guard: no topic is being deleted.
    """


@implementer(ILog)
class Log:
    """
    See L{ILog}. It lives as long as the process, through one incarnation after
    another.

    @ivar incarnation: The current incarnation. After it was fenced it stays
        here, leading nothing, until the next one begins.
    @ivar counts: Counters of all incarnations of this process.
    @ivar pressure: Whether producers must wait.
    @ivar others: Returns a partition that is not in the log, as L{partition} does: one of
        a topic that is a view of something else.
    """

    _log = Logger()

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
        @param fenced: Called when another broker has stopped the incarnation.
            Every partition is dropped by then. L{begin} with a new number is how
            to go on.
        @param rules_of: Returns a topic's configuration, as far as it concerns
            segments. Asked when a partition is claimed; later changes come
            through L{configured}.
        """
        self._environment = environment
        self._metadata = environment.metadata
        self._on_fenced = fenced
        self._rules_of = rules_of
        self.others: Callable[[UUID, int], Any] = _not_led
        self.pressure = Pressure(environment.settings, self._unsettled_bytes)
        self.counts = environment.counts
        self._sweep = OrphanSweep(
            environment, lambda *volume: self.incarnation.volumes.is_settled(*volume)
        )
        self.begin(incarnation)

    # -- incarnations ---------------------------------------------------------

    def begin(self, incarnation: int) -> None:
        """
        Go on with the incarnation of this number, which leads nothing yet.
        """
        self.pressure.size = 0
        self.incarnation = Incarnation(
            self._environment, incarnation, pressure=self.pressure, fenced=self._on_fenced
        )
        # Looked up for every request, so without the step through the incarnation.
        self._partitions: Mapping[TopicIdPartition, Partition] = self.incarnation.partitions
        self._sweep.begin()

    def fence(self) -> None:
        """
        Fence the current incarnation. If it is fenced already, nothing happens.
        """
        self.incarnation.fence()

    async def stop(self) -> None:
        """
        Flush the journal, and return when no background work is under way. The
        partitions stay claimed: the next start recovers them, as after a crash.
        """
        await self.incarnation.stop()
        await self._sweep.stop()

    # -- partitions -----------------------------------------------------------

    def partition(self, topic_id: UUID, index: int) -> Partition:
        """
        See L{ILog.partition}.
        """
        partition = self._partitions.get((topic_id, index))
        return self.others(topic_id, index) if partition is None else partition

    def partitions(self) -> Sequence[Partition]:
        """
        Return all partitions that this broker leads.
        """
        return tuple(self._partitions.values())

    def takes_transactions(self) -> bool:
        """
        See L{ILog.takes_transactions}.
        """
        return self.incarnation.takes_transactions()

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
        self, wanted: Iterable[TopicIdPartition], is_gone: IsGone, guard_of: GuardOf = no_guard
    ) -> None:
        """
        See L{ILog.claim}.
        """
        await self._claim(wanted, is_gone, guard_of, leave_out_own=True)

    async def _claim(
        self,
        wanted: Iterable[TopicIdPartition],
        is_gone: IsGone,
        guard_of: GuardOf,
        *,
        leave_out_own: bool,
    ) -> None:
        """
        Claim partitions.

        @param leave_out_own: See L{kafscale.log.takeover.recovery.Recovery.prepare}.
        """
        incarnation = self.incarnation
        async with incarnation.steps:
            remaining = list(wanted)
            while not incarnation.fenced:
                # Without those that an earlier call has claimed.
                remaining = [where for where in remaining if where not in incarnation.partitions]
                if not remaining:
                    return
                claims = await incarnation.recovery.prepare(
                    remaining, is_gone, leave_out_own=leave_out_own
                )
                try:
                    done, remaining = await commit_claims(
                        self._metadata, incarnation.number, claims, guard_of
                    )
                except CommitConflict:
                    incarnation.fence()
                if incarnation.fenced:
                    return  # the next incarnation claims what this one has claimed
                incarnation.sealed_journals.reader.forget()
                led = [
                    incarnation.lead(claim, revision, self._rules_of(claim.where[0]))
                    for claim, revision in done
                ]
                incarnation.roller.inherited(partition for partition in led if partition.tail.size)

    async def recover(
        self, wanted: Iterable[TopicIdPartition], is_gone: IsGone, guard_of: GuardOf = no_guard
    ) -> None:
        """
        See L{ILog.recover}.
        """
        now = self.incarnation
        for number, broker_id in await now.sealed_journals.of_others():
            if broker_id == self._environment.broker_id and number < now.number:
                await now.sealed_journals.open_if_left(number)
        await self._claim(wanted, is_gone, guard_of, leave_out_own=False)
        now.trimmer.kick()  # not waited for: a store that deletes slowly delays no leader

    async def clear_up(self, is_gone: IsGone) -> None:
        """
        See L{ILog.clear_up}.
        """
        now = self.incarnation
        now.sealed_journals.look_again()
        for number, broker_id in await now.sealed_journals.of_others():
            # `recover` has sealed those of this broker's own past.
            if broker_id != self._environment.broker_id and await is_gone(broker_id, number):
                try:
                    await now.sealed_journals.open_if_left(number)
                except CorruptLog as damage:
                    self._log.error(
                        "cannot delete the leftovers of incarnation {number} of broker"
                        " {broker_id}, which stay until the objects are restored and another"
                        " broker leaves: {why}",
                        number=number,
                        broker_id=broker_id,
                        why=damage,
                    )
        now.trimmer.kick()

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
        # A closed partition is being released: the epoch may be that of the next
        # leader, seen before the release is heard to be done.
        if partition and not partition.closed and partition.leader_epoch < leader_epoch:
            self.fence()

    async def release(self, wanted: Iterable[TopicIdPartition]) -> None:
        """
        See L{ILog.release}.
        """
        incarnation = self.incarnation
        async with incarnation.steps:
            partitions = [
                incarnation.partitions[where] for where in wanted if where in incarnation.partitions
            ]
            try:
                await release(partitions, incarnation.roller.roll_all, incarnation.changes)
            finally:
                for partition in partitions:  # whatever the outcome (rule 18)
                    if partition.dropped:
                        incarnation.forget(partition)
                incarnation.trimmer.kick()

    async def drop(self, topic_ids: Collection[UUID]) -> None:
        """
        See L{ILog.drop}.
        """
        incarnation = self.incarnation
        dropped = [each for each in self.partitions() if each.topic_id in topic_ids]
        for partition in dropped:
            incarnation.forget(partition)
        for topic_id in topic_ids:
            self.counts.topics.pop(topic_id, None)
        incarnation.trimmer.kick()
        for partition in dropped:
            # So a segment that is being written exists before the objects are listed.
            await partition.lock.run(lambda: None)

    async def delete(self, topic_ids: Collection[UUID]) -> None:
        """
        See L{ILog.delete}.
        """
        await self.drop(topic_ids)
        # Without a record no range of a journal counts any more (rule 13).
        topics = [metadata_keys.partitions(topic_id) for topic_id in topic_ids]
        found = await map_bounded(self._metadata.range, topics)
        entries = [entry for records, _ in found for entry in records]
        for at in range(0, len(entries), MAX_COMMIT):
            await self._metadata.commit(
                [], [Delete(entry.key) for entry in entries[at : at + MAX_COMMIT]]
            )
        for entry in entries:
            self.incarnation.volumes.dropped(PartitionRecord.from_entry(entry).chapters)
        for topic_id in topic_ids:
            await self._delete_objects(topic_id)
        self.incarnation.trimmer.kick()

    async def _delete_objects(self, topic_id: UUID) -> None:
        objects = self._environment.objects
        prefix = object_keys.topic(self._environment.settings.namespace, topic_id)
        found = [info.key async for info in list_objects(objects, prefix)]
        for at in range(0, len(found), 1000):
            await objects.delete(found[at : at + 1000])
            for key in found[at : at + 1000]:
                self._environment.cache.drop(key)

    # -- metrics --------------------------------------------------------------

    def state(self) -> LogState:
        """
        Return the current sizes, for metrics.
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


def _not_led(topic_id: UUID, index: int) -> Any:
    raise NotLeaderOrFollower
