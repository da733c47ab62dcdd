"""
What else is stored in the shards of groups, and who uses it when.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from kafscale.errors import NotCoordinator, StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.group.coordinator import GroupCoordinator
from kafscale.group.settings import GroupSettings
from kafscale.interfaces import IShard, IShardTenant, Put
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.group.members import BEGIN, FakeImage, load
from tests.harness.coroutines import begin
from tests.harness.hostile import HostileMetadataStore, let_pass


@implementer(IShardTenant)
class Tenant:
    """
    A tenant that remembers what it was told.

    @ivar shards: Those that it uses.
    @ivar expected: Those that are being taken.
    @ivar failing: The number of a shard that cannot be loaded.
    @ivar looks: Whether it looks at each shard that it loads.
    """

    def __init__(self) -> None:
        self.shards: dict[int, IShard] = {}
        self.expected: set[int] = set()
        self.failing = -1
        self.looks = False

    def expect(self, numbers: Collection[int]) -> None:
        """
        See L{IShardTenant.expect}.
        """
        self.expected = set(numbers)

    async def load(self, shard: IShard) -> None:
        """
        See L{IShardTenant.load}.
        """
        if shard.number == self.failing:
            raise StoreUnavailable
        self.shards[shard.number] = shard
        if self.looks:
            shard.look().addErrback(lambda failure: failure.trap(NotCoordinator))

    def release(self, number: int) -> None:
        """
        See L{IShardTenant.release}.
        """
        self.shards.pop(number, None)


class TenantTests(SynchronousTestCase):
    """
    A coordinator with one tenant.
    """

    def setUp(self) -> None:
        """
        It owns no shard yet.
        """
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        self.store = HostileMetadataStore(self.inner, let_pass)
        self.tenant = Tenant()
        self.losses = 0
        self.coordinator = self.started(self.store, self.tenant)

    def started(self, store: HostileMetadataStore, *tenants: Tenant) -> GroupCoordinator:
        """
        A coordinator on a clock of its own.
        """
        clock = Clock()
        clock.rightNow = BEGIN
        ids = count(1)
        return GroupCoordinator(
            store,
            FakeImage(),
            clock,
            GroupSettings(),
            lambda: str(next(ids)),
            self.count_loss,
            tenants=tenants,
        )

    def count_loss(self) -> None:
        """
        A coordinator has lost a shard.
        """
        self.losses += 1

    def test_taken_and_released(self) -> None:
        """
        The tenant is told which shards are being taken, loads each after it is taken, and
        releases those that go.
        """
        self.coordinator.begin(100)
        self.assertEqual(self.tenant.expected, set(range(metadata_keys.SHARDS)))
        self.store.policy = None
        owning = begin(self.coordinator.own([1, 2]))
        self.assertEqual((self.tenant.expected, set(self.tenant.shards)), ({1, 2}, set()))
        self.store.settle()
        self.store.policy = let_pass
        self.successResultOf(owning)
        self.assertEqual(set(self.tenant.shards), {1, 2})
        self.successResultOf(self.tenant.shards[1].write([Put("a", 1)]))
        self.successResultOf(begin(self.coordinator.own([2, 3])))
        self.assertEqual(set(self.tenant.shards), {2, 3})
        self.coordinator.begin(101)
        self.assertEqual(set(self.tenant.shards), set())
        self.successResultOf(begin(self.coordinator.own([4])))
        self.successResultOf(begin(self.coordinator.stop()))
        self.assertEqual((self.tenant.shards, self.tenant.expected), ({}, set()))

    def test_not_loaded(self) -> None:
        """
        If one shard cannot be loaded, none of those that are being taken is used.
        """
        self.tenant.failing = 2
        self.coordinator.begin(100)
        self.failureResultOf(begin(self.coordinator.own([1, 2])), StoreUnavailable)
        self.assertEqual(self.tenant.shards, {})
        self.tenant.failing = -1
        self.successResultOf(begin(self.coordinator.own([1, 2])))
        self.assertEqual(set(self.tenant.shards), {1, 2})

    def test_lost(self) -> None:
        """
        A shard that another broker turns out to own is released.
        """
        self.successResultOf(begin(load(self.coordinator, 100)))
        other = self.started(HostileMetadataStore(self.inner, let_pass))
        other.begin(200)
        self.successResultOf(begin(other.own([5])))
        self.failureResultOf(self.tenant.shards[5].look(), NotCoordinator)
        self.assertEqual(set(self.tenant.shards), set(range(metadata_keys.SHARDS)) - {5})
        self.assertEqual(self.losses, 1)

    def test_lost_while_loading(self) -> None:
        """
        So it is if that is found out before all shards are loaded.
        """
        self.tenant.looks = True
        self.coordinator.begin(100)
        self.store.policy = None
        owning = begin(self.coordinator.own([5]))
        for _ in range(4):  # take it, and read groups and offsets
            self.store.pending[0].succeed()
        other = self.started(HostileMetadataStore(self.inner, let_pass))
        other.begin(200)
        self.successResultOf(begin(other.own([5])))
        self.store.settle()
        self.successResultOf(owning)
        self.assertEqual((self.tenant.shards, self.losses), ({}, 1))

    def test_replaced_while_loading(self) -> None:
        """
        What the former incarnation loads is not used by the next.
        """
        self.coordinator.begin(100)
        self.store.policy = None
        owning = begin(self.coordinator.own([5]))
        self.coordinator.begin(101)
        self.store.settle()
        self.successResultOf(owning)
        self.assertEqual(self.tenant.shards, {})
