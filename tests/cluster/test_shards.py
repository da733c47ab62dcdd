"""
Who coordinates which groups, kept in step with the image.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.shards import RETRY_SECONDS, ShardOwnership
from kafscale.errors import StoreUnavailable
from kafscale.interfaces import Broker, IGroupCoordinator, Phase
from tests.cluster.small import BROKER, SmallCluster, begin

SHARDS = 8
OTHER = Broker(8, "other.example", 9092, incarnation=5)


class FakeCoordinator:
    """
    Owns what it is told to, unless it fails.

    @ivar owned: What it was told, each time.
    @ivar incarnations: As which it began.
    @ivar failures: How often it fails yet.
    """

    def __init__(self) -> None:
        self.owned: list[list[int]] = []
        self.incarnations: list[int] = []
        self.failures = 0

    def begin(self, incarnation: int) -> None:
        """
        Note it.
        """
        self.incarnations.append(incarnation)

    async def own(self, numbers: Collection[int]) -> None:
        """
        Note it.
        """
        self.owned.append(list(numbers))
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("503")


class ShardOwnershipTests(SynchronousTestCase):
    """
    Eight shards.
    """

    def setUp(self) -> None:
        """
        Not started.
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
        As incarnation 4.
        """
        self.cluster.now(self.ownership.start(4))

    def theirs(self) -> list[int]:
        """
        The shards that clients of the other broker's are sent to.
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
        All, as the incarnation that it is.
        """
        self.start()
        self.assertEqual(self.coordinator.incarnations, [4])
        self.assertEqual(self.coordinator.owned, [list(range(SHARDS))])
        self.assertEqual(self.ownership.coordinator(3), BROKER)

    def test_shared(self) -> None:
        """
        Half of them, when another comes; and all again when it has gone.
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
        Groups stay while another starts: it could not answer yet.
        """
        self.start()
        starting = Broker(8, "other.example", 9092, incarnation=5, phase=Phase.STARTING)
        self.cluster.put_broker(starting)
        self.assertEqual(self.theirs(), [])
        self.assertEqual(self.coordinator.owned[-1], list(range(SHARDS)))

    def test_nobody(self) -> None:
        """
        While all leave nobody coordinates.
        """
        self.cluster.put_broker(
            Broker(7, "broker.example", 9092, incarnation=4, phase=Phase.LEAVING)
        )
        self.assertIsNone(self.ownership.coordinator(0))

    def test_leaving(self) -> None:
        """
        Who leaves lets go of all of them, and takes none when others come or
        go.
        """
        self.start()
        self.cluster.put_broker(OTHER)
        self.cluster.now(self.ownership.leave())
        self.assertEqual(self.coordinator.owned[-1], [])
        told = len(self.coordinator.owned)
        self.cluster.end_broker(OTHER.broker_id)
        self.assertEqual(len(self.coordinator.owned), told)

    def test_tried_again(self) -> None:
        """
        A store that fails is asked again a second later.
        """
        self.start()
        self.coordinator.failures = 1
        self.cluster.put_broker(OTHER)
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 1)
        told = len(self.coordinator.owned)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(len(self.coordinator.owned), told + 1)

    def test_lost(self) -> None:
        """
        What another took while it was mine is taken back after a while, if it
        is still mine then.
        """
        self.start()
        self.ownership.lost()
        self.assertEqual(len(self.coordinator.owned), 1)
        self.cluster.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.coordinator.owned[-1], list(range(SHARDS)))
        self.assertEqual(len(self.coordinator.owned), 2)

    def test_fails_at_the_start(self) -> None:
        """
        Who cannot load the groups cannot start.
        """
        self.coordinator.failures = 1
        self.failureResultOf(begin(self.ownership.start(4)), StoreUnavailable)
