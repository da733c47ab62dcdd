"""
Log directories of brokers.
"""

from kafscale.wire.schema import (
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
    field,
)

__all__ = [
    "AlterReplicaLogDirsRequest",
    "AlterReplicaLogDirsResponse",
    "DescribeLogDirsRequest",
    "DescribeLogDirsResponse",
]


class AlterReplicaLogDirsRequest(Request, key=34, versions="0-2", flexible="2+"):
    """
    Moves replicas to other log directories of the broker (KIP-113).
    """

    class Dir(Struct):
        """
        A log directory, and the replicas to move there.
        """

        class Topic(Struct):
            """
            The partitions of one topic.
            """

            name: String
            partitions: Array[Int32]

        path: String
        topics: Array[Topic]

    dirs: Array[Dir]


class AlterReplicaLogDirsResponse(Response, key=34, versions="0-2", flexible="2+"):
    """
    The outcome for each partition: whether its move has begun.
    """

    class Result(Struct):
        """
        The outcome for one topic.
        """

        class Partition(Struct):
            """
            The outcome for one partition.
            """

            partition_index: Int32
            error_code: Int16 = 0

        topic_name: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = 0
    results: Array[Result]


class DescribeLogDirsRequest(Request, key=35, versions="0-5", flexible="2+"):
    """
    Asks for the log directories of a broker. Null topics stand for all topics.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        topic: String
        partitions: Array[Int32]

    topics: Nullable[Array[Topic]]


class DescribeLogDirsResponse(Response, key=35, versions="0-5", flexible="2+"):
    """
    The log directories of the broker.
    """

    class Result(Struct):
        """
        One log directory with its replicas and its capacity in bytes.
        """

        class Topic(Struct):
            """
            The partitions of one topic.
            """

            class Partition(Struct):
                """
                The size of one replica.
                """

                partition_index: Int32
                partition_size: Int64
                offset_lag: Int64
                # True for a copy that is being moved to another directory.
                is_future_key: Boolean

            name: String
            partitions: Array[Partition]

        error_code: Int16 = 0
        log_dir: String
        topics: Array[Topic]
        # -1: unknown.
        total_bytes: Int64 = field("4+", default=-1)
        usable_bytes: Int64 = field("4+", default=-1)
        is_cordoned: Boolean = field("5+", default=False)

    throttle_time_ms: Int32 = 0
    error_code: Int16 = field("3+", default=0)
    results: Array[Result]
