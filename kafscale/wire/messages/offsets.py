"""
Finding and moving offsets in a log.
"""

from kafscale.wire.schema import (
    Array,
    Int8,
    Int16,
    Int32,
    Int64,
    Request,
    Response,
    String,
    Struct,
    field,
)

__all__ = [
    "DeleteRecordsRequest",
    "DeleteRecordsResponse",
    "ListOffsetsRequest",
    "ListOffsetsResponse",
    "OffsetForLeaderEpochRequest",
    "OffsetForLeaderEpochResponse",
]


class ListOffsetsRequest(Request, key=2, versions="0-11", flexible="6+"):
    """
    The offset that belongs to a time, or to a special point of the log.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            What to look for in one partition.
            """

            partition_index: Int32
            current_leader_epoch: Int32 = field("4+", default=-1)
            # In ms; -1 latest, -2 earliest, -3 largest timestamp, and others below.
            timestamp: Int64
            # Version 0 lists segments' offsets, so many at most.
            max_num_offsets: Int32 = field("0", default=1)

        name: String
        partitions: Array[Partition]

    # -1 from consumers.
    replica_id: Int32 = -1
    # 0: read_uncommitted; 1: read_committed.
    isolation_level: Int8 = field("2+", default=0)
    topics: Array[Topic]
    # How long to wait for answers from remote tiers.
    timeout_ms: Int32 = field("10+", default=0)


class ListOffsetsResponse(Response, key=2, versions="0-11", flexible="6+"):
    """
    The offsets that a `ListOffsetsRequest` asked for.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The first record at or after the time; offset -1 when there is none.
            """

            partition_index: Int32
            error_code: Int16 = 0
            old_style_offsets: Array[Int64] = field("0", factory=list)
            timestamp: Int64 = field("1+", default=-1)
            offset: Int64 = field("1+", default=-1)
            leader_epoch: Int32 = field("4+", default=-1)

        name: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = field("2+", default=0)
    topics: Array[Topic]


class OffsetForLeaderEpochRequest(Request, key=23, versions="0-4", flexible="4+"):
    """
    Where a leader epoch ended: how a reader finds out that its log was cut.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The epoch asked about in one partition.
            """

            partition: Int32
            current_leader_epoch: Int32 = field("2+", default=-1)
            leader_epoch: Int32

        topic: String
        partitions: Array[Partition]

    # -1 from consumers, -2 from a debugging tool.
    replica_id: Int32 = field("3+", default=-2)
    topics: Array[Topic]


class OffsetForLeaderEpochResponse(Response, key=23, versions="0-4", flexible="4+"):
    """
    The ends of the epochs asked about.
    """

    class Topic(Struct):
        """
        The outcome for one topic.
        """

        class Partition(Struct):
            """
            The largest epoch not above the one asked about, and where it ends; both -1 when
            it is not known.
            """

            error_code: Int16 = 0
            partition: Int32
            leader_epoch: Int32 = field("1+", default=-1)
            # The offset after the epoch's last record.
            end_offset: Int64 = -1

        topic: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = field("2+", default=0)
    topics: Array[Topic]


class DeleteRecordsRequest(Request, key=21, versions="0-2", flexible="2+"):
    """
    Move the start of partitions' logs forward.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The first offset that stays; -1 stands for the high watermark.
            """

            partition_index: Int32
            offset: Int64

        name: String
        partitions: Array[Partition]

    topics: Array[Topic]
    timeout_ms: Int32


class DeleteRecordsResponse(Response, key=21, versions="0-2", flexible="2+"):
    """
    Where the logs begin now.
    """

    class Topic(Struct):
        """
        The outcome for one topic.
        """

        class Partition(Struct):
            """
            The new start of one partition's log.
            """

            partition_index: Int32
            low_watermark: Int64 = -1
            error_code: Int16 = 0

        name: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]
