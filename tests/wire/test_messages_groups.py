"""
Frames of members of classic groups.
"""

from __future__ import annotations

from kafscale.wire.messages import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)

from .canonical import CanonicalTestCase


class JoinGroupTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        The first join has an empty member id.
        """
        frame = bytes.fromhex(
            "000b"  # api key: JoinGroup
            "0005"  # version 5
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "00026731"  # group_id: "g1"
            "00002710"  # session_timeout_ms: 10000
            "0000ea60"  # rebalance_timeout_ms: 60000
            "0000"  # member_id: ""
            "ffff"  # group_instance_id: null
            "0008636f6e73756d6572"  # protocol_type: "consumer"
            "00000001"  # protocols: 1
            "000572616e6765"  # protocol name: "range"
            "00000003616263"  # protocol metadata: b"abc"
        )
        message = JoinGroupRequest(
            group_id="g1",
            session_timeout_ms=10000,
            rebalance_timeout_ms=60000,
            member_id="",
            protocol_type="consumer",
            protocols=[JoinGroupRequest.Protocol(name="range", metadata=b"abc")],
        )
        self.assert_request(frame, 5, message)

    def test_response(self) -> None:
        """
        The response to the leader lists the members.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "00000001"  # generation_id: 1
            "09636f6e73756d6572"  # protocol_type: "consumer"
            "0672616e6765"  # protocol_name: "range"
            "036d31"  # leader: "m1"
            "00"  # skip_assignment: false
            "036d31"  # member_id: "m1"
            "02"  # members: 1
            "036d31"  # member member_id: "m1"
            "00"  # member group_instance_id: null
            "04616263"  # member metadata: b"abc"
            "00"  # end of member: no tagged fields
            "00"  # end: no tagged fields
        )
        message = JoinGroupResponse(
            generation_id=1,
            protocol_type="consumer",
            protocol_name="range",
            leader="m1",
            member_id="m1",
            members=[JoinGroupResponse.Member(member_id="m1", metadata=b"abc")],
        )
        self.assert_response(frame, 9, message)


class SyncGroupTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        The request of the leader brings assignments.
        """
        frame = bytes.fromhex(
            "000e"  # api key: SyncGroup
            "0003"  # version 3
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "00026731"  # group_id: "g1"
            "00000001"  # generation_id: 1
            "00026d31"  # member_id: "m1"
            "ffff"  # group_instance_id: null
            "00000001"  # assignments: 1
            "00026d31"  # assignment member_id: "m1"
            "0000000378797a"  # assignment assignment: b"xyz"
        )
        message = SyncGroupRequest(
            group_id="g1",
            generation_id=1,
            member_id="m1",
            assignments=[SyncGroupRequest.Assignment(member_id="m1", assignment=b"xyz")],
        )
        self.assert_request(frame, 3, message)

    def test_response(self) -> None:
        """
        The response has the assignment of the member.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "09636f6e73756d6572"  # protocol_type: "consumer"
            "0672616e6765"  # protocol_name: "range"
            "0478797a"  # assignment: b"xyz"
            "00"  # end: no tagged fields
        )
        message = SyncGroupResponse(
            protocol_type="consumer", protocol_name="range", assignment=b"xyz"
        )
        self.assert_response(frame, 5, message)


class HeartbeatTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A heartbeat of a static member.
        """
        frame = bytes.fromhex(
            "000c"  # api key: Heartbeat
            "0004"  # version 4
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "036731"  # group_id: "g1"
            "00000001"  # generation_id: 1
            "036d31"  # member_id: "m1"
            "036931"  # group_instance_id: "i1"
            "00"  # end: no tagged fields
        )
        message = HeartbeatRequest(
            group_id="g1", generation_id=1, member_id="m1", group_instance_id="i1"
        )
        self.assert_request(frame, 4, message)

    def test_response(self) -> None:
        """
        A response that makes the member join again.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "001b"  # error_code: 27
        )
        message = HeartbeatResponse(error_code=27)
        self.assert_response(frame, 0, message)


class LeaveGroupTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        From version 3 on a request names several members.
        """
        frame = bytes.fromhex(
            "000d"  # api key: LeaveGroup
            "0003"  # version 3
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "00026731"  # group_id: "g1"
            "00000001"  # members: 1
            "00026d31"  # member member_id: "m1"
            "ffff"  # member group_instance_id: null
        )
        message = LeaveGroupRequest(
            group_id="g1", members=[LeaveGroupRequest.Member(member_id="m1")]
        )
        self.assert_request(frame, 3, message)

    def test_response(self) -> None:
        """
        The response has a result for each member.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "02"  # members: 1
            "036d31"  # member member_id: "m1"
            "00"  # member group_instance_id: null
            "0000"  # member error_code: 0
            "00"  # end of member: no tagged fields
            "00"  # end: no tagged fields
        )
        message = LeaveGroupResponse(
            members=[LeaveGroupResponse.Member(member_id="m1", group_instance_id=None)]
        )
        self.assert_response(frame, 4, message)
