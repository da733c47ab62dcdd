"""
Tests of `kafscale.cluster.membership`.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any
from uuid import UUID

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.levels import FormatLevels
from kafscale.cluster.membership import POLL_SECONDS, Membership, cluster_id
from kafscale.errors import CommitConflict, SettingError, StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.format.cluster import LevelsRecord
from kafscale.format.levels import levels_read
from kafscale.interfaces import Broker, Delete, Entry, Phase, Put
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin
from tests.harness.hostile import HostileMetadataStore, Operation, Verdict, hold, let_pass

BROKER = Broker(7, "broker.example", 9092, "here")


class StoreCase(SynchronousTestCase):
    """
    A metadata store in memory.
    """

    def setUp(self) -> None:
        """
        Open the store.
        """
        self.store = SQLiteMetadataStore(":memory:", at_once)
        self.addCleanup(lambda: self.successResultOf(begin(self.store.close())))

    def stored(self, key: str) -> Entry | None:
        """
        Return the entry of a key.
        """
        return self.successResultOf(begin(self.store.get(key)))


class ClusterIdTests(StoreCase):
    """
    The id of the cluster.
    """

    def test_form(self) -> None:
        """
        It is a UUID as 22 characters of base64url.
        """
        made = self.successResultOf(begin(cluster_id(self.store)))
        self.assertEqual(len(made), 22)
        self.assertEqual(len(urlsafe_b64decode(made + "==")), 16)

    def test_stable(self) -> None:
        """
        It never changes.
        """
        first = self.successResultOf(begin(cluster_id(self.store, lambda: UUID(int=5))))
        second = self.successResultOf(begin(cluster_id(self.store, lambda: UUID(int=6))))
        self.assertEqual(first, second)

    def test_two_at_once(self) -> None:
        """
        Of two brokers that find none, the second takes the id of the first.
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
    A broker, and a store that can fail.
    """

    def setUp(self) -> None:
        """
        Create the broker, and join nothing.
        """
        super().setUp()
        self.clock = Clock()
        self.hostile = HostileMetadataStore(self.store, let_pass)
        self.replaced: list[int] = []
        self.membership = self.member()

    def member(self, broker: Broker = BROKER, fencing: str = "create") -> Membership:
        """
        Return the membership of another process with the same broker id.
        """
        made = Membership(
            self.hostile,
            broker,
            self.clock,
            FormatLevels(self.hostile, self.clock),
            lambda: self.replaced.append(made.incarnation),
            lease_seconds=10.0,
            fencing=fencing,
            version="1.2",
        )
        return made

    def join(self, member: Membership | None = None) -> int:
        """
        Join, and return the number of the incarnation.
        """
        return self.successResultOf(begin((member or self.membership).join()))

    def registration(self) -> Any:
        """
        Return the present registration of the broker.
        """
        entry = self.stored("brokers/7")
        return None if entry is None else entry.value

    def end_lease(self) -> None:
        """
        Expire the lease of the registration.
        """
        self.successResultOf(begin(self.store.commit([], [Delete("brokers/7")])))
        self.membership.seen(None)


class JoinTests(MembershipCase):
    """
    A broker draws an incarnation, and registers it.
    """

    def test_records(self) -> None:
        """
        The registration exists, and the record of the incarnation.
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
                "levels": levels_read(),
            },
        )
        record = self.stored(f"incarnations/{incarnation:020d}")
        assert record is not None
        self.assertEqual(record.value, {"broker": 7, "trim": 0})
        self.assertEqual(record.revision, self.membership.revision)

    def test_fencing(self) -> None:
        """
        The record has the kind of fencing from the beginning.
        """
        incarnation = self.join(self.member(fencing="metadata"))
        record = self.stored(f"incarnations/{incarnation:020d}")
        assert record is not None
        self.assertEqual(record.value, {"broker": 7, "trim": 0, "fencing": "metadata"})

    def test_level(self) -> None:
        """
        When all brokers know that records of incarnations may go, the record says that
        this incarnation does nothing without it.
        """
        levels = LevelsRecord({"incarnations": 1}, {"incarnations": 1})
        put = Put(metadata_keys.LEVELS, levels.to_json())
        self.successResultOf(begin(self.store.commit([], [put])))
        incarnation = self.join()
        record = self.stored(f"incarnations/{incarnation:020d}")
        assert record is not None
        self.assertEqual(record.value, {"broker": 7, "trim": 0, "level": 1})

    def test_27_too_late(self) -> None:
        """
        A number that was drawn so long ago that it counts as over is not registered:
        another one is drawn, also if it becomes too late just before the registration.
        """
        for lateness in (1, 2):
            commits = 0

            def pause(operation: Operation, lateness: int = lateness) -> Verdict | None:
                nonlocal commits
                commits += operation.kind == "commit"
                held = operation.kind == "commit" and commits == lateness
                return None if held else Verdict.SUCCEED

            self.hostile.policy = pause
            joining = begin(self.membership.join())
            (held,) = self.hostile.pending
            if lateness == 1:
                held.apply()
            late = self.stored(metadata_keys.LAST_INCARNATION)
            assert late is not None
            lowest = Put(metadata_keys.LOWEST_INCARNATION, late.revision + 1)
            self.successResultOf(begin(self.store.commit([], [lowest])))
            held.succeed()
            number = self.successResultOf(joining)
            self.assertGreater(number, late.revision)
            self.assertEqual(self.registration()["incarnation"], number)
            self.assertIsNone(self.stored(metadata_keys.incarnation(late.revision)))

    def test_27_a_registration_that_comes_twice(self) -> None:
        """
        The commit that registers an incarnation is done again when its record is gone:
        it does not come back.
        """
        held: list[Operation] = []

        def copy(operation: Operation) -> Verdict | None:
            if operation.kind == "commit":
                held.append(operation)
            return Verdict.SUCCEED

        self.hostile.policy = copy
        number = self.join()
        gone: list[Put | Delete] = [
            Delete("brokers/7"),
            Delete(metadata_keys.incarnation(number)),
            Put(metadata_keys.LOWEST_INCARNATION, number + 1),
        ]
        self.successResultOf(begin(self.store.commit([], gone)))
        again = self.store.commit(*held[-1].arguments)
        self.failureResultOf(begin(again), CommitConflict)
        self.assertIsNone(self.stored(metadata_keys.incarnation(number)))

    def test_never_again(self) -> None:
        """
        Each number is larger than all before.
        """
        numbers = [self.join() for _ in range(3)]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_predecessor(self) -> None:
        """
        A process at the address of a killed one replaces it at once, before its lease expires.
        """
        self.join()
        second = self.member()
        incarnation = self.join(second)
        self.assertEqual(self.registration()["incarnation"], incarnation)

    def test_id_in_use(self) -> None:
        """
        While the id is registered at another address, join waits; after more than a lease it
        fails, because that process is alive.
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
        If the registration at another address expires, join succeeds.
        """
        self.join()
        second = self.member(Broker(7, "other.example", 9092))
        joining = begin(second.join())
        self.successResultOf(begin(self.store.commit([], [Delete("brokers/7")])))
        self.clock.advance(POLL_SECONDS)
        self.successResultOf(joining)

    def test_lease_over(self) -> None:
        """
        If the lease expires before the registration, another one is granted.
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
        Joining and registering again may revoke old leases concurrently: each lease is
        revoked once.
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
        After a registration of unknown outcome, join can be called again.
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
    A registration that expires is made again, unless the incarnation is sealed.
    """

    def test_again(self) -> None:
        """
        The new registration has the same incarnation.
        """
        incarnation = self.join()
        self.end_lease()
        self.assertEqual(self.registration()["incarnation"], incarnation)
        self.assertEqual(self.replaced, [])

    def test_store_away(self) -> None:
        """
        It is made as soon as the store responds.
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
        A registration of unknown outcome that was made is not repeated.
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

    def test_phase_changed_meanwhile(self) -> None:
        """
        A phase that is announced while the registration is on its way, so that there is
        none yet, is in the registration afterwards, whether its outcome was known or not.
        """
        self.join()
        for end in Operation.succeed, Operation.fail_but_apply:
            self.successResultOf(begin(self.membership.announce(Phase.STARTING)))
            self.hostile.policy = hold("commit", "brokers")
            self.end_lease()
            self.successResultOf(begin(self.membership.announce(Phase.SERVING)))
            self.hostile.policy = let_pass
            end(self.hostile.pending[0])
            self.assertEqual(self.registration()["phase"], "serving")

    def test_sealed(self) -> None:
        """
        A sealed incarnation is reported as replaced, and not registered again.
        """
        incarnation = self.join()
        seal = Put(metadata_keys.seal(incarnation), {"sealed_at": 0, "by": 99})
        self.successResultOf(begin(self.store.commit([], [seal])))
        self.end_lease()
        self.assertIsNone(self.registration())
        self.assertEqual(self.replaced, [incarnation])

    def test_27_without_a_record(self) -> None:
        """
        An incarnation whose record is gone, with its seal, is reported as replaced,
        and not registered again.
        """
        incarnation = self.join()
        gone = Delete(metadata_keys.incarnation(incarnation))
        self.successResultOf(begin(self.store.commit([], [gone])))
        self.end_lease()
        self.assertIsNone(self.registration())
        self.assertEqual(self.replaced, [incarnation])

    def test_another_with_the_id(self) -> None:
        """
        A second process with the same id and address replaces the first, which does not
        register again while the second lives.
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
        Registrations from before the broker joined are ignored.
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
    A broker leaves the cluster.
    """

    def test_announced(self) -> None:
        """
        The registration stays, with phase LEAVING.
        """
        incarnation = self.join()
        self.successResultOf(begin(self.membership.announce(Phase.LEAVING)))
        self.assertEqual(self.registration()["phase"], "leaving")
        self.assertEqual(self.registration()["incarnation"], incarnation)

    def test_announced_too_late(self) -> None:
        """
        A broker that leaves while its phase is being published is not registered again.
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
        The registration is removed and not made again. The record of the incarnation stays
        for the successor.
        """
        incarnation = self.join()
        self.successResultOf(begin(self.membership.leave()))
        self.membership.seen(None)
        self.clock.advance(10)
        self.assertIsNone(self.registration())
        self.assertIsNotNone(self.stored(metadata_keys.incarnation(incarnation)))

    def test_late(self) -> None:
        """
        An older incarnation does not remove the registration of a later one.
        """
        self.join()
        incarnation = self.join(self.member())
        self.successResultOf(begin(self.membership.leave()))
        self.assertEqual(self.registration()["incarnation"], incarnation)
