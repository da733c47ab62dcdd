"""
Groups by the classic protocol: members join, a leader among them assigns.
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Bytes,
    Int8,
    Int16,
    Int32,
    Nullable,
    Request,
    Response,
    String,
    Struct,
    field,
)

__all__ = [
    "FindCoordinatorRequest",
    "FindCoordinatorResponse",
    "HeartbeatRequest",
    "HeartbeatResponse",
    "JoinGroupRequest",
    "JoinGroupResponse",
    "LeaveGroupRequest",
    "LeaveGroupResponse",
    "SyncGroupRequest",
    "SyncGroupResponse",
]


class FindCoordinatorRequest(Request, key=10, versions="0-6", flexible="3+"):
    """
    Which broker coordinates a group or a transactional id; from version 4 on, many at
    once (KIP-699).
    """

    key: String = field("0-3", default="")
    # 0: group; 1: transactional id; 2: share group.
    key_type: Int8 = field("1+", default=0)
    coordinator_keys: Array[String] = field("4+", factory=list)


class FindCoordinatorResponse(Response, key=10, versions="0-6", flexible="3+"):
    """
    The coordinators. Up to version 3 there is one, in the message itself.
    """

    class Coordinator(Struct):
        """
        The coordinator of one key, or an error.
        """

        key: String
        node_id: Int32
        host: String
        port: Int32
        error_code: Int16 = 0
        error_message: Nullable[String] = None

    throttle_time_ms: Int32 = field("1+", default=0)
    error_code: Int16 = field("0-3", default=0)
    error_message: Nullable[String] = field("1-3", default=None)
    node_id: Int32 = field("0-3", default=0)
    host: String = field("0-3", default="")
    port: Int32 = field("0-3", default=0)
    coordinators: Array[Coordinator] = field("4+", factory=list)


class JoinGroupRequest(Request, key=11, versions="0-9", flexible="6+"):
    """
    Take part in a group's next generation.
    """

    class Protocol(Struct):
        """
        A way of assigning that the member can use, the most wanted first.
        """

        name: String
        metadata: Bytes

    group_id: String
    # How long the member may be silent.
    session_timeout_ms: Int32
    # How long it may take to join again.
    rebalance_timeout_ms: Int32 = field("1+", default=-1)
    # Empty at first.
    member_id: String
    # Makes the member static (KIP-345).
    group_instance_id: Nullable[String] = field("5+", default=None)
    # "consumer", "connect" and so on; only members of one type go together.
    protocol_type: String
    protocols: Array[Protocol]
    reason: Nullable[String] = field("8+", default=None)


class JoinGroupResponse(Response, key=11, versions="0-9", flexible="6+"):
    """
    The generation that was formed. Only its leader is told of the members.
    """

    class Member(Struct):
        """
        What a member said of itself under the protocol that was chosen.
        """

        member_id: String
        group_instance_id: Nullable[String] = field("5+", default=None)
        metadata: Bytes

    throttle_time_ms: Int32 = field("2+", default=0)
    error_code: Int16 = 0
    generation_id: Int32 = -1
    protocol_type: Nullable[String] = field("7+", default=None)
    protocol_name: Nullable[String] = field(nullable="7+")
    leader: String = ""
    # The leader need not assign: nothing has changed (KIP-814).
    skip_assignment: Boolean = field("9+", default=False)
    member_id: String = ""
    members: Array[Member] = field(factory=list)


class HeartbeatRequest(Request, key=12, versions="0-4", flexible="4+"):
    """
    The member is still there.
    """

    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: Nullable[String] = field("3+", default=None)


class HeartbeatResponse(Response, key=12, versions="0-4", flexible="4+"):
    """
    Whether the member may go on, or must join again.
    """

    throttle_time_ms: Int32 = field("1+", default=0)
    error_code: Int16 = 0


class LeaveGroupRequest(Request, key=13, versions="0-5", flexible="4+"):
    """
    Members leave; from version 3 on, several at once.
    """

    class Member(Struct):
        """
        A member that leaves.
        """

        member_id: String
        group_instance_id: Nullable[String] = None
        reason: Nullable[String] = field("5+", default=None)

    group_id: String
    member_id: String = field("0-2", default="")
    members: Array[Member] = field("3+", factory=list)


class LeaveGroupResponse(Response, key=13, versions="0-5", flexible="4+"):
    """
    Whether they have left.
    """

    class Member(Struct):
        """
        The outcome for one member.
        """

        member_id: String
        group_instance_id: Nullable[String]
        error_code: Int16 = 0

    throttle_time_ms: Int32 = field("1+", default=0)
    error_code: Int16 = 0
    members: Array[Member] = field("3+", factory=list)


class SyncGroupRequest(Request, key=14, versions="0-5", flexible="4+"):
    """
    Ask for one's part of the work; the leader brings the parts of all.
    """

    class Assignment(Struct):
        """
        The part of one member. The coordinator passes it on unread.
        """

        member_id: String
        assignment: Bytes

    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: Nullable[String] = field("3+", default=None)
    protocol_type: Nullable[String] = field("5+", default=None)
    protocol_name: Nullable[String] = field("5+", default=None)
    assignments: Array[Assignment]


class SyncGroupResponse(Response, key=14, versions="0-5", flexible="4+"):
    """
    The member's part of the work.
    """

    throttle_time_ms: Int32 = field("1+", default=0)
    error_code: Int16 = 0
    protocol_type: Nullable[String] = field("5+", default=None)
    protocol_name: Nullable[String] = field("5+", default=None)
    assignment: Bytes = b""
