"""
Tests of `kafscale.cluster.racks`.
"""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.racks import Racks
from kafscale.interfaces import Broker, Phase
from tests.cluster.small import SmallCluster

TOPIC = UUID(int=5)
WHERE = TOPIC, 0


def broker(number: int, rack: str | None, phase: Phase = Phase.SERVING) -> Broker:
    """
    Return a serving broker in a rack.
    """
    return Broker(number, "h", 1, rack, phase=phase)


class RacksTests(SynchronousTestCase):
    """
    The broker that consumers read from.
    """

    def test_no_racks(self) -> None:
        """
        Without racks, or with a single one, consumers read from the leader.
        """
        for rack in (None, "a"):
            racks = Racks([broker(1, rack), broker(2, rack)])
            self.assertFalse(racks.several)
            for place in ("a", "b"):
                self.assertEqual(racks.nearest(place, WHERE, 1), 1)

    def test_own_rack(self) -> None:
        """
        A consumer reads within its rack, from the leader if that is there.
        """
        racks = Racks([broker(1, "a"), broker(2, "b"), broker(3, "a")])
        self.assertEqual(racks.nearest("a", WHERE, 1), 1)
        self.assertEqual(racks.nearest("a", WHERE, 3), 3)
        self.assertEqual(racks.nearest("b", WHERE, 1), 2)
        self.assertEqual(racks.replicas(WHERE, 1), [1, 2])

    def test_unknown_rack(self) -> None:
        """
        A consumer in a rack without brokers reads from the leader.
        """
        racks = Racks([broker(1, "a"), broker(2, "b")])
        self.assertEqual(racks.nearest("c", WHERE, 2), 2)

    def test_leader_without_rack(self) -> None:
        """
        A leader without a rack is remote to all consumers in a rack with brokers.
        """
        racks = Racks([broker(1, None), broker(2, "b")])
        self.assertEqual(racks.nearest("b", WHERE, 1), 2)
        self.assertEqual(racks.replicas(WHERE, 1), [1, 2])
        self.assertEqual(racks.replicas(WHERE, 2), [2])

    def test_serving_only(self) -> None:
        """
        Consumers are not sent to brokers that start or leave, except to their leader.
        """
        leaving, starting = broker(2, "b", Phase.LEAVING), broker(3, "c", Phase.STARTING)
        racks = Racks([broker(1, "a"), leaving, starting])
        self.assertEqual(racks.nearest("b", WHERE, 1), 1)
        self.assertEqual(racks.nearest("c", WHERE, 1), 1)
        self.assertEqual(racks.nearest("b", WHERE, 2), 2)
        self.assertEqual(racks.replicas(WHERE, 2), [2, 1])

    def test_without_leader(self) -> None:
        """
        Without a leader consumers in a rack still read from its broker.
        """
        racks = Racks([broker(1, "a"), broker(2, "b")])
        self.assertEqual(racks.nearest("b", WHERE, -1), 2)
        self.assertEqual(racks.nearest("c", WHERE, 9), -1)

    def test_spread(self) -> None:
        """
        Several brokers in a rack divide the partitions; if one leaves, only its own move.
        """
        four = [broker(1, "a"), *(broker(number, "b") for number in (2, 3, 4))]
        before, after = Racks(four), Racks(four[:3])
        chosen = [before.nearest("b", (TOPIC, index), 1) for index in range(300)]
        self.assertTrue(all(70 < count < 130 for count in Counter(chosen).values()))
        self.assertEqual(chosen, [before.nearest("b", (TOPIC, index), 1) for index in range(300)])
        for index, broker_id in enumerate(chosen):
            if broker_id != 4:
                self.assertEqual(after.nearest("b", (TOPIC, index), 1), broker_id)


class ImageTests(SynchronousTestCase):
    """
    The image's view of racks.
    """

    def test_brokers_come_and_go(self) -> None:
        """
        The view follows the brokers.
        """
        cluster = SmallCluster(self)
        topic = cluster.now(cluster.topics.create("t", 1, {}))
        image, where = cluster.image, (topic.topic_id, 0)
        self.assertEqual((image.nearest("b", *where), image.replicas(*where)), (7, (7,)))
        cluster.put_broker(broker(8, "b"))
        self.assertEqual((image.nearest("b", *where), image.replicas(*where)), (8, [7, 8]))
        cluster.put_leader(*where, 8, 1)
        self.assertEqual((image.nearest("b", *where), image.replicas(*where)), (8, [8]))
        cluster.end_broker(8)
        self.assertEqual((image.nearest("b", *where), image.replicas(*where)), (-1, ()))

    def test_assigned(self) -> None:
        """
        Of a partition whose replicas are assigned by hand, these are shown, alive or not,
        and its leader. Only they are read from, in their order, where they serve in the
        rack of the consumer.
        """
        cluster = SmallCluster(self)
        for each in (broker(8, "b"), broker(9, "b"), broker(10, "c")):
            cluster.put_broker(each)
        topic = cluster.create_assigned("t", [[7, 9, 8]])
        image, where = cluster.image, (topic.topic_id, 0)
        self.assertEqual(image.replicas(*where), (7, 9, 8))
        self.assertEqual([image.nearest(rack, *where) for rack in "bcd"], [9, 7, 7])
        cluster.end_broker(9)
        self.assertEqual(image.replicas(*where), (7, 9, 8))
        self.assertEqual(image.nearest("b", *where), 8)
        cluster.put_leader(*where, 10, 1)
        self.assertEqual(image.replicas(*where), (7, 9, 8, 10))
        cluster.end_broker(10)
        self.assertEqual(image.replicas(*where), (7, 9, 8))
        self.assertEqual([image.nearest(rack, *where) for rack in "bc"], [8, -1])
