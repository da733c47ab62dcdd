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
    JoinGroup.
    """

    def test_every_version(self) -> None:
        """
        The only member leads. From version 7 on the response has the protocol
        type.
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

    def test_member_id(self) -> None:
        """
        A member id begins with the client id, to be readable.
        """
        self.assertEqual(self.joined().member_id, "test-1")

    def test_described(self) -> None:
        """
        The id and address of the client are in its description.
        """
        self.stable()
        (member,) = self.coordinator.describe("g").members
        self.assertEqual((member.client_id, member.client_host), ("test", "/127.0.0.1"))

    def test_version_0(self) -> None:
        """
        Version 0 has one timeout for both session and rebalance.
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
        A static member joins at once, and its id begins with its instance id.
        """
        answer = self.joined(9, group_instance_id="i")
        (member,) = answer.members
        self.assertEqual((answer.error_code, member.group_instance_id), (0, "i"))

    def test_leader_may_skip(self) -> None:
        """
        From version 9 on a static leader that restarts may skip the assignment.
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
        Each error has its code, with the member id of the request.
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
    SyncGroup.
    """

    def request(self, joined: Any, **changes: Any) -> SyncGroupRequest:
        """
        The request of a new client, with all fields.
        """
        request = self.sync_request(joined, b"part")
        request.protocol_type = changes.get("protocol_type", "consumer")
        request.protocol_name = changes.get("protocol_name", "range")
        return request

    def test_every_version(self) -> None:
        """
        From version 5 on the response has protocol type and protocol.
        """
        joined = self.joined()
        for version in self.client.versions(SyncGroupRequest):
            answer = self.client.now(self.request(joined), version)
            self.assertEqual((answer.error_code, answer.assignment), (0, b"part"))
            told = ("consumer", "range") if version >= 5 else (None, None)
            self.assertEqual((answer.protocol_type, answer.protocol_name), told)

    def test_protocol_is_required(self) -> None:
        """
        From version 5 on the request must have protocol type and protocol.
        """
        joined = self.joined()
        for changes in ({"protocol_type": None}, {"protocol_name": None}, {"protocol_name": "x"}):
            asked = self.client.start(self.request(joined, **changes), 5)
            self.failureResultOf(asked, errors.InconsistentGroupProtocol)

    def test_refused(self) -> None:
        """
        An unknown member, and one of another generation, are refused.
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
    Heartbeat.
    """

    def test_every_version(self) -> None:
        """
        No error for a member, and the code of the error otherwise.
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
        A static member that was replaced is fenced (version 3).
        """
        old = self.joined(5, group_instance_id="i")
        self.joined(5, group_instance_id="i")
        request = HeartbeatRequest(
            group_id="g", generation_id=1, member_id=old.member_id, group_instance_id="i"
        )
        self.failureResultOf(self.client.start(request, 3), errors.FencedInstanceId)


class LoadingTests(GroupedCase):
    """
    The coordinator is loading the group.
    """

    def setUp(self) -> None:
        """
        Every request to the coordinator raises that.
        """
        super().setUp()
        self.member = self.stable()

        def refuse(*_: object) -> None:
            raise errors.CoordinatorLoadInProgress

        self.patch(self.coordinator, "heartbeat", refuse)

    def test_heartbeat(self) -> None:
        """
        A heartbeat succeeds: aiokafka gives up after an error.
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
        SyncGroup is answered REBALANCE_IN_PROGRESS.
        """
        code = errors.CoordinatorLoadInProgress.code
        for version in self.client.versions(SyncGroupRequest):
            failed = self.client.failed(self.sync_request(self.member, b""), version, code)
            self.assertEqual(failed.error_code, errors.RebalanceInProgress.code)


class LeaveTests(GroupedCase):
    """
    LeaveGroup.
    """

    def test_old_versions(self) -> None:
        """
        Before version 3 one member leaves.
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
        From version 3 on several members leave at once, static ones by their
        instance ids, each with an error of its own.
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
        In an unknown group each member has an error, and the response has none.
        """
        request = LeaveGroupRequest(group_id="none", members=[Leaving(member_id="m")])
        answer = self.client.now(request, 5)
        self.assertEqual((answer.error_code, answer.members[0].error_code), (0, 25))

    def test_coordinator_elsewhere(self) -> None:
        """
        If another broker coordinates the group, the response has the error.
        """
        self.cluster.now(self.coordinator.stop())
        request = LeaveGroupRequest(group_id="g", members=[Leaving(member_id="m")])
        self.failureResultOf(self.client.start(request, 5), errors.NotCoordinator)
        self.assertEqual(self.client.failed(request, 5, 16).error_code, 16)
