"""
JoinGroup: which members may join, under which id, and static members (KIP-394,
KIP-345).
"""

from __future__ import annotations

from kafscale.errors import (
    FencedInstanceId,
    GroupMaxSizeReached,
    InconsistentGroupProtocol,
    InvalidGroupId,
    InvalidSessionTimeout,
    RebalanceInProgress,
    UnknownMemberId,
)
from kafscale.group.settings import GroupSettings
from kafscale.interfaces import JoinResult
from kafscale.wire.schema import NOT_TEXT
from tests.group.members import GroupTestCase, member_of
from tests.harness.hostile import Verdict, let_pass


class RefusedTests(GroupTestCase):
    """
    Requests that are refused, and change nothing.
    """

    def test_no_name(self) -> None:
        """
        A group without a name has offsets, and no members.
        """
        self.refused(InvalidGroupId, self.join(group=""))
        self.assertRaises(InvalidGroupId, self.coordinator.leave, "", "c-1", None)

    def test_no_text(self) -> None:
        """
        A name that was not UTF-8 names no group, because several such names would be the
        same.
        """
        self.refused(InvalidGroupId, self.join(group=f"g{NOT_TEXT}"))
        self.assertRaises(InvalidGroupId, self.coordinator.committed_offsets, NOT_TEXT)

    def test_session_timeouts(self) -> None:
        """
        Session timeouts may be from 6 seconds to 30 minutes.
        """
        for milliseconds in (-1, 0, 5999, 1_800_001, 2**31 - 1):
            self.refused(InvalidSessionTimeout, self.join(session_timeout_ms=milliseconds))
        for milliseconds in (6000, 1_800_000):
            self.assertNoResult(self.join(session_timeout_ms=milliseconds))

    def test_nothing_to_agree_on(self) -> None:
        """
        A new group needs a protocol type and a protocol.
        """
        self.refused(InconsistentGroupProtocol, self.join(protocol_type=""))
        self.refused(InconsistentGroupProtocol, self.join(protocols=[]))
        self.assertEqual(self.coordinator.groups(), [])

    def test_mismatched_protocols(self) -> None:
        """
        Another protocol type, or no protocol that all members support.
        """
        self.stable({}, {"protocols": [("range", b""), ("sticky", b"")]})
        self.refused(InconsistentGroupProtocol, self.join(protocol_type="connect"))
        self.refused(InconsistentGroupProtocol, self.join(protocols=[("sticky", b"")]))
        self.assertEqual(self.state(), "Stable")

    def test_other_protocols_once_empty(self) -> None:
        """
        A group without members may change its protocol type.
        """
        (led,) = self.stable({})
        self.coordinator.leave("g", led.member_id, None)
        (led,) = self.round({"protocol_type": "connect", "protocols": [("default", b"")]})
        self.assertEqual((led.protocol_type, led.protocol), ("connect", "default"))

    def test_unknown_id(self) -> None:
        """
        A member id that the coordinator has not assigned is unknown.
        """
        self.refused(UnknownMemberId, self.join(member_id="own"))
        self.stable({})
        self.refused(UnknownMemberId, self.join(member_id="own"))


class PendingTests(GroupTestCase):
    """
    Members get their id first, and join with it.
    """

    def given(self, **changes: object) -> str:
        """
        The id that a member gets that joins without one.
        """
        joined = self.successResultOf(self.join(requires_known_member_id=True, **changes))
        self.assertEqual(joined, JoinResult(joined.member_id))
        return joined.member_id

    def test_joins_with_id(self) -> None:
        """
        With the id that it was given the member joins.
        """
        member_id = self.given()
        self.assertEqual(self.coordinator.describe("g").members, [])
        asked = self.join(member_id=member_id, requires_known_member_id=True)
        self.wait(3)
        self.assertEqual(self.successResultOf(asked).member_id, member_id)

    def test_listed_after_a_restart(self) -> None:
        """
        A group whose first member was given an id is there before that joins, and after
        a restart, as in Kafka.
        """
        self.given()
        self.given(group="h")
        for _ in range(2):
            listed = [(group.name, group.state) for group in self.coordinator.groups()]
            self.assertEqual(listed, [("g", "Empty"), ("h", "Empty")])
            self.restart()

    def test_unused_ids(self) -> None:
        """
        Ids that are not used are no members, and the group waits for them no
        longer than a session timeout.
        """
        ghost = self.given()
        self.given()
        led = self.join(member_id=self.given(), session_timeout_ms=30_000)
        self.wait(3)
        joined = self.successResultOf(led)
        self.assertEqual([each.member_id for each in joined.members], ["c-3"])
        self.wait(7)
        self.refused(UnknownMemberId, self.join(member_id=ghost))

    def test_waited_for(self) -> None:
        """
        A later round waits for pending members, as long as their session
        timeout.
        """
        (led,) = self.stable({"session_timeout_ms": 30_000})
        given = [self.given(), self.given(), self.given()]
        first = self.join(member_id=given[0])
        again = self.join(member_id=led.member_id)
        self.assertNoResult(again)
        self.coordinator.leave("g", given[1], None)
        self.assertNoResult(again)
        self.wait(10)
        self.assertEqual(self.successResultOf(again).generation, 2)
        self.successResultOf(first)

    def test_static_members_need_none(self) -> None:
        """
        A static member is identified by its instance id, and joins at once.
        """
        asked = self.join(instance_id="i", requires_known_member_id=True)
        self.wait(3)
        self.assertEqual(self.successResultOf(asked).member_id, "i-1")


class SizeTests(GroupTestCase):
    """
    C{group.max.size}.
    """

    settings = GroupSettings(max_size=2)

    def test_full(self) -> None:
        """
        A full group takes no new member, but its members may join again.
        """
        led, other = self.stable({}, {})
        self.refused(GroupMaxSizeReached, self.join())
        self.assertEqual(self.state(), "Stable")
        asked = [self.join(member_id=each.member_id) for each in (led, other)]
        self.assertEqual({self.successResultOf(each).generation for each in asked}, {2})

    def test_first_come(self) -> None:
        """
        The limit holds in the first round, too.
        """
        asked = [self.join(), self.join()]
        self.refused(GroupMaxSizeReached, self.join())
        self.wait(6)
        for each in asked:
            self.successResultOf(each)

    def test_places_are_for_those_who_have_joined(self) -> None:
        """
        While a round is prepared, a member that has not joined again may lose
        its place to a new one.
        """
        led, slow = self.stable({}, {})
        self.join(member_id=led.member_id)
        asked = [self.join(member_id=led.member_id), self.join()]
        self.refused(GroupMaxSizeReached, self.join(member_id=slow.member_id))
        for each in asked:
            self.assertEqual(self.successResultOf(each).generation, 2)


class StaticTests(GroupTestCase):
    """
    Static members keep their places.
    """

    def both(self, **changes: object) -> list[JoinResult]:
        """
        A stable group of two static members, C{a}, which leads, and C{b}.
        """
        return self.stable({"instance_id": "a", **changes}, {"instance_id": "b", **changes})

    def test_restarted(self) -> None:
        """
        A static member that restarts gets a new id and its former assignment,
        without a rebalance.
        """
        led, old = self.both()
        new = self.successResultOf(self.join(instance_id="b"))
        self.assertEqual((new.member_id, new.generation, new.leader), ("b-3", 1, led.member_id))
        self.assertEqual(self.state(), "Stable")
        part = self.successResultOf(self.sync(new, instance_id="b"))
        self.assertEqual(part.assignment, old.member_id.encode())
        self.beat(led)

    def test_restarted_is_stored(self) -> None:
        """
        The new id is durable when it is answered.
        """
        self.both()
        self.store.policy = None
        asked = self.join(instance_id="b")
        self.assertNoResult(asked)
        self.store.settle()
        new = self.successResultOf(asked)
        self.restart()
        self.coordinator.heartbeat("g", member_of(new, "b"))

    def test_restarted_twice_before_it_is_stored(self) -> None:
        """
        A second restart fences the first, which waits for the store; also once
        that has succeeded.
        """
        self.both()
        self.store.policy = None
        first = self.join(instance_id="b")
        second = self.join(instance_id="b")
        self.refused(FencedInstanceId, first)
        self.store.settle()
        self.assertEqual(self.successResultOf(second).member_id, "b-4")
        self.assertEqual(self.state(), "Stable")

    def test_round_before_it_is_stored(self) -> None:
        """
        A member that waits for the store when a round begins has joined that
        round: it is answered with the next generation, and not afterwards with
        the one before.
        """
        led, _ = self.both()
        self.store.policy = None
        restarted = self.join(instance_id="b")
        self.join(member_id=led.member_id, instance_id="a")  # by which the leader begins a round
        self.assertEqual(self.successResultOf(restarted).generation, 2)
        self.store.settle()
        self.assertEqual(self.state(), "CompletingRebalance")

    def test_stored_during_a_round(self) -> None:
        """
        The end of the round answers a restarted member, whether its new id was
        stored meanwhile or not.
        """
        for number, verdict in enumerate((Verdict.SUCCEED, Verdict.FAIL_BUT_APPLY)):
            led, _ = self.both(group=f"g{number}")
            self.store.policy = None
            restarted = self.join(group=f"g{number}", instance_id="b")
            self.join(group=f"g{number}", instance_id="c")
            self.store.pending[0].decide(verdict)
            self.store.policy = let_pass
            self.store.settle()
            self.assertNoResult(restarted)
            self.join(group=f"g{number}", member_id=led.member_id, instance_id="a")
            self.assertEqual(self.successResultOf(restarted).generation, 2)

    def test_restarted_and_not_stored(self) -> None:
        """
        If the new id cannot be stored, the JoinGroup is refused, and the member
        can join again.
        """
        led, _ = self.both()

        async def commit(*_: object) -> int:
            raise OSError("disk full")

        patched = self.patch(self.inner, "commit", commit)
        self.failureResultOf(self.join(instance_id="b"), OSError)
        self.flushLoggedErrors(OSError)
        patched.restore()
        new = self.successResultOf(self.join(instance_id="b"))
        self.assertEqual((new.member_id, new.generation, new.leader), ("b-4", 1, led.member_id))

    def test_leader_restarted(self) -> None:
        """
        A leader that restarts must not assign anew. It is answered that its
        former id leads; or, if it supports that, that it may skip the
        assignment.
        """
        led, _ = self.both()
        new = self.successResultOf(self.join(instance_id="a"))
        self.assertEqual((new.leader, new.members), (led.member_id, ()))
        newer = self.successResultOf(self.join(instance_id="a", supports_skipping_assignment=True))
        self.assertTrue(newer.skip_assignment)
        self.assertEqual(newer.leader, newer.member_id)
        self.assertEqual([each.instance_id for each in newer.members], ["a", "b"])
        self.assertEqual(self.state(), "Stable")

    def test_other_than_leader_may_skip(self) -> None:
        """
        Only a leader gets C{skip_assignment} in its answer.
        """
        led, _ = self.both()
        new = self.successResultOf(self.join(instance_id="b", supports_skipping_assignment=True))
        self.assertEqual((new.skip_assignment, new.members), (False, ()))
        self.assertEqual(new.leader, led.member_id)

    def test_restarted_with_another_preference(self) -> None:
        """
        If the group would choose another protocol now, a round begins.
        """
        self.both(protocols=[("range", b""), ("sticky", b"")])
        preferred = [("sticky", b""), ("range", b"")]
        self.successResultOf(self.join(instance_id="b", protocols=preferred))  # one against one
        self.assertNoResult(self.join(instance_id="a", protocols=preferred))
        self.assertEqual(self.state(), "PreparingRebalance")

    def test_restarted_while_assigning(self) -> None:
        """
        If a static member restarts before the assignment, a round begins: the
        leader would assign to its former id.
        """
        led, old = self.round({"instance_id": "a"}, {"instance_id": "b"})
        waiting = self.sync(old, instance_id="b")
        new = self.join(instance_id="b")
        self.refused(FencedInstanceId, waiting)
        self.assertNoResult(new)
        self.join(member_id=led.member_id, instance_id="a")
        self.assertEqual(self.successResultOf(new).generation, 2)

    def test_restarted_while_it_waits(self) -> None:
        """
        A request that waits under the former id is fenced, and the new id takes
        part in the round.
        """
        led, other = self.both()
        self.join()
        old = self.join(member_id=other.member_id, instance_id="b")
        new = self.join(instance_id="b")
        self.refused(FencedInstanceId, old)
        self.join(member_id=led.member_id, instance_id="a")
        self.assertEqual(self.successResultOf(new).generation, 2)

    def test_fenced(self) -> None:
        """
        All requests with the former id are fenced.
        """
        _, old = self.both()
        self.successResultOf(self.join(instance_id="b"))
        asking = member_of(old, "b")
        self.assertRaises(FencedInstanceId, self.coordinator.heartbeat, "g", asking)
        self.assertRaises(FencedInstanceId, self.coordinator.leave, "g", old.member_id, "b")
        self.refused(FencedInstanceId, self.commit(asking))
        self.refused(FencedInstanceId, self.sync(old, instance_id="b"))
        self.refused(FencedInstanceId, self.join(member_id=old.member_id, instance_id="b"))

    def test_two_with_one_name(self) -> None:
        """
        A second member with the same instance id fences the first, also in the
        first round.
        """
        first = self.join(instance_id="i")
        second = self.join(instance_id="i")
        self.refused(FencedInstanceId, first)
        self.wait(6)
        self.assertEqual(len(self.successResultOf(second).members), 1)

    def test_leaves_by_instance(self) -> None:
        """
        A static member may be removed by its instance id alone.
        """
        led, _ = self.both()
        self.coordinator.leave("g", "", "b")
        self.assertRaises(UnknownMemberId, self.coordinator.leave, "g", "", "b")
        self.assertRaises(UnknownMemberId, self.coordinator.leave, "g", "", None)
        self.assertRaises(RebalanceInProgress, self.beat, led)

    def test_keeps_its_place_in_a_round(self) -> None:
        """
        A round that begins while a static member is away is complete without
        it. It has its place again when it comes back within its session.
        """
        led, _ = self.both(session_timeout_ms=120_000)
        newcomer = self.join()
        self.join(member_id=led.member_id, instance_id="a")
        self.wait(60)
        joined = self.successResultOf(newcomer)
        self.sync(joined)
        assignments = {"b-2": b"kept for b", "c-3": b"mine"}
        leads = self.sync(joined, assignments, member_id=led.member_id, instance_id="a")
        self.successResultOf(leads)
        back = self.successResultOf(self.join(instance_id="b"))
        self.assertEqual(back.generation, 2)
        part = self.successResultOf(self.sync(back, instance_id="b"))
        self.assertEqual(part.assignment, b"kept for b")
        self.assertEqual(self.state(), "Stable")

    def test_leader_away(self) -> None:
        """
        While the leader is away another member leads, and goes on leading when
        it is back.
        """
        _, other = self.both(session_timeout_ms=120_000)
        newcomer = self.join()
        again = self.join(member_id=other.member_id, instance_id="b")
        self.wait(60)
        self.assertEqual(self.successResultOf(again).leader, other.member_id)
        back = [
            self.join(instance_id="a"),
            self.join(member_id=other.member_id, instance_id="b"),
            self.join(member_id=self.successResultOf(newcomer).member_id),
        ]
        self.assertEqual({self.successResultOf(each).leader for each in back}, {other.member_id})

    def test_all_away(self) -> None:
        """
        A round that no member has joined goes on until one does, or all
        sessions time out.
        """
        self.both(rebalance_timeout_ms=20_000, session_timeout_ms=60_000)
        ghost = self.join(rebalance_timeout_ms=20_000)
        self.coordinator.leave("g", "c-3", None)
        self.refused(UnknownMemberId, ghost)
        self.wait(30)
        self.assertEqual(self.state(), "PreparingRebalance")
        self.wait(30)
        self.assertEqual(self.state(), "Empty")

    def test_silent_for_too_long(self) -> None:
        """
        After its session timeout a static member is removed like any other.
        """
        led, _ = self.both()
        self.wait(6)
        self.beat(led)
        self.wait(4)
        self.assertEqual(self.state(), "PreparingRebalance")
        self.assertEqual(len(self.coordinator.describe("g").members), 1)


class NameTests(GroupTestCase):
    """
    The name of a group may be any text.
    """

    def test_odd_names(self) -> None:
        """
        Each name is a group of its own, also in the store.
        """
        names = ["a/b", "a%2Fb", "..", "a b\n", "\x00", "gr\u00fc\u00dfe", "\U0001f980", "x" * 249]
        for name in names:
            self.stable({"group": name, "session_timeout_ms": 600_000})
        self.restart()
        self.assertEqual([group.name for group in self.coordinator.groups()], sorted(names))
        for name in names:
            self.assertEqual(self.state(name), "Stable")
