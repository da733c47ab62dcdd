"""
DescribeGroups, ListGroups and DeleteGroups.
"""

from __future__ import annotations

from typing import Any

from kafscale import errors
from kafscale.format.offset import CommittedOffset
from kafscale.interfaces import MemberIdentity
from kafscale.wire.messages import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    ListGroupsRequest,
)
from tests.services.grouped import GroupedCase

NOT_ASKED = -(2**31)


class AdminCase(GroupedCase):
    """
    A stable group C{g}, and an empty one, C{simple}, with a committed offset.
    """

    def setUp(self) -> None:
        """
        Create both groups.
        """
        super().setUp()
        self.member = self.stable()
        where = (self.a.topic_id, 0)
        self.cluster.now(
            self.coordinator.commit_offsets("simple", MemberIdentity(), {where: CommittedOffset(5)})
        )


class DescribeTests(AdminCase):
    """
    DescribeGroups.
    """

    def describe(self, *names: str, version: int = 6, operations: bool = False) -> Any:
        """
        The groups of a response.
        """
        request = DescribeGroupsRequest(
            groups=list(names), include_authorized_operations=operations
        )
        return self.client.now(request, version).groups

    def test_every_version(self) -> None:
        """
        State, protocol, and members with metadata and assignment.
        """
        for version in self.client.versions(DescribeGroupsRequest):
            group, empty = self.describe("g", "simple", version=version)
            self.assertEqual((group.error_code, group.group_state), (0, "Stable"))
            self.assertEqual((group.protocol_type, group.protocol_data), ("consumer", "range"))
            (member,) = group.members
            self.assertEqual(member.member_id, self.member.member_id)
            self.assertEqual(member.member_metadata, b"wishes")
            self.assertEqual(member.member_assignment, b"part")
            self.assertEqual((member.client_id, member.client_host), ("test", "/127.0.0.1"))
            self.assertEqual((empty.error_code, empty.group_state, empty.members), (0, "Empty", []))

    def test_unknown(self) -> None:
        """
        An unknown group is Dead without error up to version 5, and
        GROUP_ID_NOT_FOUND from 6 on.
        """
        for version in self.client.versions(DescribeGroupsRequest):
            (group,) = self.describe("none", version=version, operations=True)
            self.assertEqual((group.group_state, group.members), ("Dead", []))
            self.assertEqual(group.error_code, 69 if version >= 6 else 0)
            self.assertEqual(group.error_message is not None, version >= 6)

    def test_operations(self) -> None:
        """
        On request the authorized operations: read, delete, describe, and those
        on its configuration.
        """
        (group,) = self.describe("g", operations=True)
        self.assertEqual(group.authorized_operations, sum(1 << n for n in (3, 6, 8, 10, 11)))
        (group,) = self.describe("g")
        self.assertEqual(group.authorized_operations, NOT_ASKED)

    def test_static(self) -> None:
        """
        From version 4 on the instance id is in the response.
        """
        self.joined(5, group_id="s", group_instance_id="i")
        for version in self.client.versions(DescribeGroupsRequest):
            (group,) = self.describe("s", version=version)
            self.assertEqual(group.members[0].group_instance_id, "i" if version >= 4 else None)

    def test_other_coordinator(self) -> None:
        """
        If another broker coordinates them, each group has the error.
        """
        self.cluster.now(self.coordinator.stop())
        groups = self.describe("g", "none")
        self.assertEqual([(g.error_code, g.group_state) for g in groups], [(16, ""), (16, "")])
        request = DescribeGroupsRequest(groups=["g", "h"])
        failed = self.client.failed(request, 6, 16).groups
        self.assertEqual([(g.group_id, g.error_code) for g in failed], [("g", 16), ("h", 16)])


class ListTests(AdminCase):
    """
    ListGroups.
    """

    def names(self, version: int = 5, **fields: Any) -> list[str]:
        """
        The names of the groups in a response.
        """
        answer = self.client.now(ListGroupsRequest(**fields), version)
        self.assertEqual(answer.error_code, 0)
        return [group.group_id for group in answer.groups]

    def test_every_version(self) -> None:
        """
        States from version 4 on, types from 5 on.
        """
        for version in self.client.versions(ListGroupsRequest):
            answer = self.client.now(ListGroupsRequest(), version)
            told = [
                (each.group_id, each.protocol_type, each.group_state, each.group_type)
                for each in answer.groups
            ]
            states = ("Stable", "Empty") if version >= 4 else ("", "")
            kind = "classic" if version >= 5 else ""
            self.assertEqual(
                told, [("g", "consumer", states[0], kind), ("simple", "", states[1], kind)]
            )

    def test_by_state(self) -> None:
        """
        The case of a state does not matter. An unknown state matches nothing.
        """
        self.assertEqual(self.names(states_filter=["stable"]), ["g"])
        self.assertEqual(self.names(states_filter=["Empty", "Dead"]), ["simple"])
        self.assertEqual(self.names(states_filter=["none"]), [])

    def test_by_type(self) -> None:
        """
        All groups are classic.
        """
        self.assertEqual(self.names(types_filter=["Classic"]), ["g", "simple"])
        self.assertEqual(self.names(types_filter=["consumer", "share"]), [])
        self.assertEqual(self.names(types_filter=["consumer", "classic"]), ["g", "simple"])

    def test_other_coordinator(self) -> None:
        """
        While groups are loaded the response has an error.
        """
        self.cluster.now(self.coordinator.stop())
        asked = self.client.start(ListGroupsRequest(), 5)
        self.failureResultOf(asked, errors.NotCoordinator)
        failed = self.client.failed(ListGroupsRequest(), 5, 16)
        self.assertEqual((failed.error_code, failed.groups), (16, []))


class DeleteTests(AdminCase):
    """
    DeleteGroups.
    """

    def test_every_version(self) -> None:
        """
        Each group has a result of its own: one with members stays, and an
        unknown one, or one that was just deleted, has an error.
        """
        where = (self.a.topic_id, 0)
        for version in self.client.versions(DeleteGroupsRequest):
            self.cluster.now(
                self.coordinator.commit_offsets(
                    "simple", MemberIdentity(), {where: CommittedOffset(5)}
                )
            )
            request = DeleteGroupsRequest(groups_names=["g", "simple", "none", "simple"])
            answer = self.client.now(request, version)
            self.assertEqual(
                [(each.group_id, each.error_code) for each in answer.results],
                [("g", 68), ("simple", 0), ("none", 69), ("simple", 69)],
            )
            messages = [each.error_message for each in answer.results]
            self.assertEqual(
                [message is not None for message in messages],
                [version >= 3 and each.error_code != 0 for each in answer.results],
            )
            self.assertEqual([g.name for g in self.coordinator.groups()], ["g"])

    def test_failed(self) -> None:
        """
        The error is with each group.
        """
        request = DeleteGroupsRequest(groups_names=["a", "b"])
        answer = self.client.failed(request, 2, 15)
        self.assertEqual([each.error_code for each in answer.results], [15, 15])
