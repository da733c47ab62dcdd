"""
The leadership of partitions by brokers.

All brokers compute the same assignment (`kafscale.cluster.spread`). They do not
negotiate. Each claims the partitions that are assigned to it and have no live
leader, because they were released or their leader has failed; and it releases those
that are assigned to another broker. So a live leader loses a partition only by its
own release, and a failed one by a seal (`kafscale.log.takeover.sealing`). Two brokers
whose images differ for a moment do no harm.

Each also drops deleted topics, and one of the brokers deletes their data, if
necessary after a restart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.cluster.image import Image
from kafscale.cluster.spread import leaders
from kafscale.concurrency.chore import Chore
from kafscale.concurrency.worker_pool import WorkerPool
from kafscale.errors import StoreError, UnknownTopicId, reason_in_log
from kafscale.format import metadata_keys
from kafscale.format.broker import BrokerRecord
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import Change, Delete, ILog, IMetadataStore, Leadership, Phase

RETRY_SECONDS = 1.0
"""Seconds until claims, releases and deletions that failed are tried again."""

CLAIM_SECONDS = 1.0
"""How long a producer's request waits for the claim of a partition, at most."""

ERASE_BATCH = 100
"""The number of deleted topics whose data is deleted together, so that it takes few
commits."""

RELEASE_BATCH = 50
"""The number of partitions to release at a time. None of them can be written to
until another broker has claimed it."""

IsGone = Callable[[int, int], Awaitable[bool]]


class _Deleted(Enum):
    """
    The state of a deleted topic on this broker.
    """

    LED = "led"
    DROPPING = "dropping"
    DROPPED = "dropped"


class Leaderships:
    """
    Makes this broker lead the partitions that are assigned to it.
    """

    _log = Logger()

    def __init__(self, store: IMetadataStore, image: Image, log: ILog, clock: IReactorTime) -> None:
        """
        @param store: The metadata store.
        @param image: Calls back when brokers, topics or leaders change.
        @param log: Claims and releases partitions.
        @param clock: For delays.
        """
        self._store = store
        self._image = image
        self._partitions = log
        self._clock = clock
        # Claims and releases take turns, and a topic that is deleted while it is
        # claimed is claimed first.
        self._steps = DeferredLock()
        self._running = False
        self._assignments: dict[UUID, Sequence[int]] = {}  # by topic, computed from the image
        self._unchecked: dict[UUID, None] = {}  # topics, in order; a set that keeps it
        self._to_retry: set[UUID] = set()  # topics to check again later
        self._settling = WorkerPool(clock, 1, self._next_check)
        self._waiting: dict[UUID, list[Deferred[None]]] = {}  # callers of wait_for_leaders
        # Callers of `claimed`, as sets that keep the order.
        self._claims: dict[TopicIdPartition, dict[Deferred[None], None]] = {}
        self._deleted: dict[UUID, _Deleted] = {}  # topics with a tombstone
        self._dropping = Chore(clock, self._drop, self._not_deleted)
        self._erasing = Chore(clock, self._erase, self._not_deleted)
        self._clearing = Chore(clock, self._clear_up, self._not_cleared_up)

    # -- start and stop -----------------------------------------------------

    async def start(self) -> None:
        """
        Lead the partitions that are assigned to this broker, from now on.

        @raise Exception: a partition could not be recovered: the broker cannot serve
            its data.
        """
        self._running = True
        self._image.on_change(self._changed)
        await self.recover()
        entries, _ = await self._store.range(metadata_keys.TOMBSTONES)
        for entry in entries:
            self._deleted.setdefault(metadata_keys.topic_of(entry.key), _Deleted.LED)
        self._dropping.kick()

    async def recover(self) -> None:
        """
        Lead, as a new incarnation, the partitions that are assigned to this broker.

        @raise Exception: a partition could not be recovered.
        """
        self._assignments.clear()
        topics = self._image.stored_topics()
        async with self._steps:
            is_gone = self._liveness_cache()
            wanted = await self._to_claim(topics, is_gone)
            with self._claiming(wanted):
                await self._partitions.recover(wanted, is_gone, self._image.guard_of)
            for where in wanted:
                self._report_epoch(where)
        self._check_topics(topics)

    def stop(self) -> None:
        """
        Stop following the image.
        """
        self._running = False

    async def leave(self) -> None:
        """
        Release all partitions, so that other brokers lead them. The broker must have
        announced before that it leaves, or they are assigned to it again.
        """
        self._running = False
        async with self._steps:
            await self._release(self._partitions.led())

    # -- assignments -------------------------------------------------------

    def assigned_leader(self, topic_id: UUID, index: int) -> int:
        """
        Return the id of the broker that should lead a partition; -1 if there is none.

        @raise UnknownTopicId: the topic does not exist.
        """
        topic = self._image.topic_by_id(topic_id)
        assigned = self._assignments.get(topic_id)
        if assigned is None or len(assigned) != topic.partitions:
            assigned = leaders(
                str(topic_id), topic.partitions, self._image.brokers(), topic.replicas
            )
            self._assignments[topic_id] = assigned
        return assigned[index]

    def _assigned(self, topics: Iterable[UUID]) -> list[tuple[TopicIdPartition, bool]]:
        """
        Return the partitions of these topics that are assigned to this broker, and
        whether it leads them.
        """
        found = []
        for topic_id in topics:
            try:
                topic = self._image.topic_by_id(topic_id)
            except UnknownTopicId:
                continue
            for index in range(topic.partitions):
                if self.assigned_leader(topic_id, index) == self._image.broker_id:
                    where = topic_id, index
                    found.append((where, self._partitions.leads(where)))
        return found

    async def _to_claim(self, topics: Iterable[UUID], is_gone: IsGone) -> list[TopicIdPartition]:
        """
        Return the partitions that are assigned to this broker and have no live leader.
        """
        found = []
        for where, led in self._assigned(topics):
            if led:
                continue
            leader = self._image.leadership(*where)
            if leader.leader < 0 or await is_gone(leader.leader, leader.incarnation):
                found.append(where)
        return found

    def _to_release(self, topics: Collection[UUID]) -> list[TopicIdPartition]:
        """
        Return the partitions that this broker leads and that are assigned to another one,
        which is serving.
        """
        serving = {
            each.broker_id for each in self._image.brokers() if each.phase is Phase.SERVING
        } - {self._image.broker_id}
        found = []
        for where in self._partitions.led():
            if where[0] in topics:
                with suppress(UnknownTopicId):  # deleted, and about to be dropped
                    if self.assigned_leader(*where) in serving:
                        found.append(where)
        return found

    def _liveness_cache(self) -> IsGone:
        """
        Return a function that returns whether an incarnation has left the cluster, and
        asks the metadata store about each incarnation once.
        """
        gone: dict[tuple[int, int], bool] = {}

        async def is_gone(broker_id: int, incarnation: int) -> bool:
            key = broker_id, incarnation
            if key not in gone:
                gone[key] = await self._is_gone(*key)
            return gone[key]

        return is_gone

    async def _is_gone(self, broker_id: int, incarnation: int) -> bool:
        if broker_id == self._image.broker_id:
            return True  # an earlier incarnation of this broker
        known = {each.broker_id: each.incarnation for each in self._image.brokers()}
        if known.get(broker_id) == incarnation:
            return False
        # The image may be behind its registration.
        entry = await self._store.get(metadata_keys.broker(broker_id))
        return entry is None or BrokerRecord.from_entry(entry).incarnation != incarnation

    # -- claims and releases ----------------------------------------------------

    def _changed(self, changes: Sequence[Change]) -> None:
        if not self._running:
            return
        touched: set[UUID] = set()
        for change in changes:
            kind = metadata_keys.kind_of(change.key)
            if kind == metadata_keys.PARTITIONS:
                where = metadata_keys.partition_of(change.key)
                touched.add(where[0])
                self._report_epoch(where)
                if self._needs_move(where):
                    self._unchecked[where[0]] = None
            elif kind == metadata_keys.BROKERS:
                self._assignments.clear()
                self._unchecked |= dict.fromkeys(self._image.stored_topics())
                self._erasing.kick()
                if change.entry is None:
                    # Not at once: the claims of its partitions come first.
                    self._clearing.kick_after(RETRY_SECONDS)
            elif kind == metadata_keys.TOPICS:
                topic_id = metadata_keys.topic_of(change.key)
                self._assignments.pop(topic_id, None)  # replicas may be assigned by hand
                if change.entry is not None:
                    self._unchecked[topic_id] = None
                else:
                    touched.add(topic_id)
            elif kind == metadata_keys.TOMBSTONES and change.entry is not None:
                self._deleted.setdefault(metadata_keys.topic_of(change.key), _Deleted.LED)
            elif kind == metadata_keys.TOMBSTONES:
                self._deleted.pop(metadata_keys.topic_of(change.key), None)
        self._settling.fill()
        self._dropping.kick()
        self._touched(touched)

    def _touched(self, topics: Collection[UUID]) -> None:
        """
        Let those who wait for leaders of these topics look again.
        """
        for topic_id in self._waiting.keys() & topics:
            for waiter in self._waiting.pop(topic_id):
                waiter.callback(None)

    def _report_epoch(self, where: TopicIdPartition) -> None:
        """
        Report the leader epoch in a partition's record to the log. A leader that was
        replaced while it had nothing to write learns of it by this.
        """
        self._partitions.recorded(where, self._image.leadership(*where).leader_epoch)

    def _needs_move(self, where: TopicIdPartition) -> bool:
        """
        Whether this broker must claim or release the partition.
        """
        try:
            mine = self.assigned_leader(*where) == self._image.broker_id
        except (UnknownTopicId, IndexError):
            return False  # deleted, or not in the image yet
        return mine != self._partitions.leads(where)

    def _check_topics(self, topics: Iterable[UUID]) -> None:
        self._unchecked |= dict.fromkeys(topics)
        self._settling.fill()

    def _next_check(self) -> Coroutine[Any, Any, None] | None:
        if not self._unchecked or not self._running:
            return None
        topics, self._unchecked = self._unchecked, {}
        return self._settle(topics)

    async def _settle(self, topics: Collection[UUID]) -> None:
        """
        Claim and release partitions of these topics until the assignment is met, or
        depends on other brokers. What failed is tried again later.
        """
        try:
            async with self._steps:
                released = self._to_release(topics)
                if released:
                    await self._release(released)
                    self._log.info(
                        "handed {number} partition(s) over to other brokers",
                        number=len(released),
                    )
                unclaimed = await self._claim(topics)
        except StoreError as error:
            self._log.warn(
                "could not claim or release all partitions, trying again in {seconds:g} s: {why}",
                seconds=RETRY_SECONDS,
                why=reason_in_log(error),
            )
            unclaimed = set(topics)
        except Exception:
            self._log.failure(
                "internal error while claiming or releasing partitions, trying again in"
                " {seconds:g} s",
                seconds=RETRY_SECONDS,
            )
            unclaimed = set(topics)
        self._touched(topics)
        self._retry_later(unclaimed)

    async def _claim(self, topics: Collection[UUID]) -> set[UUID]:
        """
        Claim the partitions of these topics that L{_to_claim} returns. Return the
        topics of those that this broker does not lead afterwards: another broker
        was faster, or this one is fenced, and claims nothing until it has rejoined.
        """
        is_gone = self._liveness_cache()
        wanted = await self._to_claim(topics, is_gone)
        if not wanted:
            return set()
        before = {where: self._image.leadership(*where) for where in wanted}
        with self._claiming(wanted):
            await self._partitions.claim(wanted, is_gone, self._image.guard_of)
        for where in wanted:
            self._report_epoch(where)  # the image may have had it before the claim
        self._log_claimed([before[each] for each in wanted if self._partitions.leads(each)])
        return {where[0] for where in wanted if not self._partitions.leads(where)}

    @contextmanager
    def _claiming(self, wanted: Iterable[TopicIdPartition]) -> Iterator[None]:
        """
        Let callers of L{claimed} wait until the end.
        """
        claims: dict[TopicIdPartition, dict[Deferred[None], None]] = {
            where: {} for where in wanted
        }
        self._claims.update(claims)
        try:
            yield
        finally:
            for where in claims:
                del self._claims[where]
            for waiting in claims.values():
                for waiter in list(waiting):
                    if not waiter.called:
                        waiter.callback(None)

    def claimed(self, topic_id: UUID, index: int) -> Deferred[None] | None:
        """
        Return a Deferred that fires when the claim of a partition has ended, well or not,
        or after L{CLAIM_SECONDS}; None if no claim of it is under way. Other brokers may
        see that this broker leads the partition before it learns that itself.
        """
        waiting = self._claims.get((topic_id, index))
        if waiting is None:
            return None
        waiter: Deferred[None] = Deferred()
        waiting[waiter] = None
        return waiter.addTimeout(CLAIM_SECONDS, self._clock).addErrback(
            lambda _: waiting.pop(waiter)
        )

    def _log_claimed(self, before: Sequence[Leadership]) -> None:
        """
        Log how many partitions this broker has claimed, by the reason why they had
        no leader.

        @param before: Their leaderships before the claim.
        """
        new = released = 0
        failed: Counter[int] = Counter()
        for leadership in before:
            if leadership.leader >= 0:
                failed[leadership.leader] += 1
            elif leadership.leader_epoch >= 0:
                released += 1
            else:
                new += 1
        if new:
            self._log.info("leads {number} new partition(s)", number=new)
        if released:
            self._log.info(
                "took over {number} partition(s) that other brokers released", number=released
            )
        for broker_id, number in sorted(failed.items()):
            self._log.info(
                "took over {number} partition(s) of failed broker {broker_id}",
                number=number,
                broker_id=broker_id,
            )

    def _retry_later(self, topics: set[UUID]) -> None:
        if topics and not self._to_retry:
            self._clock.callLater(RETRY_SECONDS, self._retry)
        self._to_retry |= topics

    def _retry(self) -> None:
        topics, self._to_retry = self._to_retry, set()
        self._check_topics(topics)

    async def _release(self, wheres: Sequence[TopicIdPartition]) -> None:
        for at in range(0, len(wheres), RELEASE_BATCH):
            await self._partitions.release(wheres[at : at + RELEASE_BATCH])

    async def wait_for_leaders(self, topic_id: UUID, indexes: Sequence[int]) -> None:
        """
        Return when all these partitions of a topic have a leader. One that this
        broker leads serves its clients then: the image has a claim before the
        broker hears that it is committed.

        @raise UnknownTopicId: the topic is deleted.
        """
        self._check_topics([topic_id])
        while indexes := [index for index in indexes if not self._is_led(topic_id, index)]:
            await self._until_touched(topic_id)

    def _is_led(self, topic_id: UUID, index: int) -> bool:
        leader = self._image.leadership(topic_id, index).leader
        if leader == self._image.broker_id:
            return self._partitions.leads((topic_id, index))
        return leader >= 0

    async def wait_for_leader(self, topic_id: UUID, index: int, broker_id: int) -> None:
        """
        Return when a broker leads a partition.

        @raise UnknownTopicId: the topic is deleted.
        """
        while self._image.leadership(topic_id, index).leader != broker_id:
            await self._until_touched(topic_id)

    async def _until_touched(self, topic_id: UUID) -> None:
        """
        Return when a partition of a topic has changed.

        @raise UnknownTopicId: the topic is deleted.
        """
        self._image.topic_by_id(topic_id)  # raises UnknownTopicId
        waiter: Deferred[None] = Deferred()
        self._waiting.setdefault(topic_id, []).append(waiter)
        await waiter

    async def _clear_up(self) -> None:
        """
        Delete the leftovers of failed brokers, if this broker is chosen to do it.
        """
        if self._running and self._is_chosen("incarnations"):
            async with self._steps:
                await self._partitions.clear_up(self._liveness_cache())

    def _not_cleared_up(self, failure: Failure) -> None:
        self._log.warn(
            "could not delete the leftovers of failed brokers, which stay until another broker"
            " leaves: {why}",
            why=reason_in_log(failure.value),
        )

    def _is_chosen(self, task: str) -> bool:
        """
        Whether this broker is to do a task that one broker has to do.
        """
        return leaders(task, 1, self._image.brokers())[0] == self._image.broker_id

    # -- deleted topics ---------------------------------------------------------

    async def _drop(self) -> None:
        """
        Drop the topics that were deleted.
        """
        topics = [topic_id for topic_id, state in self._deleted.items() if state is _Deleted.LED]
        if not self._running or not topics:
            return
        async with self._steps:
            self._deleted |= dict.fromkeys(topics, _Deleted.DROPPING)
            dropping = Deferred.fromCoroutine(_finish(self._partitions.drop(topics)))
        # Claims, and drops of other topics, go on from here: a store in which writes take
        # long delays none of them.
        dropping.addCallbacks(lambda _: self._dropped(topics), self._not_deleted)

    def _dropped(self, topics: Iterable[UUID]) -> None:
        self._deleted |= dict.fromkeys(self._deleted.keys() & topics, _Deleted.DROPPED)
        self._erasing.kick()

    async def _erase(self) -> None:
        """
        If this broker is chosen, delete the data of topics that it has dropped, and then
        their tombstones. Another choice when brokers change may make it this broker.
        """
        dropped = [each for each, state in self._deleted.items() if state is _Deleted.DROPPED]
        topics = dropped[:ERASE_BATCH]
        if not self._running or not topics or not self._is_chosen("deletions"):
            return
        await self._partitions.delete(topics)
        await self._store.commit(
            [], [Delete(metadata_keys.tombstone(topic_id)) for topic_id in topics]
        )
        for topic_id in topics:
            self._deleted.pop(topic_id, None)
        self._erasing.kick()

    def _not_deleted(self, failure: Failure) -> float | None:
        if isinstance(failure.value, StoreError):
            self._log.warn(
                "could not delete the data of {number} deleted topic(s), trying again in"
                " {seconds:g} s: {why}",
                number=len(self._deleted),
                seconds=RETRY_SECONDS,
                why=reason_in_log(failure.value),
            )
        else:
            self._log.failure(
                "internal error while deleting the data of {number} deleted topic(s), trying"
                " again in {seconds:g} s",
                failure,
                number=len(self._deleted),
                seconds=RETRY_SECONDS,
            )
        return RETRY_SECONDS


async def _finish(work: Awaitable[None]) -> None:
    await work
