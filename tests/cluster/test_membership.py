"""
Brokers join, leave, and share out producer ids.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from uuid import UUID

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.cluster import keys
from kafscale.cluster.membership import cluster_id, register, unregister
from kafscale.cluster.producer_ids import ProducerIds
from kafscale.errors import StoreUnavailable
from kafscale.interfaces import Broker, Entry, IProducerIds
from kafscale.store.blocking import at_once
from kafscale.store.embedded import EmbeddedStore
from tests.cluster.small import begin
from tests.hostile import HostileMetadataStore, Verdict, let_pass

BROKER = Broker(7, "broker.example", 9092, "here")


class StoreCase(SynchronousTestCase):
    """
    A store in memory.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.store = EmbeddedStore(":memory:", at_once)
        self.addCleanup(lambda: self.successResultOf(begin(self.store.close())))

    def stored(self, key: str) -> Entry | None:
        """
        What is at a key.
        """
        return self.successResultOf(begin(self.store.get(key)))


class ClusterIdTests(StoreCase):
    """
    A cluster has one id.
    """

    def test_form(self) -> None:
        """
        22 characters of base64url, of a UUID.
        """
        made = self.successResultOf(begin(cluster_id(self.store)))
        self.assertEqual(len(made), 22)
        self.assertEqual(len(urlsafe_b64decode(made + "==")), 16)

    def test_stable(self) -> None:
        """
        It stays, whoever asks.
        """
        first = self.successResultOf(begin(cluster_id(self.store, lambda: UUID(int=5))))
        second = self.successResultOf(begin(cluster_id(self.store, lambda: UUID(int=6))))
        self.assertEqual(first, second)

    def test_two_at_once(self) -> None:
        """
        Of two brokers that find none, the second takes what the first made.
        """
        hostile = HostileMetadataStore(self.store)
        asking = begin(cluster_id(hostile, lambda: UUID(int=5)))
        hostile.pending[0].succeed()  # there is none
        other = self.successResultOf(begin(cluster_id(self.store, lambda: UUID(int=6))))
        hostile.policy = let_pass
        hostile.pending[0].succeed()
        self.assertEqual(self.successResultOf(asking), other)


class RegisterTests(StoreCase):
    """
    Registering is drawing an incarnation.
    """

    def test_records(self) -> None:
        """
        The broker's address is there, and the incarnation's own record.
        """
        incarnation = self.successResultOf(begin(register(self.store, BROKER)))
        broker = self.stored("brokers/7")
        assert broker is not None
        self.assertEqual(broker.value, {"host": "broker.example", "port": 9092, "rack": "here"})
        self.assertEqual(broker.revision, incarnation)
        record = self.stored(f"incarnations/{incarnation:020d}")
        assert record is not None
        self.assertEqual(record.value, {"broker": 7, "trim": 0})

    def test_fencing(self) -> None:
        """
        The record tells from the beginning how the incarnation is to be
        stopped, if not by seals.
        """
        for fencing, more in (("create", {}), ("metadata", {"fencing": "metadata"})):
            registering = begin(register(self.store, BROKER, fencing=fencing))
            incarnation = self.successResultOf(registering)
            record = self.stored(f"incarnations/{incarnation:020d}")
            assert record is not None
            self.assertEqual(record.value, {"broker": 7, "trim": 0, **more})

    def test_never_again(self) -> None:
        """
        Each registration has a number above all before it.
        """
        numbers = [self.successResultOf(begin(register(self.store, BROKER))) for _ in range(3)]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_unregister(self) -> None:
        """
        The address goes; the incarnation's record stays for its successor.
        """
        incarnation = self.successResultOf(begin(register(self.store, BROKER)))
        self.successResultOf(begin(unregister(self.store, 7, incarnation)))
        self.assertIsNone(self.stored("brokers/7"))
        self.assertIsNotNone(self.stored(keys.incarnation(incarnation)))

    def test_unregister_late(self) -> None:
        """
        An older incarnation does not take away a younger one's address.
        """
        older = self.successResultOf(begin(register(self.store, BROKER)))
        self.successResultOf(begin(register(self.store, BROKER)))
        self.successResultOf(begin(unregister(self.store, 7, older)))
        self.assertIsNotNone(self.stored("brokers/7"))


class ProducerIdTests(StoreCase):
    """
    No producer id is given twice.
    """

    def take(self, ids: ProducerIds, count: int) -> list[int]:
        """
        So many new ids.
        """
        asked = [begin(ids.new()) for _ in range(count)]
        return self.successResultOf(gatherResults(asked))

    def test_interface(self) -> None:
        """
        It is what others take it for.
        """
        self.assertTrue(verifyObject(IProducerIds, ProducerIds(self.store)))

    def test_in_order(self) -> None:
        """
        Beginning with 0, one after the other, over the end of a block.
        """
        self.assertEqual(self.take(ProducerIds(self.store, block=3), 8), list(range(8)))

    def test_brokers_share(self) -> None:
        """
        Two brokers never give the same.
        """
        one, two = ProducerIds(self.store, block=3), ProducerIds(self.store, block=3)
        given = [*self.take(one, 2), *self.take(two, 4), *self.take(one, 4), *self.take(two, 1)]
        self.assertEqual(len(set(given)), len(given))

    def test_restart(self) -> None:
        """
        What is left of a block is not used after a restart.
        """
        self.take(ProducerIds(self.store), 1)
        self.assertEqual(self.take(ProducerIds(self.store), 1), [1000])

    def test_one_block_for_many(self) -> None:
        """
        Those who ask while a block is taken share that block.
        """
        hostile = HostileMetadataStore(self.store)
        ids = ProducerIds(hostile, block=5)
        asked = [begin(ids.new()) for _ in range(5)]
        self.assertEqual(len(hostile.pending), 1)
        hostile.policy = let_pass
        hostile.pending[0].succeed()
        given = self.successResultOf(gatherResults(asked))
        self.assertEqual(sorted(given), [0, 1, 2, 3, 4])

    def test_lost_answer(self) -> None:
        """
        After a commit of unknown outcome one asks in vain; what may have been
        taken is not given to anybody else.
        """
        hostile = HostileMetadataStore(self.store)
        ids = ProducerIds(hostile)
        hostile.policy = lambda operation: (
            Verdict.FAIL_BUT_APPLY if operation.kind == "commit" else Verdict.SUCCEED
        )
        self.failureResultOf(begin(ids.new()), StoreUnavailable)
        hostile.policy = let_pass
        self.assertEqual(self.take(ids, 1), [1000])

    def test_block_taken_by_another(self) -> None:
        """
        Who loses the race for a block takes the next one.
        """
        hostile = HostileMetadataStore(self.store)
        asking = begin(ProducerIds(hostile).new())
        hostile.pending[0].succeed()  # it has read that none is taken
        self.assertEqual(self.take(ProducerIds(self.store), 1), [0])
        hostile.policy = let_pass
        hostile.pending[0].succeed()
        self.assertEqual(self.successResultOf(asking), 1000)
