"""
Brokers join, leave, and share out producer ids.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any
from uuid import UUID

from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.cluster.membership import POLL_SECONDS, Membership, cluster_id
from kafscale.cluster.producer_ids import ProducerIds
from kafscale.errors import SettingError, StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.interfaces import Broker, Delete, Entry, IProducerIds, Phase, Put
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.cluster.small import begin
from tests.hostile import HostileMetadataStore, Operation, Verdict, let_pass

BROKER = Broker(7, "broker.example", 9092, "here")


class StoreCase(SynchronousTestCase):
    """
    A store in memory.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.store = SQLiteMetadataStore(":memory:", at_once)
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


class MembershipCase(StoreCase):
    """
    A broker that is to be a member, seen through a store that may fail.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        super().setUp()
        self.clock = Clock()
        self.hostile = HostileMetadataStore(self.store, let_pass)
        self.replaced: list[int] = []
        self.membership = self.member()

    def member(self, broker: Broker = BROKER, fencing: str = "create") -> Membership:
        """
        Another process that starts as that broker.
        """
        made = Membership(
            self.hostile,
            broker,
            self.clock,
            lambda: self.replaced.append(made.incarnation),
            lease_seconds=10.0,
            fencing=fencing,
            version="1.2",
        )
        return made

    def join(self, member: Membership | None = None) -> int:
        """
        The number of the incarnation that it becomes.
        """
        return self.successResultOf(begin((member or self.membership).join()))

    def registration(self) -> Any:
        """
        What stands there of the broker now.
        """
        entry = self.stored("brokers/7")
        return None if entry is None else entry.value

    def end_lease(self) -> None:
        """
        The broker was not heard of for too long.
        """
        self.successResultOf(begin(self.store.commit([], [Delete("brokers/7")])))
        self.membership.seen(None)


class JoinTests(MembershipCase):
    """
    Joining is drawing an incarnation, and registering.
    """

    def test_records(self) -> None:
        """
        The registration is there, and the incarnation's own record.
        """
        incarnation = self.join()
        self.assertEqual(
            self.registration(),
            {
                "host": "broker.example",
                "port": 9092,
                "rack": "here",
                "weight": 1.0,
                "version": "1.2",
                "incarnation": incarnation,
                "phase": "starting",
            },
        )
        record = self.stored(f"incarnations/{incarnation:020d}")
        assert record is not None
        self.assertEqual(record.value, {"broker": 7, "trim": 0})
        self.assertEqual(record.revision, self.membership.revision)

    def test_fencing(self) -> None:
        """
        The record tells from the beginning how the incarnation is to be
        stopped, if not by seals.
        """
        incarnation = self.join(self.member(fencing="metadata"))
        record = self.stored(f"incarnations/{incarnation:020d}")
        assert record is not None
        self.assertEqual(record.value, {"broker": 7, "trim": 0, "fencing": "metadata"})

    def test_never_again(self) -> None:
        """
        Each incarnation has a number above all before it.
        """
        numbers = [self.join() for _ in range(3)]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_predecessor(self) -> None:
        """
        Who starts where a broker was killed takes its place at once, though
        the lease is not over.
        """
        self.join()
        second = self.member()
        incarnation = self.join(second)
        self.assertEqual(self.registration()["incarnation"], incarnation)

    def test_id_in_use(self) -> None:
        """
        While another address has the id it is waited for; after more than a
        lease lasts it is clear that it lives.
        """
        self.join()
        second = self.member(Broker(7, "other.example", 9092))
        joining = begin(second.join())
        for _ in range(22):
            self.assertNoResult(joining)
            self.clock.advance(POLL_SECONDS)
        self.clock.pump([POLL_SECONDS] * 3)
        failure = self.failureResultOf(joining, SettingError)
        self.assertIn("broker id 7 is in use by broker.example:9092", str(failure.value))

    def test_id_left(self) -> None:
        """
        Who had the id at another address was dead.
        """
        self.join()
        second = self.member(Broker(7, "other.example", 9092))
        joining = begin(second.join())
        self.successResultOf(begin(self.store.commit([], [Delete("brokers/7")])))
        self.clock.advance(POLL_SECONDS)
        self.successResultOf(joining)

    def test_lease_over(self) -> None:
        """
        If the lease ends before it could register, it takes another one.
        """
        self.join()
        second = self.member(Broker(7, "other.example", 9092))
        joining = begin(second.join())
        self.clock.advance(POLL_SECONDS)
        for lease in sorted(self.store._leases):
            self.successResultOf(begin(self.store.revoke(lease)))
        self.clock.advance(POLL_SECONDS)
        self.successResultOf(joining)
        registered = self.registration()
        self.assertEqual(registered["host"], "other.example")

    def test_leases_end_once(self) -> None:
        """
        Joining anew and registering again may end leases of the past at the
        same time: each is ended by one of them.
        """
        self.join()
        revoked: list[int] = []

        def hold(operation: Operation) -> Verdict | None:
            if operation.kind != "revoke":
                return Verdict.SUCCEED
            revoked.append(operation.arguments[0])
            return None

        self.hostile.policy = hold
        joining = [begin(self.membership.join()) for _ in range(3)]
        while self.hostile.pending:
            self.hostile.pending[0].succeed()
        for each in joining:
            self.successResultOf(each)
        self.assertEqual(len(revoked), len(set(revoked)))
        self.assertEqual(len(self.store._leases), 1)

    def test_unknown_outcome(self) -> None:
        """
        If nobody heard that it was registered, it is called again as a whole.
        """
        done = 0

        def second_commit(operation: Operation) -> Verdict:
            nonlocal done
            done += operation.kind == "commit"
            return Verdict.FAIL_BUT_APPLY if done == 2 else Verdict.SUCCEED

        self.join()
        done = 0
        self.hostile.policy = second_commit
        self.failureResultOf(begin(self.membership.join()), StoreUnavailable)
        incarnation = self.join()
        self.assertEqual(self.registration()["incarnation"], incarnation)


class StayTests(MembershipCase):
    """
    A registration that goes comes back, unless the incarnation is stopped.
    """

    def test_again(self) -> None:
        """
        With the same incarnation: nobody has taken anything from it.
        """
        incarnation = self.join()
        self.end_lease()
        self.assertEqual(self.registration()["incarnation"], incarnation)
        self.assertEqual(self.replaced, [])

    def test_store_away(self) -> None:
        """
        As soon as the store answers again.
        """
        self.join()
        self.hostile.policy = lambda operation: (
            Verdict.FAIL if operation.kind == "commit" else Verdict.SUCCEED
        )
        self.end_lease()
        self.clock.pump([1.0] * 3)
        self.assertIsNone(self.registration())
        self.hostile.policy = let_pass
        self.clock.pump([1.0] * 3)
        self.assertIsNotNone(self.registration())

    def test_done_unheard(self) -> None:
        """
        Once is enough, if it was done and nobody heard of it.
        """
        incarnation = self.join()
        self.hostile.policy = lambda operation: (
            Verdict.FAIL_BUT_APPLY if operation.kind == "commit" else Verdict.SUCCEED
        )
        self.end_lease()
        self.hostile.policy = let_pass
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.registration()["incarnation"], incarnation)
        self.assertEqual(self.replaced, [])

    def test_sealed(self) -> None:
        """
        Who was stopped meanwhile is told, and does not come back as the same.
        """
        incarnation = self.join()
        seal = Put(metadata_keys.seal(incarnation), {"sealed_at": 0, "by": 99})
        self.successResultOf(begin(self.store.commit([], [seal])))
        self.end_lease()
        self.assertIsNone(self.registration())
        self.assertEqual(self.replaced, [incarnation])

    def test_another_with_the_id(self) -> None:
        """
        A second process with the same id and address wins; who has lost does
        not take it back while that one lives.
        """
        first = self.join()
        self.join(self.member())
        self.membership.seen(self.stored("brokers/7"))
        self.assertEqual(self.replaced, [first])
        self.flushLoggedErrors()
        joining = begin(self.membership.join())
        self.clock.pump([POLL_SECONDS] * 30)
        self.failureResultOf(joining, SettingError)

    def test_old_news(self) -> None:
        """
        What was registered before this broker joined concerns nobody.
        """
        before = self.join()
        entry = self.stored("brokers/7")
        second = self.member()
        second.seen(entry)
        second.seen(None)
        self.assertGreater(self.join(second), before)
        second.seen(entry)
        self.assertEqual(self.replaced, [])


class LeaveTests(MembershipCase):
    """
    Leaving in good order.
    """

    def test_announced(self) -> None:
        """
        It is still there, and says that it goes.
        """
        incarnation = self.join()
        self.successResultOf(begin(self.membership.announce(Phase.LEAVING)))
        self.assertEqual(self.registration()["phase"], "leaving")
        self.assertEqual(self.registration()["incarnation"], incarnation)

    def test_announced_too_late(self) -> None:
        """
        Who leaves while it is being announced how far it is, is not registered
        again.
        """
        self.join()
        self.hostile.policy = None
        announcing = begin(self.membership.announce(Phase.SERVING))
        self.hostile.pending[0].apply()  # it is still there
        asked = self.hostile.pending[0]
        self.hostile.policy = let_pass
        self.successResultOf(begin(self.membership.leave()))
        asked.succeed()
        self.successResultOf(announcing)
        self.assertIsNone(self.registration())

    def test_left(self) -> None:
        """
        The registration goes; the incarnation's record stays for its
        successor, and nothing comes back.
        """
        incarnation = self.join()
        self.successResultOf(begin(self.membership.leave()))
        self.membership.seen(None)
        self.clock.advance(10)
        self.assertIsNone(self.registration())
        self.assertIsNotNone(self.stored(metadata_keys.incarnation(incarnation)))

    def test_late(self) -> None:
        """
        An older incarnation does not take away a younger one's registration.
        """
        self.join()
        incarnation = self.join(self.member())
        self.successResultOf(begin(self.membership.leave()))
        self.assertEqual(self.registration()["incarnation"], incarnation)


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
