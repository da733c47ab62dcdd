"""
Membership in share groups (KIP-932).
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Int16,
    Int32,
    Nullable,
    Request,
    Response,
    String,
    Struct,
    Uuid,
)

__all__ = [
    "ShareGroupDescribeRequest",
    "ShareGroupDescribeResponse",
    "ShareGroupHeartbeatRequest",
    "ShareGroupHeartbeatResponse",
]


class ShareGroupHeartbeatRequest(Request, key=76, versions="0-1", flexible="0+"):
    """
    The only request by which members of a share group join, heartbeat and leave.
    """

    group_id: String
    member_id: String
    # 0: join; -1: leave.
    member_epoch: Int32
    rack_id: Nullable[String] = None
    subscribed_topic_names: Nullable[Array[String]] = None


class ShareGroupHeartbeatResponse(Response, key=76, versions="0-1", flexible="0+"):
    """
    The epoch of the member, and its assignment if that has changed.
    """

    class Assignment(Struct):
        """
        All partitions of the member. Other members may have the same ones.
        """

        class TopicPartition(Struct):
            """
            Partitions of one topic.
            """

            topic_id: Uuid
            partitions: Array[Int32]

        topic_partitions: Array[TopicPartition]

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    member_id: Nullable[String] = None
    member_epoch: Int32
    heartbeat_interval_ms: Int32
    assignment: Nullable[Assignment] = None


class ShareGroupDescribeRequest(Request, key=77, versions="0-1", flexible="0+"):
    """
    Asks for the state of share groups.
    """

    group_ids: Array[String]
    include_authorized_operations: Boolean


class ShareGroupDescribeResponse(Response, key=77, versions="0-1", flexible="0+"):
    """
    The state of share groups.
    """

    class Group(Struct):
        """
        One group.
        """

        class Member(Struct):
            """
            A member, and its partitions.
            """

            class Assignment(Struct):
                """
                Partitions of a member.
                """

                class TopicPartition(Struct):
                    """
                    Partitions of one topic.
                    """

                    topic_id: Uuid
                    topic_name: String
                    partitions: Array[Int32]

                topic_partitions: Array[TopicPartition]

            member_id: String
            rack_id: Nullable[String] = None
            member_epoch: Int32
            client_id: String
            client_host: String
            subscribed_topic_names: Array[String]
            assignment: Assignment

        error_code: Int16 = 0
        error_message: Nullable[String] = None
        group_id: String
        group_state: String
        group_epoch: Int32
        assignment_epoch: Int32
        assignor_name: String
        members: Array[Member]
        authorized_operations: Int32 = -2147483648

    throttle_time_ms: Int32 = 0
    groups: Array[Group]
