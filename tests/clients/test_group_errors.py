"""
The errors that a real broker returns to members of a group.
"""

from __future__ import annotations

import struct
import time
from typing import Any

from kafscale.wire.headers import request_header
from kafscale.wire.messages import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
)
from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.raw import RawClient

NONE = 0
OFFSET_METADATA_TOO_LARGE = 12
NOT_COORDINATOR = 16
ILLEGAL_GENERATION = 22
INCONSISTENT_GROUP_PROTOCOL = 23
INVALID_GROUP_ID = 24
UNKNOWN_MEMBER_ID = 25
REBALANCE_IN_PROGRESS = 27
FENCED_INSTANCE_ID = 82


def joining(group: str = "g", **changes: Any) -> JoinGroupRequest:
    """
    Return a JoinGroup request of a new member.
    """
    usual = {
        "group_id": group,
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 10_000,
        "member_id": "",
        "protocol_type": "consumer",
        "protocols": [JoinGroupRequest.Protocol(name="range", metadata=b"")],
    }
    return JoinGroupRequest(**{**usual, **changes})


def beat(joined: Any, **changes: Any) -> HeartbeatRequest:
    """
    Return a Heartbeat request of a member that has joined.
    """
    usual = {
        "group_id": "g",
        "generation_id": joined.generation_id,
        "member_id": joined.member_id,
    }
    return HeartbeatRequest(**{**usual, **changes})


def sync(joined: Any, **changes: Any) -> SyncGroupRequest:
    """
    Return a SyncGroup request of a member that has joined.
    """
    part = SyncGroupRequest.Assignment(member_id=joined.member_id, assignment=b"part")
    usual = {
        "group_id": "g",
        "generation_id": joined.generation_id,
        "member_id": joined.member_id,
        "protocol_type": "consumer",
        "protocol_name": "range",
        "assignments": [part],
    }
    return SyncGroupRequest(**{**usual, **changes})


def commit(joined: Any | None, note: str | None = None, group: str = "g") -> OffsetCommitRequest:
    """
    Return an OffsetCommit request for offset 5 of partition 0.

    @param joined: The member's answer to JoinGroup; None for a client that is
        in no generation.
    """
    kind = OffsetCommitRequest.Topic
    partition = kind.Partition(partition_index=0, committed_offset=5, committed_metadata=note)
    return OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=joined.generation_id if joined else -1,
        member_id=joined.member_id if joined else "",
        topics=[kind(name="t", partitions=[partition])],
    )


class GroupErrorTests(BrokerTestCase):
    """
    The right code for each.
    """

    def setUp(self) -> None:
        """
        A group of one member, which is static, and stable.
        """
        super().setUp()
        self.subject = self.broker(group_initial_rebalance_delay_ms=0)
        self.client = self.connect(self.subject)
        self.client.create("t")
        self.member = self.client.call(joining(group_instance_id="i"), 9)
        self.assertEqual(self.client.call(sync(self.member), 5).error_code, NONE)

    def committed(self, request: OffsetCommitRequest) -> int:
        """
        The code that a commit is answered with.
        """
        ((partition,),) = [topic.partitions for topic in self.client.call(request, 9).topics]
        code: int = partition.error_code
        return code

    def test_wrong_generation(self) -> None:
        """
        ILLEGAL_GENERATION, to a heartbeat, a sync and a commit.
        """
        self.assertEqual(self.client.call(beat(self.member), 4).error_code, NONE)
        self.member.generation_id = 7
        self.assertEqual(self.client.call(beat(self.member), 4).error_code, ILLEGAL_GENERATION)
        self.assertEqual(self.client.call(sync(self.member), 5).error_code, ILLEGAL_GENERATION)
        self.assertEqual(self.committed(commit(self.member)), ILLEGAL_GENERATION)

    def test_unknown_member(self) -> None:
        """
        UNKNOWN_MEMBER_ID, to everything.
        """
        joined = self.client.call(joining(member_id="stranger"), 9)
        self.assertEqual(joined.error_code, UNKNOWN_MEMBER_ID)
        self.member.member_id = "stranger"
        self.assertEqual(self.client.call(beat(self.member), 4).error_code, UNKNOWN_MEMBER_ID)
        self.assertEqual(self.client.call(sync(self.member), 5).error_code, UNKNOWN_MEMBER_ID)
        self.assertEqual(self.committed(commit(self.member)), UNKNOWN_MEMBER_ID)

    def test_duplicate_static_member(self) -> None:
        """
        The newer member takes the place of the older one, which gets
        FENCED_INSTANCE_ID.
        """
        newer = self.client.call(joining(group_instance_id="i"), 9)
        self.assertEqual((newer.error_code, newer.generation_id), (NONE, 1))
        asked = beat(self.member, group_instance_id="i")
        self.assertEqual(self.client.call(asked, 4).error_code, FENCED_INSTANCE_ID)
        asked = beat(newer, group_instance_id="i")
        self.assertEqual(self.client.call(asked, 4).error_code, NONE)

    def test_mismatched_protocols(self) -> None:
        """
        INCONSISTENT_GROUP_PROTOCOL, for another type and for no protocol in
        common; the group goes on.
        """
        other = [JoinGroupRequest.Protocol(name="other", metadata=b"")]
        wrong: list[dict[str, Any]] = [
            {"protocol_type": "connect"},
            {"protocols": other},
            {"protocols": []},
        ]
        for changes in wrong:
            joined = self.client.call(joining(**changes), 3)
            self.assertEqual(joined.error_code, INCONSISTENT_GROUP_PROTOCOL)
        self.assertEqual(self.client.call(beat(self.member), 4).error_code, NONE)

    def test_commit_after_leaving(self) -> None:
        """
        UNKNOWN_MEMBER_ID; but without a generation anybody may, in the group
        that is empty now.
        """
        leaving = LeaveGroupRequest.Member(member_id=self.member.member_id)
        answer = self.client.call(LeaveGroupRequest(group_id="g", members=[leaving]), 5)
        self.assertEqual((answer.error_code, answer.members[0].error_code), (NONE, NONE))
        self.assertEqual(self.committed(commit(self.member)), UNKNOWN_MEMBER_ID)
        self.assertEqual(self.committed(commit(None)), NONE)

    def test_large_metadata(self) -> None:
        """
        A megabyte is too much, and 4096 bytes are not.
        """
        self.assertEqual(
            self.committed(commit(self.member, "x" * 1_000_000)), OFFSET_METADATA_TOO_LARGE
        )
        self.assertEqual(self.committed(commit(self.member, "x" * 4096)), NONE)

    def test_large_member_metadata(self) -> None:
        """
        The broker does not interpret the metadata of members: a megabyte of it
        is passed on, and kept over a restart.
        """
        large = b"\xff" * 1_000_000
        offered = JoinGroupRequest.Protocol(name="large", metadata=large)
        joined = self.client.call(joining("h", group_instance_id="j", protocols=[offered]), 9)
        self.assertEqual((joined.error_code, joined.members[0].metadata), (NONE, large))
        part = SyncGroupRequest.Assignment(member_id=joined.member_id, assignment=large)
        request = sync(joined, group_id="h", protocol_name="large", assignments=[part])
        synced = self.client.call(request, 5)
        self.assertEqual((synced.error_code, synced.assignment), (NONE, large))
        self.subject.restart()
        self.client = self.connect(self.subject)
        (described,) = self.client.call(DescribeGroupsRequest(groups=["h"]), 5).groups
        (member,) = described.members
        self.assertEqual((member.member_metadata, member.member_assignment), (large, large))

    def test_odd_names(self) -> None:
        """
        Any text is a group's name, over a restart too; bytes that are no text
        are refused, and leave nothing behind.
        """
        names = ["", "a/b", "..", "\x00", "a b\n", "gr\u00fc\u00dfe \U0001f980", "x" * 32_767]
        for name in names:
            self.assertEqual(self.committed(commit(None, group=name)), NONE)
        no_text = struct.pack(">h3s", 3, b"g\xff\xfe")
        commit_5 = struct.pack(">ih1siiqh", 1, 1, b"t", 1, 0, 5, -1)
        for key, version, body, at in (
            (OffsetFetchRequest.key, 2, no_text + struct.pack(">i", 0), 4),
            (OffsetCommitRequest.key, 0, no_text + commit_5, 15),
            (FindCoordinatorRequest.key, 0, no_text, 0),
            (HeartbeatRequest.key, 0, no_text + struct.pack(">ih", 1, 0), 0),
            (DescribeGroupsRequest.key, 0, struct.pack(">i", 1) + no_text, 4),
            (DeleteGroupsRequest.key, 0, struct.pack(">i", 1) + no_text, 17),
        ):
            head = request_header(key, version, 1, "raw")
            self.client.socket.sendall(struct.pack(">i", len(head + body)) + head + body)
            answer = bytes(self.client.receive_frame())[4:]
            (code,) = struct.unpack_from(">h", answer, at)
            self.assertEqual(code, INVALID_GROUP_ID, (key, answer))
        self.subject.restart()
        self.client = self.connect(self.subject)
        listed = self.client.call(ListGroupsRequest(), 5)
        self.assertEqual([each.group_id for each in listed.groups], sorted([*names, "g"]))

    def test_stop_with_members_that_wait(self) -> None:
        """
        A member that waits for a rebalance when the broker stops is answered
        NOT_COORDINATOR, and the stop does not wait for the rebalance.
        """
        waiting = RawClient(self.subject.port)
        self.addCleanup(waiting.close)
        request = joining(session_timeout_ms=600_000, rebalance_timeout_ms=600_000)
        sent = waiting.send(request, 3)
        eventually(
            lambda: self.client.call(beat(self.member), 4).error_code == REBALANCE_IN_PROGRESS
        )
        begun = time.monotonic()
        self.assertEqual(self.subject.terminate(), 0)
        self.assertLess(time.monotonic() - begun, 5)
        self.assertEqual(waiting.receive(request, 3, sent).error_code, NOT_COORDINATOR)
