"""
The image follows the metadata store.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.cluster.image import Image
from kafscale.errors import UnknownTopicId, UnknownTopicOrPartition
from kafscale.format import metadata_keys
from kafscale.interfaces import Broker, Change, Delete, IImage, Leadership, Phase, Put, Topic
from tests.cluster.small import BROKER, CLUSTER_ID, SmallCluster
from tests.harness.coroutines import begin

TOPIC_ID = UUID(int=77)


def value(name: str, partitions: int = 1) -> dict[str, object]:
    """
    Return the value of a topic in the store.
    """
    return {"name": name, "partitions": partitions, "configs": {}, "created_ms": 0}


class ImageTests(SynchronousTestCase):
    """
    The image shows the metadata store.
    """

    def setUp(self) -> None:
        """
        Start a small cluster.
        """
        self.cluster = SmallCluster(self)
        self.image = self.cluster.image
        self.store = self.cluster.store

    def put(self, key: str, stored: object) -> int:
        """
        Commit one key, and return the revision.
        """
        return self.cluster.now(self.store.commit([], [Put(key, stored)]))

    def test_interface(self) -> None:
        """
        The image provides its interface.
        """
        self.assertTrue(verifyObject(IImage, self.image))

    def test_topic_by_name_and_id(self) -> None:
        """
        A topic can be looked up by name and by id.
        """
        self.put(metadata_keys.topic(TOPIC_ID), value("orders", 3))
        topic = self.image.topic("orders")
        self.assertEqual((topic.topic_id, topic.partitions), (TOPIC_ID, 3))
        self.assertIs(self.image.topic_by_id(TOPIC_ID), topic)

    def test_shown(self) -> None:
        """
        A topic that is not stored is found as others are, with the leaders that it is
        given, and none of its partitions is in the log.
        """
        self.put(metadata_keys.topic(TOPIC_ID), value("orders"))
        shown = Topic(UUID(int=78), "view", 2, {})
        self.image.show(shown)
        self.image.show(Topic(UUID(int=79), "orders", 2, {}))  # the name is taken
        self.assertIs(self.image.topic("view"), shown)
        self.assertIs(self.image.topic_by_id(shown.topic_id), shown)
        self.assertRaises(UnknownTopicId, self.image.topic_by_id, UUID(int=79))
        self.assertEqual([each.name for each in self.image.topics()], ["orders", "view"])
        self.assertEqual(self.image.stored_topics(), [TOPIC_ID])
        for broker in (attrs.evolve(BROKER, rack="a"), Broker(8, "eight", 1, "b")):
            self.cluster.put_broker(broker)
        self.image.lead(shown.topic_id, [7, 8])
        for index, leader in ((0, 7), (1, 8)):
            self.assertEqual(self.image.leadership(shown.topic_id, index), Leadership(leader, 0))
            self.assertEqual(self.image.replicas(shown.topic_id, index), (leader,))
            for rack in ("a", "b"):
                self.assertEqual(self.image.nearest(rack, shown.topic_id, index), leader)

    def test_unknown_topics(self) -> None:
        """
        Look-ups by name and by id fail with different errors.
        """
        self.assertRaises(UnknownTopicOrPartition, self.image.topic, "orders")
        self.assertRaises(UnknownTopicId, self.image.topic_by_id, TOPIC_ID)

    def test_deleted_topic_goes(self) -> None:
        """
        A deleted topic is not found.
        """
        self.put(metadata_keys.topic(TOPIC_ID), value("orders"))
        self.cluster.now(self.store.commit([], [Delete(metadata_keys.topic(TOPIC_ID))]))
        self.assertRaises(UnknownTopicOrPartition, self.image.topic, "orders")
        self.assertEqual(self.image.topics(), ())

    def test_successor_of_same_name_stays(self) -> None:
        """
        The deletion of a topic does not affect a later topic of the same name, even if the
        image sees the later one first.
        """
        self.put(metadata_keys.topic(TOPIC_ID), value("orders"))
        successor = UUID(int=78)
        self.put(metadata_keys.topic(successor), value("orders", 5))
        self.cluster.now(self.store.commit([], [Delete(metadata_keys.topic(TOPIC_ID))]))
        self.assertEqual(self.image.topic("orders").topic_id, successor)

    def test_changed_topic_is_another_object(self) -> None:
        """
        A changed topic is another object, so values can be cached by object.
        """
        self.put(metadata_keys.topic(TOPIC_ID), value("orders"))
        before = self.image.topic("orders")
        self.assertIs(self.image.topic("orders"), before)
        self.put(metadata_keys.topic(TOPIC_ID), value("orders", 2))
        self.assertIsNot(self.image.topic("orders"), before)

    def test_counts_changes_of_topics(self) -> None:
        """
        Creations, changes and deletions of topics are counted, and no other changes.
        """
        counts = [self.image.topic_changes]
        for stored in (value("orders", 3), value("orders", 4), None):
            if stored is None:
                self.cluster.now(self.store.commit([], [Delete(metadata_keys.topic(TOPIC_ID))]))
            else:
                self.put(metadata_keys.topic(TOPIC_ID), stored)
            counts.append(self.image.topic_changes)
        self.assertEqual(len(set(counts)), 4)
        self.put(metadata_keys.tombstone(TOPIC_ID), {})
        self.assertEqual(self.image.topic_changes, counts[-1])

    def test_topics_in_order(self) -> None:
        """
        Topics are ordered by name.
        """
        for number, name in enumerate(("b", "c", "a")):
            self.put(metadata_keys.topic(UUID(int=100 + number)), value(name))
        self.assertEqual([topic.name for topic in self.image.topics()], ["a", "b", "c"])

    def test_leaders(self) -> None:
        """
        A partition without a record has leader -1; others have the leader of the record.
        """
        self.assertEqual(self.image.leadership(TOPIC_ID, 0), Leadership(-1, -1))
        self.cluster.put_leader(TOPIC_ID, 0, 7, 4)
        self.assertEqual(self.image.leadership(TOPIC_ID, 0), Leadership(7, 4, 1))

    def test_brokers(self) -> None:
        """
        Brokers are ordered by id, and always include this one.
        """
        three, nine = Broker(3, "three", 2), Broker(9, "nine", 1, "r", 5, 2.5, Phase.LEAVING)
        self.assertEqual(self.image.brokers(), (BROKER,))
        seven = Broker(7, "broker.example", 9092, incarnation=4)
        for broker in (nine, three, seven):
            self.cluster.put_broker(broker)
        self.assertEqual(self.image.brokers(), (three, seven, nine))
        self.cluster.end_broker(7)
        self.cluster.end_broker(3)
        self.assertEqual([broker.broker_id for broker in self.image.brokers()], [7, 9])

    def test_reads_what_was_there_before(self) -> None:
        """
        An image that starts later has the same contents.
        """
        self.put(metadata_keys.topic(TOPIC_ID), value("orders"))
        self.cluster.put_leader(TOPIC_ID, 0, 7, 4)
        self.cluster.put_broker(Broker(9, "nine", 1))
        later = Image(self.store, CLUSTER_ID, BROKER)
        self.cluster.now(later.start())
        self.assertEqual(later.topic("orders"), self.image.topic("orders"))
        self.assertEqual(later.leadership(TOPIC_ID, 0), Leadership(7, 4, 1))
        self.assertEqual(later.brokers(), self.image.brokers())

    def test_stopped(self) -> None:
        """
        A stopped image does not change.
        """
        self.image.stop()
        self.put(metadata_keys.topic(TOPIC_ID), value("orders"))
        self.assertEqual(self.image.topics(), ())

    def test_until_seen(self) -> None:
        """
        The wait for a revision ends at once if the image has it, else when it arrives.
        Commits below another prefix do not count.
        """
        revision = self.put(metadata_keys.topic(TOPIC_ID), value("orders"))
        self.successResultOf(self.image.until(revision))
        waiting = self.image.until(revision + 2)
        self.cluster.put_broker(Broker(9, "nine", 1))
        self.assertNoResult(waiting)
        self.put(metadata_keys.topic(TOPIC_ID), value("orders", 2))
        self.successResultOf(waiting)

    def test_until_cancelled(self) -> None:
        """
        A cancelled wait does not fire.
        """
        waiting = self.image.until(1_000_000)
        waiting.cancel()
        self.failureResultOf(waiting)
        self.put(metadata_keys.topic(TOPIC_ID), value("orders"))

    def test_subscribers(self) -> None:
        """
        Subscribers are called when the image has the change, even if another one fails.
        """
        seen: list[tuple[str, int]] = []

        def fail(changes: Sequence[Change]) -> None:
            raise ValueError("a subscriber's defect")

        def note(changes: Sequence[Change]) -> None:
            seen.extend((change.key, len(self.image.topics())) for change in changes)

        self.image.on_change(fail)
        self.image.on_change(note)
        self.put(metadata_keys.topic(TOPIC_ID), value("orders"))
        self.put(metadata_keys.tombstone(TOPIC_ID), {})
        self.assertEqual(
            seen, [(metadata_keys.topic(TOPIC_ID), 1), (metadata_keys.tombstone(TOPIC_ID), 1)]
        )
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_subscriber_before_waiter(self) -> None:
        """
        The wait for a revision ends after the subscribers were called.
        """
        order: list[str] = []
        self.image.on_change(lambda changes: order.append("subscriber"))
        self.image.until(1, metadata_keys.TOPICS).addCallback(lambda _: order.append("waiter"))
        self.put(metadata_keys.topic(TOPIC_ID), value("orders"))
        self.assertEqual(order, ["subscriber", "waiter"])


class StartTests(SynchronousTestCase):
    """
    Changes during the start of the image are not missed.
    """

    def test_change_between_range_and_watch(self) -> None:
        """
        The watch begins at the revision of the range.
        """
        cluster = SmallCluster(self)
        store = cluster.store
        image = Image(store, CLUSTER_ID, BROKER)
        ranged = store.range

        async def range_then_change(prefix: str) -> object:
            found = await ranged(prefix)
            if prefix == metadata_keys.TOPICS:
                await store.commit([], [Put(metadata_keys.topic(TOPIC_ID), value("orders"))])
            return found

        self.patch(store, "range", range_then_change)
        self.successResultOf(begin(image.start()))
        self.assertEqual(image.topic("orders").topic_id, TOPIC_ID)
