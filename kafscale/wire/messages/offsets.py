"""
Look-ups of offsets, and the deletion of records.
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
    Looks up offsets by timestamp, or at special points of a log.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The timestamp to look up in one partition.
            """

            partition_index: Int32
            current_leader_epoch: Int32 = field("4+", default=-1)
            # In ms; -1 latest, -2 earliest, -3 max timestamp (KIP-734), -4 earliest local
            # (KIP-405), -5 latest tiered (KIP-1005), -6 earliest pending upload (KIP-1023).
            timestamp: Int64
            # The maximum number of segment offsets that version 0 lists.
            max_num_offsets: Int32 = field("0", default=1)

        name: String
        partitions: Array[Partition]

    # -1 from consumers.
    replica_id: Int32 = -1
    # 0: read_uncommitted; 1: read_committed.
    isolation_level: Int8 = field("2+", default=0)
    topics: Array[Topic]
    # Time to wait for tiered storage.
    timeout_ms: Int32 = field("10+", default=0)


class ListOffsetsResponse(Response, key=2, versions="0-11", flexible="6+"):
    """
    The offsets for a `ListOffsetsRequest`.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The first record at or after the timestamp; offset -1 if there is none.
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
    Asks for the end offsets of leader epochs, by which a client detects that a log was
    truncated (KIP-101, KIP-320).
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The leader epoch to look up in one partition.
            """

            partition: Int32
            current_leader_epoch: Int32 = field("2+", default=-1)
            leader_epoch: Int32

        topic: String
        partitions: Array[Partition]

    # -1 from consumers, -2 from debugging tools.
    replica_id: Int32 = field("3+", default=-2)
    topics: Array[Topic]


class OffsetForLeaderEpochResponse(Response, key=23, versions="0-4", flexible="4+"):
    """
    The end offsets of the leader epochs.
    """

    class Topic(Struct):
        """
        The outcome for one topic.
        """

        class Partition(Struct):
            """
            The largest epoch that is not above the requested one, and its end offset; both are
            -1 if there is none.
            """

            error_code: Int16 = 0
            partition: Int32
            leader_epoch: Int32 = field("1+", default=-1)
            # The offset after the last record of the epoch.
            end_offset: Int64 = -1

        topic: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = field("2+", default=0)
    topics: Array[Topic]


class DeleteRecordsRequest(Request, key=21, versions="0-2", flexible="2+"):
    """
    Deletes the records before given offsets, by moving log starts (KIP-107).
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The new log start of one partition; -1 stands for the high watermark.
            """

            partition_index: Int32
            offset: Int64

        name: String
        partitions: Array[Partition]

    topics: Array[Topic]
    timeout_ms: Int32


class DeleteRecordsResponse(Response, key=21, versions="0-2", flexible="2+"):
    """
    The new log starts.
    """

    class Topic(Struct):
        """
        The outcome for one topic.
        """

        class Partition(Struct):
            """
            The new log start of one partition.
            """

            partition_index: Int32
            low_watermark: Int64 = -1
            error_code: Int16 = 0

        name: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]
