"""
Who leads what, kept in step with the image.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast
from uuid import UUID

import attrs
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.image import Image
from kafscale.cluster.leadership import RETRY_SECONDS, Leaderships
from kafscale.errors import StoreUnavailable, UnknownTopicId
from kafscale.format import metadata_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import Broker, Compare, ILog, Leadership, Phase, Put
from tests.cluster.small import BROKER, CLUSTER_ID, SmallCluster, begin
from tests.hostile import HostileMetadataStore, Operation, Verdict

Gone = Callable[[int, int], Awaitable[bool]]
GuardOf = Callable[[UUID], Compare | None]


class FakeLog:
    """
    Claims what it is told to, unless it fails or was replaced.

    @ivar claims: What was asked for, each time.
    @ivar releases: What was released, each time.
    @ivar leading: What it leads.
    @ivar epochs: The leader epochs that it was told last.
    @ivar cleared: How often it was to clear up after those who are gone.
    @ivar failures: How often it fails yet.
    @ivar replaced: Whether it claims nothing.
    """

    def __init__(self, cluster: SmallCluster) -> None:
        self._cluster = cluster
        self.claims: list[list[TopicIdPartition]] = []
        self.releases: list[list[TopicIdPartition]] = []
        self.leading: dict[TopicIdPartition, None] = {}
        self.dropped: list[UUID] = []
        self.cleared = 0
        self.epochs: dict[TopicIdPartition, int] = {}
        self.deleted: list[UUID] = []
        self.failures = 0
        self.replaced = False

    async def claim(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf
    ) -> None:
        """
        Make the broker the leader of all of these.
        """
        self.claims.append(list(wanted))
        self._fail()
        if not self.replaced:
            for where in self.claims[-1]:
                await self._put(where, {"leader": BROKER.broker_id, "epoch": 0, "incarnation": 1})
                self.leading[where] = None

    async def release(self, wanted: Iterable[TopicIdPartition]) -> None:
        """
        Make nobody the leader of all of these.
        """
        self.releases.append(list(wanted))
        self._fail()
        for where in self.releases[-1]:
            del self.leading[where]
            await self._put(where, {"leader": -1, "epoch": 0, "incarnation": 0})

    async def _put(self, where: TopicIdPartition, record: dict[str, int]) -> None:
        key = f"{metadata_keys.PARTITIONS}{where[0]}/{where[1]:010d}"
        await self._cluster.store.commit([], [Put(key, record)])

    def leads(self, where: TopicIdPartition) -> bool:
        """
        Whether it has claimed it.
        """
        return where in self.leading

    def recorded(self, where: TopicIdPartition, leader_epoch: int) -> None:
        """
        Note it.
        """
        self.epochs[where] = leader_epoch

    def led(self) -> Sequence[TopicIdPartition]:
        """
        What it has claimed.
        """
        return tuple(self.leading)

    async def recover(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf
    ) -> None:
        """
        The same as to claim, for a new incarnation.
        """
        self.leading.clear()
        await self.claim(wanted, is_gone, guard_of)

    async def clear_up(self, is_gone: Gone) -> None:
        """
        Note it.
        """
        self.cleared += 1

    async def drop(self, topic_id: UUID) -> None:
        """
        Lead nothing of it.
        """
        self.dropped.append(topic_id)
        for where in [where for where in self.leading if where[0] == topic_id]:
            del self.leading[where]

    async def delete(self, topic_id: UUID) -> None:
        """
        Note it.
        """
        self.deleted.append(topic_id)
        self._fail()

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("503")


class LeadershipTestCase(SynchronousTestCase):
    """
    A cluster in which nobody leads what is created, but who is tested.
    """

    def setUp(self) -> None:
        """
        Not started.
        """
        self.cluster = SmallCluster(self)
        self.cluster.leaderless = True
        self.log = FakeLog(self.cluster)
        self.leaderships = Leaderships(
            self.cluster.store, self.cluster.image, cast(ILog, self.log), self.cluster.clock
        )

    def start(self) -> None:
        """
        Start it.
        """
        self.cluster.now(self.leaderships.start())

    def create(self, name: str, partitions: int) -> UUID:
        """
        A topic; its id.
        """
        return self.cluster.now(self.cluster.topics.create(name, partitions, {})).topic_id

    def leaders(self, topic_id: UUID, partitions: int) -> list[int]:
        """
        Of each partition.
        """
        image = self.cluster.image
        return [image.leadership(topic_id, index).leader for index in range(partitions)]

    def tombstones(self) -> list[Any]:
        """
        Of topics whose data is not removed yet.
        """
        return list(self.cluster.now(self.cluster.store.range(metadata_keys.TOMBSTONES))[0])


class LedTests(LeadershipTestCase):
    """
    Partitions get a leader.
    """

    def test_at_the_start(self) -> None:
        """
        All that there are, whoever led them before.
        """
        first, second = self.create("first", 2), self.create("second", 1)
        self.start()
        self.assertEqual(self.log.claims, [[(first, 0), (first, 1), (second, 0)]])
        self.assertEqual(self.leaders(first, 2), [7, 7])

    def test_start_that_fails(self) -> None:
        """
        Who cannot recover what it is to lead does not start.
        """
        self.log.failures = 1
        self.failureResultOf(begin(self.leaderships.start()), StoreUnavailable)

    def test_those_that_appear(self) -> None:
        """
        Whoever created them, and also when a topic grows.
        """
        self.start()
        topic_id = self.create("new", 2)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.leaders(topic_id, 3), [7, 7, -1])
        topic = self.cluster.image.topic("new")
        self.cluster.now(self.cluster.topics.grow(topic, 3))
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.log.claims[-1], [(topic_id, 2)])
        self.assertEqual(self.leaders(topic_id, 3), [7, 7, 7])

    def test_tried_again(self) -> None:
        """
        A store that fails is asked again a second later.
        """
        self.start()
        self.log.failures = 1
        topic_id = self.create("new", 1)
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 1)
        self.assertEqual(self.leaders(topic_id, 1), [-1])
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.leaders(topic_id, 1), [7])

    def test_logged(self) -> None:
        """
        Log lines distinguish new partitions, released ones, and those of a failed
        broker.
        """
        self.log.replaced = True
        self.start()
        topic_id = self.create("new", 4)
        self.cluster.put_leader(topic_id, 1, leader=9, epoch=3)
        self.cluster.put_leader(topic_id, 2, leader=-1, epoch=3)
        self.log.replaced = False
        with capturedLogs() as logged:
            self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(
            [formatEvent(each) for each in logged],
            [
                "leads 2 new partition(s)",
                "took over 1 partition(s) that other brokers released",
                "took over 1 partition(s) of failed broker 9",
            ],
        )

    def test_until_they_are(self) -> None:
        """
        Who waits for leaders waits until there are some; while the broker is
        replaced, and may claim nothing, it is not asked over and over again.
        """
        self.log.replaced = True
        self.start()
        topic_id = self.create("new", 1)
        led = begin(self.leaderships.wait_for_leaders(topic_id, [0]))
        for _ in range(10_000):
            self.cluster.clock.advance(0.001)
        self.assertNoResult(led)
        self.assertLess(len(self.log.claims), 20)
        self.log.replaced = False
        self.cluster.clock.advance(RETRY_SECONDS)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.successResultOf(led)

    def test_of_a_deleted_topic(self) -> None:
        """
        Who waits for the leaders of a topic that is deleted waits in vain, and
        is told.
        """
        self.log.replaced = True
        self.start()
        topic_id = self.create("brief", 1)
        led = begin(self.leaderships.wait_for_leaders(topic_id, [0]))
        self.assertNoResult(led)
        self.cluster.now(self.cluster.topics.delete(self.cluster.image.topic("brief")))
        self.cluster.clock.advance(RETRY_SECONDS)
        self.failureResultOf(led, UnknownTopicId)


class SharedTests(LeadershipTestCase):
    """
    Several brokers: each leads its share.
    """

    OTHER = Broker(8, "other.example", 9092, incarnation=50)

    def owned(self, topic_id: UUID, broker_id: int) -> list[TopicIdPartition]:
        """
        What that broker should lead of six partitions.
        """
        return [
            (topic_id, index)
            for index in range(6)
            if self.leaderships.assigned_leader(topic_id, index) == broker_id
        ]

    def test_share(self) -> None:
        """
        Of what is created it claims its own, and waits for the other to do
        the same.
        """
        self.cluster.put_broker(self.OTHER)
        self.start()
        topic_id = self.create("new", 6)
        mine, theirs = self.owned(topic_id, 7), self.owned(topic_id, 8)
        self.assertEqual((len(mine), len(theirs)), (3, 3))
        self.assertEqual(list(self.log.leading), mine)
        led = begin(self.leaderships.wait_for_leaders(topic_id, range(6)))
        self.assertNoResult(led)
        for where in theirs:
            self.cluster.put_leader(*where, 8, 0, 50)
        self.successResultOf(led)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(list(self.log.leading), mine)

    def test_another_comes(self) -> None:
        """
        It is handed its share, once it serves; the rest stays where it is.
        """
        self.start()
        topic_id = self.create("new", 6)
        self.cluster.put_broker(attrs.evolve(self.OTHER, phase=Phase.STARTING))
        self.assertEqual(self.log.releases, [])
        self.cluster.put_broker(self.OTHER)
        theirs = self.owned(topic_id, 8)
        self.assertEqual(self.log.releases, [theirs])
        self.assertEqual(list(self.log.leading), self.owned(topic_id, 7))
        for where in theirs:
            self.assertEqual(self.cluster.image.leadership(*where).leader, -1)

    def test_another_dies(self) -> None:
        """
        What it led is claimed when its registration ends, and not before.
        """
        self.cluster.put_broker(self.OTHER)
        topic_id = self.create("old", 6)
        for where in self.owned(topic_id, 8):
            self.cluster.put_leader(*where, 8, 0, 50)
        self.start()
        self.assertEqual(len(self.log.leading), 3)
        self.assertEqual(self.log.cleared, 0)
        self.cluster.end_broker(8)
        self.assertEqual(len(self.log.leading), 6)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.log.cleared, 1)

    def test_asked_once(self) -> None:
        """
        However much a broker led that is gone, the store is asked about it
        once.
        """
        self.cluster.put_broker(self.OTHER)
        topic_id = self.create("old", 6)
        for index in range(6):
            self.cluster.put_leader(topic_id, index, 8, 0, 50)
        self.cluster.end_broker(8)
        asked: list[str] = []

        def note(operation: Operation) -> Verdict:
            asked.append(operation.key)
            return Verdict.SUCCEED

        store = HostileMetadataStore(self.cluster.store, note)
        leaderships = Leaderships(
            store, self.cluster.image, cast(ILog, self.log), self.cluster.clock
        )
        self.cluster.now(leaderships.start())
        self.assertEqual(len(self.log.leading), 6)
        self.assertEqual(asked.count("brokers/8"), 1)

    def test_another_comes_back(self) -> None:
        """
        It takes what its dead predecessor led; nobody else does.
        """
        self.cluster.put_broker(self.OTHER)
        topic_id = self.create("old", 6)
        for where in self.owned(topic_id, 8):
            self.cluster.put_leader(*where, 8, 0, 50)
        self.start()
        self.cluster.put_broker(attrs.evolve(self.OTHER, incarnation=60, phase=Phase.STARTING))
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(len(self.log.leading), 3)

    def test_released(self) -> None:
        """
        What another releases, and should not lead, is claimed at once.
        """
        self.cluster.put_broker(self.OTHER)
        topic_id = self.create("old", 6)
        for index in range(6):
            self.cluster.put_leader(topic_id, index, 8, 0, 50)
        self.start()
        self.assertEqual(list(self.log.leading), [])
        for where in self.owned(topic_id, 7):
            self.cluster.put_leader(*where, -1, 0, 0)
        self.assertEqual(list(self.log.leading), self.owned(topic_id, 7))

    def test_image_behind(self) -> None:
        """
        A leader of which the image does not know yet lives all the same: the
        store is asked.
        """
        topic_id = self.create("old", 1)
        later = Image(self.cluster.store, CLUSTER_ID, BROKER)
        self.cluster.now(later.start())
        for watch in later._watches:
            watch.stop()
        leaderships = Leaderships(
            self.cluster.store, later, cast(ILog, self.log), self.cluster.clock
        )
        self.cluster.put_broker(self.OTHER)
        later._leaders[topic_id, 0] = Leadership(8, 0, 50)
        self.cluster.now(leaderships.start())
        self.assertEqual(list(self.log.leading), [])

    def test_told_of_epochs(self) -> None:
        """
        Whatever becomes of a partition's record its leader hears of the epoch:
        it may have been replaced.
        """
        self.start()
        topic_id = self.create("new", 1)
        self.assertEqual(self.log.epochs, {(topic_id, 0): 0})
        self.cluster.put_leader(topic_id, 0, 8, 5, 50)
        self.assertEqual(self.log.epochs, {(topic_id, 0): 5})

    def test_leaving(self) -> None:
        """
        Everything is released, whoever is to have it, fifty at a time.
        """
        self.start()
        topic_id = self.create("new", 120)
        self.cluster.now(self.leaderships.leave())
        self.assertEqual(list(self.log.leading), [])
        self.assertEqual([len(each) for each in self.log.releases], [50, 50, 20])
        self.assertEqual(set(self.leaders(topic_id, 120)), {-1})

    def test_deleted(self) -> None:
        """
        Every broker lets go of a deleted topic; one of them removes its data,
        or another if that one dies before.
        """
        self.cluster.put_broker(self.OTHER)
        self.start()
        topic_ids = [self.create(f"t{number}", 1) for number in range(8)]
        for number in range(8):
            self.cluster.now(self.cluster.topics.delete(self.cluster.image.topic(f"t{number}")))
        self.assertEqual(self.log.dropped, topic_ids)
        self.assertEqual(len(self.tombstones()), 8 - len(self.log.deleted))
        self.assertNotIn(len(self.log.deleted), (0, 8))
        self.cluster.end_broker(8)
        self.assertEqual(sorted(self.log.deleted), topic_ids)
        self.assertEqual(self.tombstones(), [])


class DeletedTests(LeadershipTestCase):
    """
    The data of deleted topics is removed.
    """

    def test_when_deleted(self) -> None:
        """
        Then the tombstone goes, too.
        """
        self.start()
        topic_id = self.create("brief", 1)
        self.cluster.now(self.cluster.topics.delete(self.cluster.image.topic("brief")))
        self.assertEqual(self.log.deleted, [topic_id])
        self.assertEqual(self.tombstones(), [])

    def test_tried_again(self) -> None:
        """
        As often as it takes; the tombstone stays until then.
        """
        self.start()
        topic_id = self.create("brief", 1)
        self.log.failures = 2
        self.cluster.now(self.cluster.topics.delete(self.cluster.image.topic("brief")))
        self.assertEqual(len(self.tombstones()), 1)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(len(self.tombstones()), 1)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.log.deleted, [topic_id] * 3)
        self.assertEqual(self.tombstones(), [])
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 2)

    def test_by_who_died_over_it(self) -> None:
        """
        What a broker did not finish is finished at the next start.
        """
        topic_id = UUID(int=0x99)
        self.cluster.now(
            self.cluster.store.commit([], [Put(metadata_keys.tombstone(topic_id), {})])
        )
        self.start()
        self.assertEqual(self.log.deleted, [topic_id])
        self.assertEqual(self.tombstones(), [])

    def test_stopped(self) -> None:
        """
        Who has stopped removes and claims nothing.
        """
        self.start()
        self.create("brief", 1)
        self.leaderships.stop()
        before = len(self.log.claims)
        self.cluster.now(self.cluster.topics.delete(self.cluster.image.topic("brief")))
        self.create("new", 1)
        self.assertEqual((self.log.deleted, len(self.log.claims)), ([], before))
