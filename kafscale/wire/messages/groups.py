"""
Groups of the classic protocol: members join, a leader among them assigns.
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Bytes,
    GroupName,
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
    Asks for the broker that coordinates a group or a transactional id. From version 4 on
    a request can name several (KIP-699).
    """

    key: GroupName = field("0-3", default="")
    # 0: group; 1: transactional id; 2: share group.
    key_type: Int8 = field("1+", default=0)
    coordinator_keys: Array[GroupName] = field("4+", factory=list)


class FindCoordinatorResponse(Response, key=10, versions="0-6", flexible="3+"):
    """
    The coordinators. Versions 0 to 3 have one, in fields of the message itself.
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
    Joins the next generation of a group.
    """

    class Protocol(Struct):
        """
        An assignment protocol that the member supports, in order of preference.
        """

        name: String
        metadata: Bytes

    group_id: GroupName
    # Time without a heartbeat after which the member is removed.
    session_timeout_ms: Int32
    # Time to rejoin when the group rebalances.
    rebalance_timeout_ms: Int32 = field("1+", default=-1)
    # Empty at the first join.
    member_id: String
    # Makes the member static (KIP-345).
    group_instance_id: Nullable[String] = field("5+", default=None)
    # "consumer", "connect" and so on; all members of a group have the same type.
    protocol_type: String
    protocols: Array[Protocol]
    reason: Nullable[String] = field("8+", default=None)


class JoinGroupResponse(Response, key=11, versions="0-9", flexible="6+"):
    """
    The generation that was formed. Only the leader's response lists the members.
    """

    class Member(Struct):
        """
        A member and its metadata for the chosen protocol.
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
    # True: the leader need not assign, nothing has changed (KIP-814).
    skip_assignment: Boolean = field("9+", default=False)
    member_id: String = ""
    members: Array[Member] = field(factory=list)


class HeartbeatRequest(Request, key=12, versions="0-4", flexible="4+"):
    """
    Keeps a member in its group.
    """

    group_id: GroupName
    generation_id: Int32
    member_id: String
    group_instance_id: Nullable[String] = field("3+", default=None)


class HeartbeatResponse(Response, key=12, versions="0-4", flexible="4+"):
    """
    An error, e.g. REBALANCE_IN_PROGRESS, if the member must join again.
    """

    throttle_time_ms: Int32 = field("1+", default=0)
    error_code: Int16 = 0


class LeaveGroupRequest(Request, key=13, versions="0-5", flexible="4+"):
    """
    Removes members from a group; from version 3 on several at once (KIP-345).
    """

    class Member(Struct):
        """
        One member to remove.
        """

        member_id: String
        group_instance_id: Nullable[String] = None
        reason: Nullable[String] = field("5+", default=None)

    group_id: GroupName
    member_id: String = field("0-2", default="")
    members: Array[Member] = field("3+", factory=list)


class LeaveGroupResponse(Response, key=13, versions="0-5", flexible="4+"):
    """
    The outcome, and from version 3 on that of each member.
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
    Asks for the member's assignment. The leader's request brings the assignments of all
    members.
    """

    class Assignment(Struct):
        """
        The assignment of one member, which is opaque to the coordinator.
        """

        member_id: String
        assignment: Bytes

    group_id: GroupName
    generation_id: Int32
    member_id: String
    group_instance_id: Nullable[String] = field("3+", default=None)
    protocol_type: Nullable[String] = field("5+", default=None)
    protocol_name: Nullable[String] = field("5+", default=None)
    assignments: Array[Assignment]


class SyncGroupResponse(Response, key=14, versions="0-5", flexible="4+"):
    """
    The assignment of the member.
    """

    throttle_time_ms: Int32 = field("1+", default=0)
    error_code: Int16 = 0
    protocol_type: Nullable[String] = field("5+", default=None)
    protocol_name: Nullable[String] = field("5+", default=None)
    assignment: Bytes = b""
