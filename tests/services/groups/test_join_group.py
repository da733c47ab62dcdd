"""
JoinGroup, SyncGroup, Heartbeat and LeaveGroup, in each of their versions.
"""

from __future__ import annotations

from typing import Any

from kafscale import errors
from kafscale.wire.messages import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
)
from tests.services.grouped import GroupedCase

Leaving = LeaveGroupRequest.Member


class JoinTests(GroupedCase):
    """
    JoinParameters.
    """

    def test_every_version(self) -> None:
        """
        The only member leads; from version 7 on the protocol's type is told.
        """
        for version in self.client.versions(JoinGroupRequest):
            answer = self.joined(version, group_id=f"g{version}")
            if version >= 4:
                self.assertEqual(answer.error_code, errors.MemberIdRequired.code)
                self.assertEqual(answer.generation_id, -1)
                answer = self.joined(version, group_id=f"g{version}", member_id=answer.member_id)
            self.assertEqual((answer.error_code, answer.generation_id), (0, 1))
            self.assertEqual((answer.protocol_name, answer.leader), ("range", answer.member_id))
            self.assertEqual(answer.protocol_type, "consumer" if version >= 7 else None)
            (member,) = answer.members
            self.assertEqual((member.member_id, member.metadata), (answer.member_id, b"wishes"))

    def test_id_tells_the_client(self) -> None:
        """
        A member id begins with the client's id, so that people can read it.
        """
        self.assertEqual(self.joined().member_id, "test-1")

    def test_described(self) -> None:
        """
        The client's id and address are kept for those who look.
        """
        self.stable()
        (member,) = self.coordinator.describe("g").members
        self.assertEqual((member.client_id, member.client_host), ("test", "/127.0.0.1"))

    def test_version_0(self) -> None:
        """
        There was one time-out then, for both.
        """
        first = self.joined(0, rebalance_timeout_ms=-1)
        waiting = self.client.start(self.join_request(rebalance_timeout_ms=5000), 1)
        for _ in range(10):
            self.assertNoResult(waiting)
            beat = HeartbeatRequest(group_id="g", generation_id=1, member_id=first.member_id)
            self.failureResultOf(self.client.start(beat, 0), errors.RebalanceInProgress)
            self.clock.advance(1)
        self.assertEqual(self.successResultOf(waiting).generation_id, 2)

    def test_static(self) -> None:
        """
        A static member needs no id first, and is known by its instance id.
        """
        answer = self.joined(9, group_instance_id="i")
        (member,) = answer.members
        self.assertEqual((answer.error_code, member.group_instance_id), (0, "i"))

    def test_leader_may_skip(self) -> None:
        """
        A static leader that restarts is told that it need not assign, from
        version 9 on.
        """
        for version in (5, 8, 9):
            self.coordinator.groups()
            group = f"g{version}"
            first = self.joined(version, group_id=group, group_instance_id="i")
            self.client.now(self.sync_request(first, b"part", group_id=group), 0)
            again = self.joined(version, group_id=group, group_instance_id="i")
            self.assertEqual(again.generation_id, 1)
            self.assertEqual(again.skip_assignment, version == 9)
            self.assertEqual(again.leader == again.member_id, version == 9)
            self.assertEqual(len(again.members), int(version == 9))

    def test_refused(self) -> None:
        """
        Each with its own code, and with the id that the member came with.
        """
        self.stable()
        for code, changes in (
            (errors.InvalidGroupId, {"group_id": ""}),
            (errors.InvalidSessionTimeout, {"session_timeout_ms": 5999}),
            (errors.InconsistentGroupProtocol, {"protocol_type": "connect"}),
            (errors.UnknownMemberId, {"member_id": "stranger"}),
        ):
            for version in self.client.versions(JoinGroupRequest):
                request = self.join_request(**changes)
                answer = self.client.failed(request, version, code.code)
                self.assertEqual(answer.error_code, code.code)
                self.assertEqual(answer.member_id, request.member_id)
                self.assertEqual(answer.protocol_name, None if version >= 7 else "")
                self.failureResultOf(self.client.start(request, version), code)


class SyncTests(GroupedCase):
    """
    Getting one's part.
    """

    def request(self, joined: Any, **changes: Any) -> SyncGroupRequest:
        """
        With all that a new client says.
        """
        request = self.sync_request(joined, b"part")
        request.protocol_type = changes.get("protocol_type", "consumer")
        request.protocol_name = changes.get("protocol_name", "range")
        return request

    def test_every_version(self) -> None:
        """
        From version 5 on what is assigned by is told.
        """
        joined = self.joined()
        for version in self.client.versions(SyncGroupRequest):
            answer = self.client.now(self.request(joined), version)
            self.assertEqual((answer.error_code, answer.assignment), (0, b"part"))
            told = ("consumer", "range") if version >= 5 else (None, None)
            self.assertEqual((answer.protocol_type, answer.protocol_name), told)

    def test_must_say(self) -> None:
        """
        From version 5 on a member says what it takes the group for.
        """
        joined = self.joined()
        for changes in ({"protocol_type": None}, {"protocol_name": None}, {"protocol_name": "x"}):
            asked = self.client.start(self.request(joined, **changes), 5)
            self.failureResultOf(asked, errors.InconsistentGroupProtocol)

    def test_refused(self) -> None:
        """
        A stranger, and one of another generation.
        """
        joined = self.joined()
        for version in self.client.versions(SyncGroupRequest):
            stranger, old = self.request(joined), self.request(joined)
            stranger.member_id = "stranger"
            old.generation_id = 0
            self.failureResultOf(self.client.start(stranger, version), errors.UnknownMemberId)
            self.failureResultOf(self.client.start(old, version), errors.IllegalGeneration)
            failed = self.client.failed(old, version, errors.IllegalGeneration.code)
            self.assertEqual((failed.error_code, failed.assignment), (22, b""))


class HeartbeatTests(GroupedCase):
    """
    Staying.
    """

    def test_every_version(self) -> None:
        """
        No error while all is well; the code when it is not.
        """
        joined = self.stable()
        for version in self.client.versions(HeartbeatRequest):
            request = HeartbeatRequest(
                group_id="g", generation_id=joined.generation_id, member_id=joined.member_id
            )
            self.assertEqual(self.client.now(request, version).error_code, 0)
            request.generation_id = 7
            failed = self.client.start(request, version)
            self.failureResultOf(failed, errors.IllegalGeneration)
            self.assertEqual(self.client.failed(request, version, 22).error_code, 22)

    def test_fenced(self) -> None:
        """
        Another has taken the place of this static member (version 3).
        """
        old = self.joined(5, group_instance_id="i")
        self.joined(5, group_instance_id="i")
        request = HeartbeatRequest(
            group_id="g", generation_id=1, member_id=old.member_id, group_instance_id="i"
        )
        self.failureResultOf(self.client.start(request, 3), errors.FencedInstanceId)


class LoadingTests(GroupedCase):
    """
    The coordinator has just taken the group over, and reads what it was.
    """

    def setUp(self) -> None:
        """
        It says so to everybody.
        """
        super().setUp()
        self.member = self.stable()

        def refuse(*_: object) -> None:
            raise errors.CoordinatorLoadInProgress

        self.patch(self.coordinator, "heartbeat", refuse)

    def test_heartbeat(self) -> None:
        """
        All is well: aiokafka gives up when it is told of the load.
        """
        request = HeartbeatRequest(
            group_id="g",
            generation_id=self.member.generation_id,
            member_id=self.member.member_id,
        )
        for version in self.client.versions(HeartbeatRequest):
            self.assertEqual(self.client.now(request, version).error_code, 0)

    def test_sync(self) -> None:
        """
        The round is lost, and there is another.
        """
        code = errors.CoordinatorLoadInProgress.code
        for version in self.client.versions(SyncGroupRequest):
            failed = self.client.failed(self.sync_request(self.member, b""), version, code)
            self.assertEqual(failed.error_code, errors.RebalanceInProgress.code)


class LeaveTests(GroupedCase):
    """
    Going.
    """

    def test_old_versions(self) -> None:
        """
        One member, for itself.
        """
        for version in range(3):
            joined = self.stable()
            request = LeaveGroupRequest(group_id="g", member_id=joined.member_id)
            self.assertEqual(self.client.now(request, version).error_code, 0)
            self.assertEqual(self.coordinator.describe("g").state, "Empty")
            self.failureResultOf(self.client.start(request, version), errors.UnknownMemberId)
            self.assertEqual(self.client.failed(request, version, 25).error_code, 25)

    def test_many(self) -> None:
        """
        From version 3 on several leave at once, static ones by their instance
        ids, and each is answered for itself.
        """
        for version in range(3, 6):
            group = f"g{version}"
            joined = self.joined(5, group_id=group, group_instance_id="i")
            request = LeaveGroupRequest(
                group_id=group,
                members=[
                    Leaving(member_id="stranger"),
                    Leaving(member_id="stranger", group_instance_id="i"),
                    Leaving(member_id="", group_instance_id="i"),
                    Leaving(member_id="", group_instance_id="i"),
                    Leaving(member_id=joined.member_id),
                ],
            )
            answer = self.client.now(request, version)
            self.assertEqual(answer.error_code, 0)
            self.assertEqual(
                [(each.member_id, each.group_instance_id) for each in answer.members],
                [(each.member_id, each.group_instance_id) for each in request.members],
            )
            self.assertEqual([each.error_code for each in answer.members], [25, 82, 0, 25, 25])
            self.assertEqual(self.coordinator.describe(group).state, "Empty")

    def test_unknown_group(self) -> None:
        """
        None of its members is known; the answer as a whole is no error.
        """
        request = LeaveGroupRequest(group_id="none", members=[Leaving(member_id="m")])
        answer = self.client.now(request, 5)
        self.assertEqual((answer.error_code, answer.members[0].error_code), (0, 25))

    def test_coordinator_elsewhere(self) -> None:
        """
        That concerns the answer as a whole.
        """
        self.cluster.now(self.coordinator.stop())
        request = LeaveGroupRequest(group_id="g", members=[Leaving(member_id="m")])
        self.failureResultOf(self.client.start(request, 5), errors.NotCoordinator)
        self.assertEqual(self.client.failed(request, 5, 16).error_code, 16)
