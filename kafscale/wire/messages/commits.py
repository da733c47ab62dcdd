"""
How far groups have read.
"""

from kafscale.wire.schema import (
    NO_UUID,
    Array,
    Boolean,
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
    Store how far a group has read. With an empty member id and generation -1 it comes
    from a consumer that assigns partitions to itself.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The next offset to read in one partition, and a note of the consumer's.
            """

            partition_index: Int32
            committed_offset: Int64
            # In ms; -1: the broker's time.
            commit_timestamp: Int64 = field("1", default=-1)
            committed_leader_epoch: Int32 = field("6+", default=-1)
            committed_metadata: Nullable[String]

        name: String = field("0-9", default="")
        topic_id: Uuid = field("10+", default=NO_UUID)
        partitions: Array[Partition]

    group_id: String
    generation_id_or_member_epoch: Int32 = field("1+", default=-1)
    member_id: String = field("1+", default="")
    # -1: as the broker is set.
    retention_time_ms: Int64 = field("2-4", default=-1)
    # Of a static member (KIP-345).
    group_instance_id: Nullable[String] = field("7+", default=None)
    topics: Array[Topic]


class OffsetCommitResponse(Response, key=8, versions="0-10", flexible="8+"):
    """
    Which commits were stored.
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
    How far groups have read; from version 8 on, several groups in one request. Null
    topics ask for all.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        name: String
        partition_indexes: Array[Int32]

    class Group(Struct):
        """
        One group, and what to tell of it.
        """

        class Topic(Struct):
            """
            The partitions of one topic.
            """

            name: String = field("8-9", default="")
            topic_id: Uuid = field("10+", default=NO_UUID)
            partition_indexes: Array[Int32]

        group_id: String
        member_id: Nullable[String] = field("9+", default=None)
        member_epoch: Int32 = field("9+", default=-1)
        topics: Nullable[Array[Topic]]

    group_id: String = field("0-7", default="")
    topics: Nullable[Array[Topic]] = field("0-7", nullable="2-7", default=None)
    groups: Array[Group] = field("8+", factory=list)
    # Wait for offsets of transactions that are still open (KIP-447).
    require_stable: Boolean = field("7+", default=False)


class OffsetFetchResponse(Response, key=9, versions="0-10", flexible="6+"):
    """
    The offsets that were committed.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            One commit; offset -1, without an error, when there never was any.
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
        The offsets of one group.
        """

        class Topic(Struct):
            """
            The partitions of one topic.
            """

            class Partition(Struct):
                """
                One commit; offset -1, without an error, when there never was any.
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
    Forget the commits of a group.
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

    group_id: String
    topics: Array[Topic]


class OffsetDeleteResponse(Response, key=47, versions="0"):
    """
    Which commits were forgotten.
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
