"""
Who leads what, and bringing it about.

Who should lead a partition everyone computes alike (`kafscale.cluster.spread`).
Nothing is decided between brokers: each takes what it should lead and nobody
does, because its leader has released it or is gone; and it releases what it
should not lead. So a partition moves from a living leader by that leader's own
act, and from a dead one by a seal (`kafscale.log.takeover.sealing`), and two who are of
different minds for a moment, because their images are, do no harm.

What was deleted is removed, also when its removal was interrupted before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
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
from kafscale.errors import UnknownTopicId
from kafscale.format import metadata_keys
from kafscale.format.broker import BrokerRecord
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import Change, Delete, ILog, IMetadataStore, Phase

AGAIN = 1.0
"""Seconds after which what failed is tried again."""

TOGETHER = 50
"""How many partitions are released at a time: none of them can be written from
then on until it has been claimed."""

Gone = Callable[[int, int], Awaitable[bool]]


class Leaderships:
    """
    What this broker leads, kept in step with the image.
    """

    _log = Logger()

    def __init__(self, store: IMetadataStore, image: Image, log: ILog, clock: IReactorTime) -> None:
        self._store = store
        self._image = image
        self._partitions = log
        self._clock = clock
        # One step at a time: a topic that is deleted while it is claimed is
        # claimed first.
        self._steps = DeferredLock()
        self._running = False
        self._owners: dict[UUID, Sequence[int]] = {}  # as computed from the image
        self._unseen: dict[UUID, None] = {}  # topics to be looked at
        self._late: set[UUID] = set()  # topics to be looked at after a while
        self._settling = WorkerPool(clock, 1, self._take_unseen)
        self._led: dict[UUID, list[Deferred[None]]] = {}  # those who wait for leaders
        self._deleting: dict[UUID, Chore] = {}  # of topics with a tombstone
        self._clearing = Chore(clock, self._clear_up, self._not_cleared_up)

    # -- beginning and end -----------------------------------------------------

    async def start(self) -> None:
        """
        Lead all partitions that this broker should, and from now on those that
        it comes to be the one for.

        @raise Exception: what a partition's recovery raised: the broker cannot
            serve its data.
        """
        self._running = True
        self._image.on_change(self._changed)
        await self.recover()
        entries, _ = await self._store.range(metadata_keys.TOMBSTONES)
        for entry in entries:
            self._remove(metadata_keys.topic_of(entry.key))

    async def recover(self) -> None:
        """
        Lead, as a new incarnation, what this broker should.
        """
        self._owners.clear()
        topics = [topic.topic_id for topic in self._image.topics()]
        async with self._steps:
            is_gone = self._roll_call()
            wanted = await self._to_claim(topics, is_gone)
            await self._partitions.recover(wanted, is_gone, self._image.guard_of)
            for where in wanted:
                self._check(where)
        self._look_at(topics)

    def stop(self) -> None:
        """
        Follow the image no more.
        """
        self._running = False

    async def leave(self) -> None:
        """
        Release everything, for others to lead; it has been announced that this
        broker leaves.
        """
        self._running = False
        async with self._steps:
            await self._release(self._partitions.led())

    # -- what should be -------------------------------------------------------

    def owner(self, topic_id: UUID, index: int) -> int:
        """
        The id of the broker that should lead a partition; -1: there is none.
        """
        topic = self._image.topic_by_id(topic_id)
        owners = self._owners.get(topic_id)
        if owners is None or len(owners) != topic.partitions:
            owners = leaders(str(topic_id), topic.partitions, self._image.brokers())
            self._owners[topic_id] = owners
        return owners[index]

    def _mine(self, topics: Iterable[UUID]) -> list[tuple[TopicIdPartition, bool]]:
        """
        The partitions of these topics that this broker should lead, and
        whether it does.
        """
        found = []
        for topic_id in topics:
            try:
                topic = self._image.topic_by_id(topic_id)
            except UnknownTopicId:
                continue
            for index in range(topic.partitions):
                if self.owner(topic_id, index) == self._image.broker_id:
                    where = topic_id, index
                    found.append((where, self._partitions.leads(where)))
        return found

    async def _to_claim(self, topics: Iterable[UUID], is_gone: Gone) -> list[TopicIdPartition]:
        """
        What this broker should lead, and nobody does.
        """
        found = []
        for where, led in self._mine(topics):
            if led:
                continue
            leader = self._image.leadership(*where)
            if leader.leader < 0 or await is_gone(leader.leader, leader.incarnation):
                found.append(where)
        return found

    def _to_release(self, topics: Collection[UUID]) -> list[TopicIdPartition]:
        """
        What this broker leads, and another should that is ready to.
        """
        serving = {
            each.broker_id for each in self._image.brokers() if each.phase is Phase.SERVING
        } - {self._image.broker_id}
        found = []
        for where in self._partitions.led():
            if where[0] in topics:
                with suppress(UnknownTopicId):  # it is about to be dropped
                    if self.owner(*where) in serving:
                        found.append(where)
        return found

    def _roll_call(self) -> Gone:
        """
        Tells of incarnations whether they are members of the cluster no more;
        of each it finds that out once.
        """
        gone: dict[tuple[int, int], bool] = {}

        async def is_gone(broker_id: int, incarnation: int) -> bool:
            who = broker_id, incarnation
            if who not in gone:
                gone[who] = await self._is_gone(*who)
            return gone[who]

        return is_gone

    async def _is_gone(self, broker_id: int, incarnation: int) -> bool:
        if broker_id == self._image.broker_id:
            return True  # its place is this process's now
        known = {each.broker_id: each.incarnation for each in self._image.brokers()}
        if known.get(broker_id) == incarnation:
            return False
        # The image may not have its registration yet.
        entry = await self._store.get(metadata_keys.broker(broker_id))
        return entry is None or BrokerRecord.from_entry(entry).incarnation != incarnation

    # -- bringing it about ------------------------------------------------------

    def _changed(self, changes: Sequence[Change]) -> None:
        if not self._running:
            return
        touched: set[UUID] = set()
        for change in changes:
            kind = metadata_keys.kind_of(change.key)
            if kind == metadata_keys.PARTITIONS:
                where = metadata_keys.partition_of(change.key)
                touched.add(where[0])
                self._check(where)
                if self._is_misled(where):
                    self._unseen[where[0]] = None
            elif kind == metadata_keys.BROKERS:
                self._owners.clear()
                self._unseen |= dict.fromkeys(each.topic_id for each in self._image.topics())
                for deleting in list(self._deleting.values()):
                    deleting.kick()
                if change.entry is None:
                    # After what is urgent: others wait for what it led.
                    self._clearing.kick_after(AGAIN)
            elif kind == metadata_keys.TOPICS and change.entry is not None:
                self._unseen[metadata_keys.topic_of(change.key)] = None
            elif kind == metadata_keys.TOPICS:
                topic_id = metadata_keys.topic_of(change.key)
                self._owners.pop(topic_id, None)
                touched.add(topic_id)
            elif kind == metadata_keys.TOMBSTONES and change.entry is not None:
                self._remove(metadata_keys.topic_of(change.key))
            elif kind == metadata_keys.TOMBSTONES:
                self._removed(metadata_keys.topic_of(change.key))
        self._settling.fill()
        for topic_id in touched & self._led.keys():
            for waiter in self._led.pop(topic_id):
                waiter.callback(None)

    def _check(self, where: TopicIdPartition) -> None:
        """
        Who was replaced, and has written nothing since, learns it from the
        partition's record.
        """
        self._partitions.recorded(where, self._image.leadership(*where).leader_epoch)

    def _is_misled(self, where: TopicIdPartition) -> bool:
        """
        Whether another leads it than should, as far as this broker is to do
        something about it.
        """
        try:
            mine = self.owner(*where) == self._image.broker_id
        except (UnknownTopicId, IndexError):
            return False  # deleted, or not seen yet
        return mine != self._partitions.leads(where)

    def _look_at(self, topics: Iterable[UUID]) -> None:
        self._unseen |= dict.fromkeys(topics)
        self._settling.fill()

    def _take_unseen(self) -> Coroutine[Any, Any, None] | None:
        if not self._unseen or not self._running:
            return None
        topics, self._unseen = self._unseen, {}
        return self._settle(topics)

    async def _settle(self, topics: Collection[UUID]) -> None:
        """
        Release and claim until everything is as it should be, or waits for
        somebody else.
        """
        try:
            async with self._steps:
                released = self._to_release(topics)
                if released:
                    await self._release(released)
                    self._log.info(
                        "handed {number} partitions over to other brokers",
                        number=len(released),
                    )
                is_gone = self._roll_call()
                wanted = await self._to_claim(topics, is_gone)
                if wanted:
                    await self._partitions.claim(wanted, is_gone, self._image.guard_of)
                    for where in wanted:
                        self._check(where)  # what was told before it was led
                    self._log.info(
                        "took over {number} partitions of {asked} that had no leader",
                        number=sum(map(self._partitions.leads, wanted)),
                        asked=len(wanted),
                    )
        except Exception:
            self._log.failure("not all partitions could be claimed or released")
            left = set(topics)
        else:
            # Somebody else was faster, or this broker is replaced, and
            # claims nothing until it has joined anew.
            left = {where[0] for where in wanted if not self._partitions.leads(where)}
        self._look_later(left)

    def _look_later(self, topics: set[UUID]) -> None:
        if topics and not self._late:
            self._clock.callLater(AGAIN, self._time_up)
        self._late |= topics

    def _time_up(self) -> None:
        late, self._late = self._late, set()
        self._look_at(late)

    async def _release(self, wheres: Sequence[TopicIdPartition]) -> None:
        for at in range(0, len(wheres), TOGETHER):
            await self._partitions.release(wheres[at : at + TOGETHER])

    async def led(self, topic_id: UUID, indexes: Sequence[int]) -> None:
        """
        Return when all these partitions of a topic have a leader.

        @raise UnknownTopicId: the topic is deleted.
        """
        self._look_at([topic_id])
        while True:
            self._image.topic_by_id(topic_id)  # raises if it is gone
            indexes = [
                index for index in indexes if self._image.leadership(topic_id, index).leader < 0
            ]
            if not indexes:
                return
            waiter: Deferred[None] = Deferred()
            self._led.setdefault(topic_id, []).append(waiter)
            await waiter

    async def _clear_up(self) -> None:
        """
        One of the brokers removes what is left of those that are gone.
        """
        if self._running and self._is_chosen("incarnations"):
            async with self._steps:
                await self._partitions.clear_up(self._roll_call())

    def _not_cleared_up(self, failure: Failure) -> None:
        self._log.warn(
            "what brokers that are gone have left stays for now: {why}",
            why=failure.getErrorMessage(),
        )

    def _is_chosen(self, what: str) -> bool:
        """
        Whether it falls to this broker to do what one of them has to.
        """
        return leaders(what, 1, self._image.brokers())[0] == self._image.broker_id

    # -- deleted topics ---------------------------------------------------------

    def _remove(self, topic_id: UUID) -> None:
        if topic_id not in self._deleting:
            self._deleting[topic_id] = Chore(
                self._clock,
                partial(self._delete, topic_id),
                partial(self._not_deleted, topic_id),
            )
        self._deleting[topic_id].kick()

    def _removed(self, topic_id: UUID) -> None:
        deleting = self._deleting.pop(topic_id, None)
        if deleting is not None:
            deleting.abandon()

    async def _delete(self, topic_id: UUID) -> None:
        """
        Let go of a deleted topic; one of the brokers removes its data, and then
        the tombstone. When it is another's to do, it may become this one's.
        """
        if not self._running:
            return
        async with self._steps:
            await self._partitions.drop(topic_id)
            if not self._is_chosen(str(topic_id)):
                return
            await self._partitions.delete(topic_id)
        await self._store.commit([], [Delete(metadata_keys.tombstone(topic_id))])
        self._removed(topic_id)

    def _not_deleted(self, topic_id: UUID, failure: Failure) -> float | None:
        self._log.failure("deleting the data of {topic_id} failed", failure, topic_id=topic_id)
        return AGAIN
