"""
Tests of `kafscale.cluster.leadership`.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from itertools import count
from typing import Any, cast
from uuid import UUID
from weakref import ref

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.image import Image
from kafscale.cluster.leadership import CLAIM_SECONDS, RETRY_SECONDS, Leaderships
from kafscale.cluster.spread import leaders
from kafscale.errors import StoreUnavailable, UnknownTopicId
from kafscale.format import metadata_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import Broker, Compare, ILog, Phase, Put, Topic
from tests.cluster.small import BROKER, CLUSTER_ID, SmallCluster
from tests.harness.coroutines import begin
from tests.harness.hostile import HostileMetadataStore, Operation, Verdict

Gone = Callable[[int, int], Awaitable[bool]]
GuardOf = Callable[[UUID], Compare | None]


class FakeLog:
    """
    A log whose claims succeed, unless it fails or was replaced.

    @ivar claims: The partitions of each claim.
    @ivar releases: The partitions of each release.
    @ivar leading: The partitions that it leads.
    @ivar dropped: The topics dropped.
    @ivar epochs: The leader epoch last reported for each partition.
    @ivar cleared: The number of calls of L{clear_up}.
    @ivar deleted: The topics deleted.
    @ivar failures: How many more operations fail.
    @ivar replaced: Whether it claims nothing.
    @ivar claimed: What L{claim} waits for after each commit, if anything.
    @ivar written: What L{drop} waits for, if anything.
    @ivar erased: What L{delete} waits for, if anything.
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
        self.claimed: Deferred[None] | None = None
        self.written: Deferred[None] | None = None
        self.erased: Deferred[None] | None = None

    async def claim(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf
    ) -> None:
        """
        Make the broker the leader of the partitions.
        """
        self.claims.append(list(wanted))
        self._fail()
        if not self.replaced:
            for where in self.claims[-1]:
                await self._put(where, {"leader": BROKER.broker_id, "epoch": 0, "incarnation": 1})
                if self.claimed is not None:
                    await self.claimed
                self.leading[where] = None

    async def release(self, wanted: Iterable[TopicIdPartition]) -> None:
        """
        Leave the partitions without a leader.
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
        Whether it has claimed the partition.
        """
        return where in self.leading

    def recorded(self, where: TopicIdPartition, leader_epoch: int) -> None:
        """
        Record the epoch.
        """
        self.epochs[where] = leader_epoch

    def led(self) -> Sequence[TopicIdPartition]:
        """
        Return the partitions that it leads.
        """
        return tuple(self.leading)

    async def recover(
        self, wanted: Iterable[TopicIdPartition], is_gone: Gone, guard_of: GuardOf
    ) -> None:
        """
        Claim the partitions, as a new incarnation.
        """
        self.leading.clear()
        await self.claim(wanted, is_gone, guard_of)

    async def clear_up(self, is_gone: Gone) -> None:
        """
        Count the call.
        """
        self.cleared += 1

    async def drop(self, topic_ids: Collection[UUID]) -> None:
        """
        Stop leading the partitions of the topics.
        """
        self.dropped += topic_ids
        for where in [where for where in self.leading if where[0] in topic_ids]:
            del self.leading[where]
        if self.written is not None:
            await self.written

    async def delete(self, topic_ids: Collection[UUID]) -> None:
        """
        Record the topics.
        """
        self.deleted += topic_ids
        if self.erased is not None:
            await self.erased
        self._fail()

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("503")


class LeadershipTestCase(SynchronousTestCase):
    """
    A cluster in which new partitions have no leader until the tested object claims them.
    """

    def setUp(self) -> None:
        """
        Create the objects, and start none.
        """
        self.cluster = SmallCluster(self)
        self.cluster.leaderless = True
        self.log = FakeLog(self.cluster)
        self.leaderships = Leaderships(
            self.cluster.store, self.cluster.image, cast(ILog, self.log), self.cluster.clock
        )

    def start(self) -> None:
        """
        Start to lead.
        """
        self.cluster.now(self.leaderships.start())

    def create(self, name: str, partitions: int) -> UUID:
        """
        Create a topic, and return its id.
        """
        return self.cluster.now(self.cluster.topics.create(name, partitions, {})).topic_id

    def leaders(self, topic_id: UUID, partitions: int) -> list[int]:
        """
        Return the leader of each partition.
        """
        image = self.cluster.image
        return [image.leadership(topic_id, index).leader for index in range(partitions)]

    def tombstones(self) -> list[Any]:
        """
        Return the tombstones, of topics whose data still exists.
        """
        return list(self.cluster.now(self.cluster.store.range(metadata_keys.TOMBSTONES))[0])


class LedTests(LeadershipTestCase):
    """
    Partitions get a leader.
    """

    def test_at_the_start(self) -> None:
        """
        All existing partitions are claimed at the start.
        """
        first, second = self.create("first", 2), self.create("second", 1)
        self.start()
        self.assertEqual(self.log.claims, [[(first, 0), (first, 1), (second, 0)]])
        self.assertEqual(self.leaders(first, 2), [7, 7])

    def test_start_that_fails(self) -> None:
        """
        The start fails if the recovery fails.
        """
        self.log.failures = 1
        self.failureResultOf(begin(self.leaderships.start()), StoreUnavailable)

    def test_those_that_appear(self) -> None:
        """
        New partitions are claimed, of new topics and of topics that grow.
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
        After a failure of the store a claim is tried again a second later.
        """
        self.start()
        self.log.failures = 1
        with capturedLogs() as logged:
            topic_id = self.create("new", 1)
        self.assertEqual(
            [formatEvent(each) for each in logged],
            ["could not claim or release all partitions, trying again in 1 s: 503"],
        )
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

    def test_led_here(self) -> None:
        """
        wait_for_leaders returns when this broker leads the partitions, and not when the
        image has the claim.
        """
        topic_id = self.create("new", 1)
        self.log.claimed = Deferred()
        starting = begin(self.leaderships.start())
        led = begin(self.leaderships.wait_for_leaders(topic_id, [0]))
        self.assertEqual(self.leaders(topic_id, 1), [7])
        self.assertNoResult(led)
        self.log.claimed.callback(None)
        self.successResultOf(starting)
        self.successResultOf(led)

    def test_until_they_are(self) -> None:
        """
        wait_for_leaders returns when there are leaders. While the broker is fenced, claims
        are tried at a bounded rate.
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

    def test_until_they_serve(self) -> None:
        """
        wait_for_leaders returns when this broker leads in its log, too, and not
        only in the image.
        """
        self.log.replaced = True
        self.start()
        topic_id = self.create("new", 1)
        led = begin(self.leaderships.wait_for_leaders(topic_id, [0]))
        self.cluster.put_leader(topic_id, 0, leader=BROKER.broker_id, epoch=0)
        self.assertNoResult(led)
        self.log.replaced = False
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertTrue(self.log.leads((topic_id, 0)))
        self.successResultOf(led)

    def test_of_a_deleted_topic(self) -> None:
        """
        wait_for_leaders fails if the topic is deleted.
        """
        self.log.replaced = True
        self.start()
        topic_id = self.create("brief", 1)
        led = begin(self.leaderships.wait_for_leaders(topic_id, [0]))
        self.assertNoResult(led)
        self.cluster.delete(self.cluster.image.topic("brief"))
        self.cluster.clock.advance(RETRY_SECONDS)
        self.failureResultOf(led, UnknownTopicId)


class ClaimedTests(LeadershipTestCase):
    """
    Producers wait for a claim that is under way.
    """

    def setUp(self) -> None:
        """
        The claim of a new partition is committed, and the broker has not heard of it.
        """
        super().setUp()
        self.start()
        self.assertIsNone(self.leaderships.claimed(UUID(int=1), 0))
        self.log.claimed = self.heard = Deferred[None]()
        self.topic_id = self.create("new", 1)
        self.assertEqual(self.leaders(self.topic_id, 1), [7])
        self.assertFalse(self.log.leads((self.topic_id, 0)))

    def claimed(self) -> Deferred[None]:
        """
        Wait for the claim.
        """
        waiting = self.leaderships.claimed(self.topic_id, 0)
        assert waiting is not None
        return waiting

    def test_until_it_is_led(self) -> None:
        """
        All that wait go on when the partition is led. Then there is no claim any more.
        """
        waiting = [self.claimed() for _ in range(2)]
        for each in waiting:
            self.assertNoResult(each)
        self.assertIsNone(self.leaderships.claimed(self.topic_id, 1))
        self.heard.callback(None)
        for each in waiting:
            self.successResultOf(each)
        self.assertTrue(self.log.leads((self.topic_id, 0)))
        self.assertIsNone(self.leaderships.claimed(self.topic_id, 0))
        self.assertEqual(self.cluster.clock.getDelayedCalls(), [])

    def test_failed(self) -> None:
        """
        They go on if the claim fails, too.
        """
        waiting = self.claimed()
        self.log.claimed = None
        self.log.replaced = True  # so that it is not claimed again at once
        with capturedLogs():
            self.heard.errback(StoreUnavailable("503"))
        self.successResultOf(waiting)
        self.assertIsNone(self.leaderships.claimed(self.topic_id, 0))

    def test_no_longer(self) -> None:
        """
        After a while they go on while the claim is still under way.
        """
        waiting = self.claimed()
        self.cluster.clock.advance(CLAIM_SECONDS - 0.1)
        later = self.claimed()
        self.assertNoResult(waiting)
        self.cluster.clock.advance(0.1)
        self.successResultOf(waiting)
        self.assertNoResult(later)
        self.heard.callback(None)
        self.successResultOf(later)

    def test_none_is_kept(self) -> None:
        """
        A claim may take hours: what has waited for long enough is not kept until its end.
        """
        waiting = [ref(self.claimed()) for _ in range(3)]
        self.cluster.clock.advance(CLAIM_SECONDS)
        gc.collect()
        self.assertEqual([each() for each in waiting], [None] * 3)
        self.assertIsNotNone(self.leaderships.claimed(self.topic_id, 0))

    def test_recovered(self) -> None:
        """
        So it is when a new incarnation recovers all partitions.
        """
        self.heard.callback(None)
        self.log.claimed = again = Deferred[None]()
        recovering = begin(self.leaderships.recover())
        waiting = self.claimed()
        self.assertNoResult(waiting)
        again.callback(None)
        self.successResultOf(waiting)
        self.successResultOf(recovering)


class SharedTests(LeadershipTestCase):
    """
    Several brokers lead the partitions assigned to them.
    """

    OTHER = Broker(8, "other.example", 9092, incarnation=50)

    def owned(self, topic_id: UUID, broker_id: int) -> list[TopicIdPartition]:
        """
        Return which of six partitions are assigned to a broker.
        """
        return [
            (topic_id, index)
            for index in range(6)
            if self.leaderships.assigned_leader(topic_id, index) == broker_id
        ]

    def test_share(self) -> None:
        """
        A broker claims the partitions assigned to it, and leaves the others alone.
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
        A new broker is handed the partitions assigned to it once it serves. The others stay.
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
        The partitions of a failed broker are claimed when its registration ends, not before.
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
        The store is asked once about a failed broker, however many partitions it led.
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
        A restarted broker takes the partitions of its predecessor; no other broker does.
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
        A partition that another broker releases is claimed at once.
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
        A leader that is missing from the image only counts as alive: the store is asked.
        """
        topic_id = self.create("old", 1)
        self.cluster.put_leader(topic_id, 0, 8, 0, 50)
        later = Image(self.cluster.store, CLUSTER_ID, BROKER)
        self.cluster.now(later.start())
        later.stop()
        leaderships = Leaderships(
            self.cluster.store, later, cast(ILog, self.log), self.cluster.clock
        )
        self.cluster.put_broker(self.OTHER)
        self.cluster.now(leaderships.start())
        self.assertEqual(list(self.log.leading), [])

    def test_told_of_epochs(self) -> None:
        """
        The log learns the leader epoch of each changed record, as its leader may have been
        replaced.
        """
        self.start()
        topic_id = self.create("new", 1)
        self.assertEqual(self.log.epochs, {(topic_id, 0): 0})
        self.cluster.put_leader(topic_id, 0, 8, 5, 50)
        self.assertEqual(self.log.epochs, {(topic_id, 0): 5})

    def test_leaving(self) -> None:
        """
        All partitions are released, fifty at a time.
        """
        self.start()
        topic_id = self.create("new", 120)
        self.cluster.now(self.leaderships.leave())
        self.assertEqual(list(self.log.leading), [])
        self.assertEqual([len(each) for each in self.log.releases], [50, 50, 20])
        self.assertEqual(set(self.leaders(topic_id, 120)), {-1})

    def test_deleted(self) -> None:
        """
        All brokers drop a deleted topic; one deletes its data, or another if that one fails
        before.
        """
        for number in count(8):
            other = attrs.evolve(self.OTHER, broker_id=number)
            if leaders("deletions", 1, [BROKER, other]) == [number]:
                break
        self.cluster.put_broker(other)
        self.start()
        topic_ids = [self.create(f"t{number}", 1) for number in range(8)]
        for number in range(8):
            self.cluster.delete(self.cluster.image.topic(f"t{number}"))
        self.assertEqual(self.log.dropped, topic_ids)
        self.assertEqual((len(self.tombstones()), self.log.deleted), (8, []))
        self.cluster.end_broker(other.broker_id)
        self.assertEqual(self.log.deleted, topic_ids)
        self.assertEqual(self.tombstones(), [])


class AssignedTests(LeadershipTestCase):
    """
    Replicas are assigned by hand.
    """

    OTHER = SharedTests.OTHER

    def setUp(self) -> None:
        """
        Two brokers serve.
        """
        super().setUp()
        self.cluster.put_broker(self.OTHER)
        self.start()

    def assigned(self, *replicas: list[int]) -> Topic:
        """
        Create a topic with these replicas.
        """
        return self.cluster.create_assigned("hot", replicas)

    def test_first(self) -> None:
        """
        The first of the list claims the partition.
        """
        topic = self.assigned([7, 8], [8, 7], [7, 8])
        self.assertEqual(self.leaders(topic.topic_id, 3), [7, -1, 7])

    def test_next(self) -> None:
        """
        When the first fails, the next one claims it; when it serves again, it gets the
        partition back.
        """
        topic = self.assigned([8, 7])
        where = topic.topic_id, 0
        self.cluster.put_leader(*where, 8, 0, 50)
        self.cluster.end_broker(8)
        self.assertEqual(self.leaders(topic.topic_id, 1), [7])
        self.cluster.put_broker(attrs.evolve(self.OTHER, phase=Phase.STARTING))
        self.assertEqual(self.log.releases, [])
        self.cluster.put_broker(self.OTHER)
        self.assertEqual(self.log.releases, [[where]])

    def test_moved(self) -> None:
        """
        A reassigned partition is released by its leader, and no other partition is.
        """
        topic = self.assigned([7], [7])
        self.cluster.now(self.cluster.topics.reassign(topic, {1: [8]}))
        self.assertEqual(self.log.releases, [[(topic.topic_id, 1)]])
        self.assertEqual(self.leaders(topic.topic_id, 2), [7, -1])
        led = begin(self.leaderships.wait_for_leader(topic.topic_id, 1, 8))
        self.assertNoResult(led)
        self.cluster.put_leader(topic.topic_id, 1, 8, 1, 50)
        self.successResultOf(led)

    def test_cancelled(self) -> None:
        """
        A partition whose reassignment is cancelled is claimed by its leader again.
        """
        topic = self.assigned([7])
        self.cluster.now(self.cluster.topics.reassign(topic, {0: [8]}))
        self.assertEqual(self.leaders(topic.topic_id, 1), [-1])
        self.cluster.now(self.cluster.topics.reassign(topic, {0: None}))
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.leaders(topic.topic_id, 1), [7])

    def test_from_a_living_leader(self) -> None:
        """
        A partition is not taken from a leader that lives, though it is assigned to this
        broker.
        """
        topic = self.assigned([8])
        self.cluster.put_leader(topic.topic_id, 0, 8, 0, 50)
        self.cluster.now(self.cluster.topics.reassign(topic, {0: [7]}))
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.leaders(topic.topic_id, 1), [8])
        self.cluster.put_leader(topic.topic_id, 0, -1, 0)
        self.assertEqual(self.leaders(topic.topic_id, 1), [7])


class DeletedTests(LeadershipTestCase):
    """
    The data of deleted topics is deleted.
    """

    def test_when_deleted(self) -> None:
        """
        The tombstone is deleted after the data.
        """
        self.start()
        topic_id = self.create("brief", 1)
        self.cluster.delete(self.cluster.image.topic("brief"))
        self.assertEqual(self.log.deleted, [topic_id])
        self.assertEqual(self.tombstones(), [])

    def test_tried_again(self) -> None:
        """
        A failed deletion is tried again; the tombstone stays until it succeeds.
        """
        self.start()
        topic_id = self.create("brief", 1)
        self.log.failures = 2
        with capturedLogs() as logged:
            self.cluster.delete(self.cluster.image.topic("brief"))
            self.assertEqual(len(self.tombstones()), 1)
            self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(
            [formatEvent(each) for each in logged],
            ["could not delete the data of 1 deleted topic(s), trying again in 1 s: 503"] * 2,
        )
        self.assertEqual(len(self.tombstones()), 1)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.log.deleted, [topic_id] * 3)
        self.assertEqual(self.tombstones(), [])

    def test_together(self) -> None:
        """
        The tombstones of topics that are deleted together go in one commit, after their
        data.
        """
        self.start()
        topics = [self.cluster.now(self.cluster.topics.create(f"t{n}", 1, {})) for n in range(9)]
        before = self.revision()
        for deleted in self.cluster.topics.delete_all(topics):
            self.successResultOf(deleted)
        self.assertEqual(self.log.deleted, [topic.topic_id for topic in topics])
        self.assertEqual((self.tombstones(), self.revision()), ([], before + 2))

    def revision(self) -> int:
        """
        Return the revision of the metadata store.
        """
        return self.cluster.now(self.cluster.store.range(metadata_keys.TOPICS))[1]

    def test_slowly(self) -> None:
        """
        A store in which segments are written, or objects are deleted, without an
        end delays neither a claim nor a release. The data of topics is deleted
        one topic after the other.
        """
        self.start()
        gone = [self.create(name, 1) for name in ("brief", "short")]
        written: Deferred[None] = Deferred()
        erased: Deferred[None] = Deferred()
        self.log.written, self.log.erased = written, erased
        for name in ("brief", "short"):
            self.cluster.delete(self.cluster.image.topic(name))
        self.assertEqual(self.log.dropped, gone)
        first = self.create("first", 1)
        written.callback(None)
        self.assertEqual(self.log.deleted, gone[:1])
        second = self.create("second", 1)
        self.assertEqual(self.log.led(), ((first, 0), (second, 0)))
        erased.callback(None)
        self.assertEqual(self.log.deleted, gone)
        self.assertEqual(self.tombstones(), [])

    def test_by_who_died_over_it(self) -> None:
        """
        An interrupted deletion is completed after a restart.
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
        After stop() nothing is claimed or deleted.
        """
        self.start()
        self.create("brief", 1)
        self.leaderships.stop()
        before = len(self.log.claims)
        self.cluster.delete(self.cluster.image.topic("brief"))
        self.create("new", 1)
        self.assertEqual((self.log.deleted, len(self.log.claims)), ([], before))
