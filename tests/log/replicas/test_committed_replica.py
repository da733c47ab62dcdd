"""
Consumers of committed records at a read replica.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.errors import NotLeaderOrFollower
from kafscale.interfaces import IReadable
from kafscale.log.replicas.committed_replica import CommittedReplica
from kafscale.wire.control_batches import Marker, build_marker
from tests.harness.coroutines import begin
from tests.log.brokers import TOPIC, batch
from tests.log.contract import Waiter
from tests.log.fakes import FakePartition
from tests.log.transactions_case import transactional


class CommittedReplicaTests(SynchronousTestCase):
    """
    A replica with a plain batch, and one of another kind after it.
    """

    def replica(self, other: bytes | memoryview) -> tuple[FakePartition, CommittedReplica]:
        """
        The replica, as all consumers read it and as those of committed records do.
        """
        whole = FakePartition(TOPIC, 3, [])
        whole.put(bytes(batch(b"plain")), bytes(other))
        return whole, CommittedReplica(whole)

    def test_without_transactions(self) -> None:
        """
        All is as it is for other consumers.
        """
        whole, committed = self.replica(batch(b"more", producer=7))
        verifyObject(IReadable, committed)
        self.assertEqual(committed.read(0, 1 << 20, True), whole.read(0, 1 << 20, True))
        self.assertEqual(committed.available(0), whole.available(0))
        whole.cold = True
        self.assertIsNone(committed.read(0, 1 << 20, True))
        loading = begin(committed.load(0, 1 << 20, True))
        whole.loading.pop().callback(None)
        self.assertEqual(len(self.successResultOf(loading).pieces), 2)

    def test_with_transactions(self) -> None:
        """
        A batch of a transaction, or a marker, is not shown: the consumer is sent to the
        leader.
        """
        for other in (transactional(b"a"), build_marker(Marker(7, 0, True, 1), 0)):
            whole, committed = self.replica(other)
            size = len(batch(b"plain"))
            found = committed.read(0, size, True)
            assert found is not None
            self.assertEqual(found.size, size)
            for offset in (0, 1):
                self.assertRaises(NotLeaderOrFollower, committed.read, offset, 1 << 20, True)
            whole.cold = True
            loading = begin(committed.load(1, 1 << 20, True))
            whole.loading.pop().callback(None)
            self.failureResultOf(loading, NotLeaderOrFollower)

    def test_all_else(self) -> None:
        """
        Bounds, epochs and changes are the replica's own.
        """
        whole, committed = self.replica(batch(b"more"))
        self.assertEqual((committed.topic_id, committed.index), (TOPIC, 3))
        self.assertEqual((committed.log_start, committed.high_watermark), (0, 2))
        self.assertEqual((committed.last_stable_offset, committed.next_offset), (2, 2))
        self.assertEqual(committed.leader_epoch, whole.leader_epoch)
        self.assertEqual(committed.end_of_epoch(3), (3, 2))
        waiter = Waiter()
        committed.watch(waiter)
        whole.put(b"x")
        self.assertEqual(waiter.woken, 1)
        self.successResultOf(begin(committed.confirm()))
        whole.drop()
        self.assertTrue(committed.dropped)
