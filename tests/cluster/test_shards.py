"""
Tests of `kafscale.cluster.shards`.
"""

from __future__ import annotations

from typing import cast

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.shards import RETRY_SECONDS, ShardOwnership
from kafscale.errors import StoreUnavailable
from kafscale.interfaces import Broker, IGroupCoordinator, Phase
from tests.cluster.small import BROKER, FakeCoordinator, SmallCluster
from tests.harness.coroutines import begin

SHARDS = 8
OTHER = Broker(8, "other.example", 9092, incarnation=5)


class ShardOwnershipTests(SynchronousTestCase):
    """
    The ownership of eight shards.
    """

    def setUp(self) -> None:
        """
        Create the objects, and start none.
        """
        self.cluster = SmallCluster(self)
        self.coordinator = FakeCoordinator()
        self.ownership = ShardOwnership(
            self.cluster.image,
            cast(IGroupCoordinator, self.coordinator),
            SHARDS,
            self.cluster.clock,
        )

    def start(self) -> None:
        """
        Start as incarnation 4.
        """
        self.cluster.now(self.ownership.start(4))

    def theirs(self) -> list[int]:
        """
        Return the shards whose coordinator is the other broker.
        """
        found = []
        for shard in range(SHARDS):
            broker = self.ownership.coordinator(shard)
            assert broker is not None
            if broker.broker_id == OTHER.broker_id:
                found.append(shard)
        return found

    def test_alone(self) -> None:
        """
        A single broker owns all shards.
        """
        self.start()
        self.assertEqual(self.coordinator.incarnations, [4])
        self.assertEqual(self.coordinator.owned, [list(range(SHARDS))])
        self.assertEqual(self.ownership.coordinator(3), BROKER)

    def test_shared(self) -> None:
        """
        Half of the shards are lost to a second broker, and come back when it leaves.
        """
        self.start()
        self.cluster.put_broker(OTHER)
        theirs = self.theirs()
        self.assertEqual(len(theirs), SHARDS // 2)
        mine = [shard for shard in range(SHARDS) if shard not in theirs]
        self.assertEqual(self.coordinator.owned[-1], mine)
        self.cluster.end_broker(OTHER.broker_id)
        self.assertEqual(self.coordinator.owned[-1], list(range(SHARDS)))

    def test_one_that_starts(self) -> None:
        """
        A broker that is starting gets no shards, because it could not serve them yet.
        """
        self.start()
        starting = Broker(8, "other.example", 9092, incarnation=5, phase=Phase.STARTING)
        self.cluster.put_broker(starting)
        self.assertEqual(self.theirs(), [])
        self.assertEqual(self.coordinator.owned[-1], list(range(SHARDS)))

    def test_nobody(self) -> None:
        """
        While all brokers are leaving there is no coordinator.
        """
        self.cluster.put_broker(
            Broker(7, "broker.example", 9092, incarnation=4, phase=Phase.LEAVING)
        )
        self.assertIsNone(self.ownership.coordinator(0))

    def test_leaving(self) -> None:
        """
        A leaving broker releases all shards, and claims none when brokers change.
        """
        self.start()
        self.cluster.put_broker(OTHER)
        self.cluster.now(self.ownership.leave())
        self.assertEqual(self.coordinator.owned[-1], [])
        calls = len(self.coordinator.owned)
        self.cluster.end_broker(OTHER.broker_id)
        self.assertEqual(len(self.coordinator.owned), calls)

    def test_tried_again(self) -> None:
        """
        After a failure of the store a claim is tried again a second later.
        """
        self.start()
        self.coordinator.failures = 1
        with capturedLogs() as logged:
            self.cluster.put_broker(OTHER)
        self.assertIn(
            "could not load the groups of some shards, trying again in 1 s: ",
            formatEvent(logged[0]),
        )
        calls = len(self.coordinator.owned)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(len(self.coordinator.owned), calls + 1)

    def test_lost(self) -> None:
        """
        A shard taken by another broker is claimed again after a while, if it is still
        assigned to this one.
        """
        self.start()
        self.ownership.lost()
        self.assertEqual(len(self.coordinator.owned), 1)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.coordinator.owned[-1], list(range(SHARDS)))
        self.assertEqual(len(self.coordinator.owned), 2)

    def test_fails_at_the_start(self) -> None:
        """
        The start fails if the groups cannot be loaded.
        """
        self.coordinator.failures = 1
        self.failureResultOf(begin(self.ownership.start(4)), StoreUnavailable)
