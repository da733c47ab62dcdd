"""
Committed offsets of groups.
"""

from kafscale.wire.schema import (
    NO_UUID,
    Array,
    Boolean,
    GroupName,
    Int16,
    Int32,
    Int64,
    Nullable,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    field,
)

__all__ = [
    "OffsetCommitRequest",
    "OffsetCommitResponse",
    "OffsetDeleteRequest",
    "OffsetDeleteResponse",
    "OffsetFetchRequest",
    "OffsetFetchResponse",
]


class OffsetCommitRequest(Request, key=8, versions="0-10", flexible="8+"):
    """
    Commits offsets of a group. A consumer that assigns its partitions itself, without
    a group membership, sends an empty member id and generation -1.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The next offset to read in one partition, and the consumer's metadata.
            """

            partition_index: Int32
            committed_offset: Int64
            # In ms since the epoch; -1: the broker's clock.
            commit_timestamp: Int64 = field("1", default=-1)
            committed_leader_epoch: Int32 = field("6+", default=-1)
            committed_metadata: Nullable[String]

        name: String = field("0-9", default="")
        topic_id: Uuid = field("10+", default=NO_UUID)
        partitions: Array[Partition]

    group_id: GroupName
    generation_id_or_member_epoch: Int32 = field("1+", default=-1)
    member_id: String = field("1+", default="")
    # -1: the broker's default.
    retention_time_ms: Int64 = field("2-4", default=-1)
    # Of a static member (KIP-345), else null.
    group_instance_id: Nullable[String] = field("7+", default=None)
    topics: Array[Topic]


class OffsetCommitResponse(Response, key=8, versions="0-10", flexible="8+"):
    """
    The outcome for each partition.
    """

    class Topic(Struct):
        """
        The outcome for one topic.
        """

        class Partition(Struct):
            """
            The outcome for one partition.
            """

            partition_index: Int32
            error_code: Int16 = 0

        name: String = field("0-9", default="")
        topic_id: Uuid = field("10+", default=NO_UUID)
        partitions: Array[Partition]

    throttle_time_ms: Int32 = field("3+", default=0)
    topics: Array[Topic]


class OffsetFetchRequest(Request, key=9, versions="0-10", flexible="6+"):
    """
    Asks for committed offsets. From version 8 on a request can name several groups
    (KIP-709). Null topics stand for all topics.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        name: String
        partition_indexes: Array[Int32]

    class Group(Struct):
        """
        One group, and the topics to list.
        """

        class Topic(Struct):
            """
            The partitions of one topic.
            """

            name: String = field("8-9", default="")
            topic_id: Uuid = field("10+", default=NO_UUID)
            partition_indexes: Array[Int32]

        group_id: GroupName
        member_id: Nullable[String] = field("9+", default=None)
        member_epoch: Int32 = field("9+", default=-1)
        topics: Nullable[Array[Topic]]

    group_id: GroupName = field("0-7", default="")
    topics: Nullable[Array[Topic]] = field("0-7", nullable="2-7", default=None)
    groups: Array[Group] = field("8+", factory=list)
    # If true, offsets that an open transaction may replace get UNSTABLE_OFFSET_COMMIT
    # (KIP-447).
    require_stable: Boolean = field("7+", default=False)


class OffsetFetchResponse(Response, key=9, versions="0-10", flexible="6+"):
    """
    The committed offsets.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The offset committed for one partition; -1 without an error if there is none.
            """

            partition_index: Int32
            committed_offset: Int64
            committed_leader_epoch: Int32 = field("5-7", default=-1)
            metadata: Nullable[String]
            error_code: Int16 = 0

        name: String
        partitions: Array[Partition]

    class Group(Struct):
        """
        The committed offsets of one group.
        """

        class Topic(Struct):
            """
            The partitions of one topic.
            """

            class Partition(Struct):
                """
                The offset committed for one partition; -1 without an error if there is none.
                """

                partition_index: Int32
                committed_offset: Int64
                committed_leader_epoch: Int32 = -1
                metadata: Nullable[String]
                error_code: Int16 = 0

            name: String = field("8-9", default="")
            topic_id: Uuid = field("10+", default=NO_UUID)
            partitions: Array[Partition]

        group_id: String
        topics: Array[Topic]
        error_code: Int16 = 0

    throttle_time_ms: Int32 = field("3+", default=0)
    topics: Array[Topic] = field("0-7", factory=list)
    error_code: Int16 = field("2-7", default=0)
    groups: Array[Group] = field("8+", factory=list)


class OffsetDeleteRequest(Request, key=47, versions="0"):
    """
    Deletes committed offsets of a group (KIP-496).
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            One partition.
            """

            partition_index: Int32

        name: String
        partitions: Array[Partition]

    group_id: GroupName
    topics: Array[Topic]


class OffsetDeleteResponse(Response, key=47, versions="0"):
    """
    The outcome for each partition.
    """

    class Topic(Struct):
        """
        The outcome for one topic.
        """

        class Partition(Struct):
            """
            The outcome for one partition.
            """

            partition_index: Int32
            error_code: Int16 = 0

        name: String
        partitions: Array[Partition]

    error_code: Int16 = 0
    throttle_time_ms: Int32 = 0
    topics: Array[Topic]
