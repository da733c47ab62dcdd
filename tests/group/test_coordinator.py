"""
The life of the coordinator: it starts, restarts, is replaced and stops; and it
describes groups.
"""

from __future__ import annotations

from kafscale.errors import (
    CoordinatorLoadInProgress,
    GroupIdNotFound,
    IllegalGeneration,
    NotCoordinator,
    RebalanceInProgress,
    StoreUnavailable,
)
from kafscale.group.coordinator import GroupCoordinator
from kafscale.interfaces import MemberDescription
from tests.group.members import SIMPLE, GroupTestCase, load, member_of
from tests.harness.hostile import Operation, Verdict, let_pass


class RestartTests(GroupTestCase):
    """
    The coordinator is killed, and another one starts.
    """

    def test_members_notice_nothing(self) -> None:
        """
        Heartbeats, commits and SyncGroup are answered as before, in the same
        generation.
        """
        led, other = self.stable({}, {})
        before = self.coordinator.describe("g")
        self.restart()
        self.assertEqual(self.coordinator.describe("g"), before)
        for each in (led, other):
            self.beat(each)
            self.successResultOf(self.commit(member_of(each)))
            part = self.successResultOf(self.sync(each))
            self.assertEqual(part.assignment, each.member_id.encode())

    def test_sessions_begin_anew(self) -> None:
        """
        A member that does not come back within its session is removed.
        """
        led, _ = self.stable({}, {})
        self.wait(9)
        self.restart()
        self.wait(9)
        self.beat(led)
        self.wait(1)
        self.assertRaises(RebalanceInProgress, self.beat, led)
        self.assertEqual(len(self.coordinator.describe("g").members), 1)

    def test_before_anybody_was_assigned(self) -> None:
        """
        A round without assignment is lost, and begins again.
        """
        led, _ = self.stable({}, {})
        asked = self.join(member_id=led.member_id)
        self.join(member_id="c-2")
        joined = self.successResultOf(asked)
        self.restart()
        self.refused(IllegalGeneration, self.sync(joined))
        again = self.join(member_id=led.member_id)
        self.join(member_id="c-2")
        self.successResultOf(self.sync(self.successResultOf(again)))

    def test_generation_never_falls(self) -> None:
        """
        A generation that had an assignment is never used again, also not after
        a restart.
        """
        generation = 0
        for _ in range(4):
            (led,) = self.stable({})
            self.assertGreater(led.generation, generation)
            generation = led.generation
            self.coordinator.leave("g", led.member_id, None)
            self.restart()

    def test_everything_of_a_member(self) -> None:
        """
        All fields of a member survive a restart, its timeouts and protocols
        too.
        """
        (led,) = self.stable(
            {
                "instance_id": "i",
                "session_timeout_ms": 30_000,
                "rebalance_timeout_ms": 40_000,
                "protocols": [("range", b"\x00\xff"), ("sticky", b"s")],
            }
        )
        self.restart()
        self.wait(29)
        (member,) = self.coordinator.describe("g").members
        self.assertEqual(
            member,
            MemberDescription("i-1", "i", "c", "/127.0.0.1", b"\x00\xff", b"i-1"),
        )
        newcomer = self.join(protocols=[("sticky", b"")], rebalance_timeout_ms=1000)
        for _ in range(40):
            self.assertNoResult(newcomer)
            self.assertRaises(RebalanceInProgress, self.beat, led)
            self.wait(1)
        self.assertEqual(self.successResultOf(newcomer).protocol, "sticky")


class LifeTests(GroupTestCase):
    """
    A coordinator that does not coordinate refuses all requests.
    """

    def assert_all_refused(self, coordinator: GroupCoordinator, kind: type[Exception]) -> None:
        """
        Check that every request is refused with this error.
        """
        self.coordinator = coordinator
        stranger = member_of(self.joined)
        self.refused(kind, self.join())  # type: ignore[arg-type]
        self.refused(kind, self.sync(self.joined))  # type: ignore[arg-type]
        self.refused(kind, self.commit(SIMPLE))  # type: ignore[arg-type]
        self.refused(kind, self.begin(coordinator.delete("g")))  # type: ignore[arg-type]
        self.refused(kind, self.begin(coordinator.delete_offsets("g", [], {})))  # type: ignore[arg-type]
        self.assertRaises(kind, coordinator.heartbeat, "g", stranger)
        self.assertRaises(kind, coordinator.leave, "g", "x", None)
        self.assertRaises(kind, coordinator.committed_offsets, "g")
        self.assertRaises(kind, coordinator.describe, "g")

    def setUp(self) -> None:
        """
        There is a stable group of one member.
        """
        super().setUp()
        (self.joined,) = self.stable({})

    def test_loading(self) -> None:
        """
        Requests get COORDINATOR_LOAD_IN_PROGRESS until everything is read, and
        a JoinGroup that waited before gets NOT_COORDINATOR.
        """
        waiting = self.join()
        self.store.policy = None
        loading = self.begin(load(self.coordinator, next(self.incarnations)))
        self.refused(NotCoordinator, waiting)
        self.assert_all_refused(self.coordinator, CoordinatorLoadInProgress)
        self.assertRaises(CoordinatorLoadInProgress, self.coordinator.groups)
        self.store.settle()
        self.successResultOf(loading)
        self.beat(self.joined)

    def test_store_fails_while_loading(self) -> None:
        """
        When loading fails, nothing is served until it is repeated.
        """

        def no_ranges(operation: Operation) -> Verdict:
            return Verdict.FAIL if operation.kind == "range" else Verdict.SUCCEED

        self.store.policy = no_ranges
        failed = self.begin(load(self.coordinator, next(self.incarnations)))
        self.failureResultOf(failed, StoreUnavailable)
        self.assertRaises(CoordinatorLoadInProgress, self.coordinator.groups)
        self.store.policy = let_pass
        self.now(load(self.coordinator, next(self.incarnations)))
        self.beat(self.joined)

    def test_stopped(self) -> None:
        """
        Waiting requests are answered at once, so that their connections can be
        closed. The coordinator has stopped when all writes have ended.
        """
        waiting = self.join()
        self.store.policy = None
        committing = [self.commit(SIMPLE, n, group="h") for n in range(3)]
        stopping = self.begin(self.coordinator.stop())
        self.refused(NotCoordinator, waiting)
        self.assertNoResult(stopping)
        self.store.settle()
        self.successResultOf(stopping)
        for each in committing:
            self.successResultOf(each)
        self.assert_all_refused(self.coordinator, NotCoordinator)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_replaced(self) -> None:
        """
        A coordinator that finds another owner of its shard gives up the shard's
        groups, and acknowledges nothing more.
        """
        former = self.coordinator
        waiting = self.join()
        self.start()
        self.addCleanup(self.begin, self.coordinator.stop())
        self.coordinator = former
        self.refused(NotCoordinator, self.commit(member_of(self.joined)))
        self.refused(NotCoordinator, waiting)
        self.assert_all_refused(former, NotCoordinator)


class DescriptionTests(GroupTestCase):
    """
    DescribeGroups and ListGroups.
    """

    def test_states(self) -> None:
        """
        Protocol, metadata and assignments are shown of a stable group only.
        """
        asked = self.join()
        self.assertEqual(self.shown(), ("PreparingRebalance", "", [(b"", b"")]))
        self.wait(3)
        self.assertEqual(self.shown(), ("CompletingRebalance", "", [(b"", b"")]))
        led = self.successResultOf(asked)
        self.sync(led, {"c-1": b"part"})
        self.assertEqual(self.shown(), ("Stable", "range", [(b"metadata", b"part")]))
        self.coordinator.leave("g", "c-1", None)
        self.assertEqual(self.shown(), ("Empty", "", []))

    def shown(self) -> tuple[str, str, list[tuple[bytes, bytes]]]:
        """
        The state, the protocol, and the metadata and assignment of each member.
        """
        group = self.coordinator.describe("g")
        return (
            group.state,
            group.protocol,
            [(member.metadata, member.assignment) for member in group.members],
        )

    def test_unknown(self) -> None:
        """
        An unknown group is GROUP_ID_NOT_FOUND.
        """
        self.assertRaises(GroupIdNotFound, self.coordinator.describe, "none")

    def test_listed(self) -> None:
        """
        All groups are listed by name, without members.
        """
        self.stable({"group": "b"})
        self.successResultOf(self.commit(SIMPLE, group="a"))
        groups = self.coordinator.groups()
        self.assertEqual(
            [(group.name, group.state, group.members) for group in groups],
            [("a", "Empty", []), ("b", "Stable", [])],
        )
