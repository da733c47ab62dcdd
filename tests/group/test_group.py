"""
Rounds of a group: how members come together, and what ends their waiting.
"""

from __future__ import annotations

import attrs

from kafscale.errors import (
    FencedInstanceId,
    IllegalGeneration,
    InconsistentGroupProtocol,
    RebalanceInProgress,
    UnknownMemberId,
)
from kafscale.interfaces import JoinedMember
from tests.group.members import GroupTestCase, member_of


class FirstRoundTests(GroupTestCase):
    """
    A new group waits for its members.
    """

    def test_waits_for_others(self) -> None:
        """
        The first member is answered when the initial delay is over.
        """
        asked = self.join()
        self.wait(2.75)
        self.assertNoResult(asked)
        self.assertEqual(self.state(), "PreparingRebalance")
        self.wait(0.25)
        joined = self.successResultOf(asked)
        self.assertEqual((joined.member_id, joined.generation, joined.leader), ("c-1", 1, "c-1"))
        self.assertEqual((joined.protocol_type, joined.protocol), ("consumer", "range"))
        self.assertEqual(self.state(), "CompletingRebalance")

    def test_waits_on_while_others_come(self) -> None:
        """
        A member that joins within the delay prolongs it. All are answered
        together, and the leader gets all members.
        """
        first = self.join()
        self.wait(2)
        second = self.join(protocols=[("range", b"other")])
        self.wait(3)
        self.assertNoResult(first)
        self.wait(1)
        led, other = self.successResultOf(first), self.successResultOf(second)
        self.assertEqual(
            led.members,
            [JoinedMember("c-1", None, b"metadata"), JoinedMember("c-2", None, b"other")],
        )
        self.assertEqual((other.leader, other.members, other.generation), ("c-1", (), 1))

    def test_does_not_wait_for_ever(self) -> None:
        """
        However many members join, the delay ends after the longest rebalance
        timeout.
        """
        first = self.join(rebalance_timeout_ms=7000)
        for _ in range(3):
            self.wait(2)
            self.join(rebalance_timeout_ms=7000)
        self.assertNoResult(first)
        self.wait(1)
        self.assertEqual(len(self.successResultOf(first).members), 4)

    def test_all_gone(self) -> None:
        """
        If all members leave before the first round is complete, the group is
        empty, and its generation has grown.
        """
        asked = self.join()
        self.coordinator.leave("g", "c-1", None)
        self.refused(UnknownMemberId, asked)
        self.assertEqual(self.state(), "Empty")
        self.assertEqual(self.round({})[0].generation, 2)


class SyncTests(GroupTestCase):
    """
    The leader assigns for all members.
    """

    def test_assignments(self) -> None:
        """
        A SyncGroup that comes before the leader's waits. Assignments are passed
        on unchanged; a member without one gets an empty one.
        """
        led, other, third = self.round({}, {}, {})
        early = self.sync(other)
        self.assertNoResult(early)
        mine = self.successResultOf(self.sync(led, {"c-1": b"\x00one", "c-2": b"two"}))
        self.assertEqual((mine.protocol_type, mine.protocol), ("consumer", "range"))
        self.assertEqual(mine.assignment, b"\x00one")
        self.assertEqual(self.successResultOf(early).assignment, b"two")
        self.assertEqual(self.state(), "Stable")
        self.assertEqual(self.successResultOf(self.sync(third)).assignment, b"")

    def test_again(self) -> None:
        """
        SyncGroup may be repeated. Assignments that the leader sends then are
        ignored.
        """
        led, _ = self.stable({}, {})
        again = self.successResultOf(self.sync(led, {"c-1": b"new"}))
        self.assertEqual(again.assignment, b"c-1")

    def test_asked_twice_while_waiting(self) -> None:
        """
        Of two SyncGroup requests of a member that wait, the first is refused.
        """
        led, other = self.round({}, {})
        first = self.sync(other)
        second = self.sync(other)
        self.refused(RebalanceInProgress, first)
        self.sync(led, {"c-2": b"part"})
        self.assertEqual(self.successResultOf(second).assignment, b"part")

    def test_not_stored_yet(self) -> None:
        """
        No member gets its assignment before that is durable.
        """
        led, other = self.round({}, {})
        self.store.policy = None
        asked = [self.sync(other), self.sync(led, {"c-2": b"part"})]
        for each in asked:
            self.assertNoResult(each)
        self.assertEqual(self.state(), "CompletingRebalance")
        self.store.settle()
        for each in asked:
            self.successResultOf(each)
        self.assertEqual(self.state(), "Stable")

    def test_assigned_twice(self) -> None:
        """
        While an assignment is being stored, another one of the same leader is
        ignored: members get what is stored.
        """
        led, other = self.round({}, {})
        self.store.policy = None
        asked = [
            self.sync(other),
            self.sync(led, {"c-1": b"first", "c-2": b"first"}),
            self.sync(led, {"c-1": b"second", "c-2": b"second"}),
        ]
        self.store.settle()
        self.refused(RebalanceInProgress, asked.pop(1))
        answered = [self.successResultOf(each).assignment for each in asked]
        self.restart()
        kept = [self.successResultOf(self.sync(each)).assignment for each in (other, led)]
        self.assertEqual((answered, kept), ([b"first"] * 2, [b"first"] * 2))

    def test_rebalance_while_storing(self) -> None:
        """
        If a round begins while an assignment is being stored, that assignment
        is not used.
        """
        led, other = self.round({}, {})
        self.store.policy = None
        asked = [self.sync(led, {"c-2": b"part"}), self.sync(other)]
        newcomer = self.join()
        for each in asked:
            self.refused(RebalanceInProgress, each)
        self.store.settle()
        self.assertEqual(self.state(), "PreparingRebalance")
        again = [self.join(member_id=each.member_id) for each in (led, other)]
        self.assertEqual({self.successResultOf(each).generation for each in again}, {2})
        self.assertEqual(self.successResultOf(newcomer).generation, 2)

    def test_not_a_member(self) -> None:
        """
        A client that is not a member of this generation gets no assignment, and
        changes nothing.
        """
        (led,) = self.round({})
        self.refused(UnknownMemberId, self.sync(led, {"c-1": b"bad"}, member_id="unknown"))
        self.refused(IllegalGeneration, self.sync(led, {"c-1": b"bad"}, generation=2))
        self.refused(UnknownMemberId, self.sync(led, group="nothing"))
        self.assertEqual(self.state(), "CompletingRebalance")

    def test_other_protocol(self) -> None:
        """
        Another protocol type or protocol is INCONSISTENT_GROUP_PROTOCOL.
        """
        (led,) = self.round({})
        for kind, name in (("connect", "range"), ("consumer", "sticky")):
            asked = self.begin(self.coordinator.sync("g", member_of(led), kind, name, {}))
            self.refused(InconsistentGroupProtocol, asked)
        same = self.begin(self.coordinator.sync("g", member_of(led), "consumer", "range", {}))
        self.successResultOf(same)

    def test_while_preparing(self) -> None:
        """
        While a round is prepared, members must join first.
        """
        led, _ = self.stable({}, {})
        self.join()
        self.refused(RebalanceInProgress, self.sync(led))

    def test_leader_does_not_assign(self) -> None:
        """
        Members that have joined, and do not send SyncGroup in time, are
        removed, also the leader. The others join again.
        """
        led, other = self.round({}, {})
        asked = self.sync(other)
        for _ in range(12):
            self.wait(5)
            if self.state() == "CompletingRebalance":
                self.beat(led)
        self.refused(RebalanceInProgress, asked)
        self.assertRaises(UnknownMemberId, self.beat, led)
        again = self.successResultOf(self.join(member_id=other.member_id))
        self.assertEqual((again.generation, again.leader), (2, other.member_id))


class RebalanceTests(GroupTestCase):
    """
    Members join, leave and change.
    """

    def test_heartbeats(self) -> None:
        """
        0 while stable, 27 while a round is prepared, 0 when it is complete, 22
        in another generation, 25 for an unknown member.
        """
        led, other = self.stable({}, {})
        self.beat(led)
        newcomer = self.join()
        self.assertRaises(RebalanceInProgress, self.beat, led)
        for each in (led, other):
            self.join(member_id=each.member_id)
        joined = self.successResultOf(newcomer)
        self.assertEqual(self.state(), "CompletingRebalance")
        self.beat(joined)
        self.assertRaises(IllegalGeneration, self.beat, led)
        self.assertRaises(UnknownMemberId, self.beat, attrs.evolve(led, member_id="unknown"))
        self.assertRaises(UnknownMemberId, self.beat, led, "nothing")

    def test_leader_stays(self) -> None:
        """
        The generation grows by one, and the leader stays the same, whichever
        member joins first.
        """
        led, other = self.stable({}, {})
        asked = [self.join(), self.join(member_id=other.member_id)]
        for each in asked:
            self.assertNoResult(each)
        again = self.successResultOf(self.join(member_id=led.member_id))
        self.assertEqual((again.generation, again.leader, len(again.members)), (2, "c-1", 3))

    def test_leaving(self) -> None:
        """
        A member that leaves is removed at once. If it led, the member that
        joined first among the others leads.
        """
        led, other, third = self.stable({}, {}, {})
        self.coordinator.leave("g", led.member_id, None)
        self.assertRaises(UnknownMemberId, self.beat, led)
        self.assertRaises(RebalanceInProgress, self.beat, other)
        asked = [self.join(member_id=each.member_id) for each in (third, other)]
        self.assertEqual({self.successResultOf(each).leader for each in asked}, {other.member_id})

    def test_last_leaves(self) -> None:
        """
        The group is empty, and its generation has grown, also in the store.
        """
        (led,) = self.stable({})
        self.coordinator.leave("g", led.member_id, None)
        self.assertEqual(self.state(), "Empty")
        self.restart()
        self.assertEqual(self.state(), "Empty")
        self.assertEqual(self.round({})[0].generation, 3)

    def test_slow_to_rejoin(self) -> None:
        """
        A member that does not join again within the longest rebalance timeout
        is removed, although it sends heartbeats.
        """
        led, slow = self.stable({}, {})
        again = [self.join(member_id=led.member_id, rebalance_timeout_ms=20_000), self.join()]
        for _ in range(12):
            self.assertRaises(RebalanceInProgress, self.beat, slow)
            self.wait(5)
        self.assertEqual({self.successResultOf(each).generation for each in again}, {2})
        self.assertRaises(UnknownMemberId, self.beat, slow)

    def test_silent(self) -> None:
        """
        A session times out that long after the last JoinGroup, SyncGroup or
        heartbeat.
        """
        led, silent = self.stable({}, {"session_timeout_ms": 7000})
        for _ in range(3):
            self.wait(6)
            self.beat(led)
            self.beat(silent)
        self.wait(6.75)
        self.assertEqual(self.state(), "Stable")
        self.wait(0.25)
        self.assertEqual(self.state(), "PreparingRebalance")
        self.assertRaises(UnknownMemberId, self.beat, silent)

    def test_silent_while_waiting(self) -> None:
        """
        A member whose request waits does not time out.
        """
        led, other = self.stable({}, {})
        asked = self.join(member_id=led.member_id)
        for _ in range(5):
            self.wait(9)
            self.assertRaises(RebalanceInProgress, self.beat, other)
        self.join(member_id=other.member_id)
        self.assertEqual(self.successResultOf(asked).generation, 2)

    def test_silent_newcomer(self) -> None:
        """
        A member that was never in a generation times out after five minutes
        (KAFKA-7610).
        """
        long = {"rebalance_timeout_ms": 900_000}
        (led,) = self.stable(long)
        newcomer = self.join(**long)
        for _ in range(60):
            self.assertRaises(RebalanceInProgress, self.beat, led)
            self.wait(5)
        self.refused(UnknownMemberId, newcomer)

    def test_broker_was_stopped(self) -> None:
        """
        When the broker itself was stopped, members get their whole session
        again (SIGSTOP, a virtual machine that was moved).
        """
        led, other = self.stable({}, {})
        self.clock.advance(600)
        self.assertEqual(self.state(), "Stable")
        self.wait(9)
        self.beat(led)
        self.beat(other)
        self.wait(10)
        self.assertEqual(self.state(), "Empty")

    def test_broker_was_stopped_in_a_round(self) -> None:
        """
        JoinGroup requests that were sent while the broker was stopped count.
        """
        led, other = self.stable({}, {})
        asked = self.join(member_id=led.member_id, rebalance_timeout_ms=30_000)
        self.clock.advance(600)
        self.assertNoResult(asked)
        self.join(member_id=other.member_id, rebalance_timeout_ms=30_000)
        self.assertEqual(len(self.successResultOf(asked).members), 2)

    def test_unchanged_member_joins_again(self) -> None:
        """
        A member that repeats its JoinGroup unchanged gets the present
        generation, before and after SyncGroup.
        """
        led, other = self.round({}, {})
        for each in (led, other):
            self.assertEqual(self.successResultOf(self.join(member_id=each.member_id)), each)
        self.sync(led)
        self.assertEqual(self.successResultOf(self.join(member_id=other.member_id)), other)
        self.assertEqual(self.state(), "Stable")

    def test_changed_member_joins_again(self) -> None:
        """
        A member that joins with other metadata begins a round.
        """
        _, other = self.stable({}, {})
        asked = self.join(member_id=other.member_id, protocols=[("range", b"changed")])
        self.assertNoResult(asked)
        self.assertEqual(self.state(), "PreparingRebalance")

    def test_leader_joins_again(self) -> None:
        """
        A leader that joins again asks for a new assignment, for instance
        because topics have grown.
        """
        led, other = self.stable({}, {})
        asked = self.join(member_id=led.member_id)
        self.assertNoResult(asked)
        self.join(member_id=other.member_id)
        self.assertEqual(self.successResultOf(asked).generation, 2)

    def test_joined_twice(self) -> None:
        """
        Of two JoinGroup requests of a member that wait, the first is refused.
        """
        _, other = self.stable({}, {})
        self.join()
        first = self.join(member_id=other.member_id)
        self.join(member_id=other.member_id)
        self.refused(RebalanceInProgress, first)


class ProtocolTests(GroupTestCase):
    """
    The protocol is one that all members support.
    """

    def test_votes(self) -> None:
        """
        Among the protocols that all support, the one with most votes is chosen.
        """
        members = [
            {"protocols": [("sticky", b"1"), ("range", b"2"), ("own", b"")]},
            {"protocols": [("range", b"3"), ("sticky", b"4")]},
            {"protocols": [("alone", b""), ("range", b"5"), ("sticky", b"6")]},
        ]
        led, _, _ = self.round(*members)
        self.assertEqual(led.protocol, "range")
        self.assertEqual([each.metadata for each in led.members], [b"2", b"3", b"5"])

    def test_upgraded_one_by_one(self) -> None:
        """
        A new protocol is chosen when the last member supports it.
        """
        both = {"protocols": [("cooperative-sticky", b""), ("range", b"")]}
        led, other = self.stable(both, {})
        self.assertEqual(led.protocol, "range")
        asked = [self.join(member_id=each.member_id, **both) for each in (other, led)]
        for each in asked:
            self.assertEqual(self.successResultOf(each).protocol, "cooperative-sticky")

    def test_formats_of_others(self) -> None:
        """
        The metadata of Connect and Schema Registry is not decoded.
        """
        self.stable(
            {"protocol_type": "connect", "protocols": [("sessioned", b"\xff\xffnonsense")]}
        )
        described = self.coordinator.describe("g")
        self.assertEqual(described.protocol_type, "connect")
        self.assertEqual(described.members[0].metadata, b"\xff\xffnonsense")


class FencingTests(GroupTestCase):
    """
    Static members that were replaced.
    """

    def test_heartbeat_of_the_old_holder(self) -> None:
        """
        The former member gets FENCED_INSTANCE_ID, and a member with an unknown
        instance id UNKNOWN_MEMBER_ID.
        """
        (old,) = self.stable({"instance_id": "i"})
        self.successResultOf(self.join(instance_id="i"))
        beat = self.coordinator.heartbeat
        self.assertRaises(FencedInstanceId, beat, "g", member_of(old, "i"))
        self.assertRaises(UnknownMemberId, beat, "g", member_of(old, "j"))
        self.assertRaises(UnknownMemberId, beat, "g", member_of(old))
