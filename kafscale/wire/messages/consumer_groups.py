"""
Groups whose coordinator assigns (KIP-848).
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Int8,
    Int16,
    Int32,
    Nullable,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    field,
)

__all__ = [
    "ConsumerAssignment",
    "ConsumerGroupDescribeRequest",
    "ConsumerGroupDescribeResponse",
    "ConsumerGroupHeartbeatRequest",
    "ConsumerGroupHeartbeatResponse",
]


class ConsumerGroupHeartbeatRequest(Request, key=68, versions="0-1", flexible="0+"):
    """
    All that a member of a KIP-848 group ever says: that it is there, what it wants,
    what it owns. Null means that nothing has changed.
    """

    class TopicPartition(Struct):
        """
        Partitions that the member owns.
        """

        topic_id: Uuid
        partitions: Array[Int32]

    group_id: String
    member_id: String
    # 0: joins; -1: leaves; -2: leaves, but will be back (static).
    member_epoch: Int32
    instance_id: Nullable[String] = None
    rack_id: Nullable[String] = None
    # -1: as said before.
    rebalance_timeout_ms: Int32 = -1
    subscribed_topic_names: Nullable[Array[String]] = None
    subscribed_topic_regex: Nullable[String] = field("1+", default=None)
    server_assignor: Nullable[String] = None
    topic_partitions: Nullable[Array[TopicPartition]] = None


class ConsumerGroupHeartbeatResponse(Response, key=68, versions="0-1", flexible="0+"):
    """
    The member's epoch, and its partitions if they have changed.
    """

    class Assignment(Struct):
        """
        All partitions of the member.
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


class ConsumerGroupDescribeRequest(Request, key=69, versions="0-1", flexible="0+"):
    """
    What KIP-848 groups are doing.
    """

    group_ids: Array[String]
    include_authorized_operations: Boolean


class ConsumerAssignment(Struct):
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


class ConsumerGroupDescribeResponse(Response, key=69, versions="0-1", flexible="0+"):
    """
    The state of KIP-848 groups.
    """

    class Group(Struct):
        """
        One group.
        """

        class Member(Struct):
            """
            A member, what it has and what it is to have.
            """

            member_id: String
            instance_id: Nullable[String] = None
            rack_id: Nullable[String] = None
            member_epoch: Int32
            client_id: String
            client_host: String
            subscribed_topic_names: Array[String]
            subscribed_topic_regex: Nullable[String] = None
            assignment: ConsumerAssignment
            target_assignment: ConsumerAssignment
            # 0: of the classic protocol; 1: of this one; -1: not known.
            member_type: Int8 = field("1+", default=-1)

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
