"""
The services of groups, with a coordinator and a cluster in memory.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kafscale.group.coordinator import GroupCoordinator
from kafscale.group.settings import GroupSettings
from kafscale.services.groups.describe_groups import DescribeGroupsService
from kafscale.services.groups.join_group import JoinGroupService
from kafscale.services.groups.offset_commit import OffsetCommitService
from kafscale.wire.messages import JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest
from tests.cluster.small import SmallCluster
from tests.group.members import load
from tests.services.client import ServiceClient


class GroupedCase(SynchronousTestCase):
    """
    The topics C{a}, with two partitions, and C{b}, with one, and a group C{g}
    without members. Rounds do not wait for more members.
    """

    def setUp(self) -> None:
        """
        Create the cluster, the coordinator and the services.
        """
        self.cluster = SmallCluster(self)
        self.clock = self.cluster.clock
        self.a = self.cluster.now(self.cluster.topics.create("a", 2, {}))
        self.b = self.cluster.now(self.cluster.topics.create("b", 1, {}))
        ids = count(1)
        self.coordinator = GroupCoordinator(
            self.cluster.store,
            self.cluster.image,
            self.clock,
            GroupSettings(initial_delay=0.0),
            lambda: str(next(ids)),
        )
        self.cluster.now(load(self.coordinator, 100))
        self.cluster.image.on_topic_deleted(self.coordinator.topic_deleted)
        self.addCleanup(lambda: self.cluster.now(self.coordinator.stop()))
        services = [
            JoinGroupService(self.coordinator),
            OffsetCommitService(self.cluster.image, self.coordinator, self.clock, 4096),
            DescribeGroupsService(self.coordinator),
        ]
        self.client = ServiceClient(self, *services)

    def join_request(self, **changes: Any) -> JoinGroupRequest:
        """
        A JoinGroup for C{g}.
        """
        protocol = JoinGroupRequest.Protocol(name="range", metadata=b"wishes")
        usual = {
            "group_id": "g",
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 20_000,
            "member_id": "",
            "protocol_type": "consumer",
            "protocols": [protocol],
        }
        return JoinGroupRequest(**{**usual, **changes})

    def joined(self, version: int = 3, **changes: Any) -> Any:
        """
        The response to the first member that joins.
        """
        answer = self.client.start(self.join_request(**changes), version)
        self.clock.advance(0)
        return self.successResultOf(answer)

    def stable(self, **changes: Any) -> Any:
        """
        The response to the JoinGroup of the only member of a stable group,
        whose assignment is C{part}.
        """
        joined = self.joined(**changes)
        synced = self.client.now(self.sync_request(joined, b"part", **changes), 3)
        self.assertEqual((synced.error_code, synced.assignment), (0, b"part"))
        return joined

    def sync_request(self, joined: Any, part: bytes = b"", **changes: Any) -> SyncGroupRequest:
        """
        The SyncGroup of the only member, which assigns C{part} to itself.
        """
        assignment = SyncGroupRequest.Assignment(member_id=joined.member_id, assignment=part)
        return SyncGroupRequest(
            group_id=changes.get("group_id", "g"),
            generation_id=joined.generation_id,
            member_id=joined.member_id,
            assignments=[assignment],
        )

    def leave(self, joined: Any) -> None:
        """
        Let a member leave.
        """
        request = LeaveGroupRequest(group_id="g", member_id=joined.member_id, members=[])
        self.assertEqual(self.client.now(request, 0).error_code, 0)
