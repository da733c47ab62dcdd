"""
Start offsets of share groups (KIP-932).
"""

from kafscale.wire.schema import (
    Array,
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
    "AlterShareGroupOffsetsRequest",
    "AlterShareGroupOffsetsResponse",
    "DeleteShareGroupOffsetsRequest",
    "DeleteShareGroupOffsetsResponse",
    "DescribeShareGroupOffsetsRequest",
    "DescribeShareGroupOffsetsResponse",
]


class DescribeShareGroupOffsetsRequest(Request, key=90, versions="0-1", flexible="0+"):
    """
    Asks for the start offsets of share groups.
    """

    class Group(Struct):
        """
        One group. Null topics stand for all topics.
        """

        class Topic(Struct):
            """
            The partitions of one topic.
            """

            topic_name: String
            partitions: Array[Int32]

        group_id: String
        topics: Nullable[Array[Topic]]

    groups: Array[Group]


class DescribeShareGroupOffsetsResponse(Response, key=90, versions="0-1", flexible="0+"):
    """
    The start offsets of share groups.
    """

    class Group(Struct):
        """
        The start offsets of one group.
        """

        class Topic(Struct):
            """
            The partitions of one topic.
            """

            class Partition(Struct):
                """
                The start offset in one partition, and the lag of the group.
                """

                partition_index: Int32
                # -1: unknown.
                start_offset: Int64
                leader_epoch: Int32
                lag: Int64 = field("1+", default=-1)
                error_code: Int16 = 0
                error_message: Nullable[String] = None

            topic_name: String
            topic_id: Uuid
            partitions: Array[Partition]

        group_id: String
        topics: Array[Topic]
        error_code: Int16 = 0
        error_message: Nullable[String] = None

    throttle_time_ms: Int32 = 0
    groups: Array[Group]


class AlterShareGroupOffsetsRequest(Request, key=91, versions="0", flexible="0+"):
    """
    Sets start offsets of an empty share group.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The new start offset in one partition.
            """

            partition_index: Int32
            start_offset: Int64

        topic_name: String
        partitions: Array[Partition]

    group_id: String
    topics: Array[Topic]


class AlterShareGroupOffsetsResponse(Response, key=91, versions="0", flexible="0+"):
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
            error_message: Nullable[String] = None

        topic_name: String
        topic_id: Uuid
        partitions: Array[Partition]

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    responses: Array[Topic]


class DeleteShareGroupOffsetsRequest(Request, key=92, versions="0", flexible="0+"):
    """
    Deletes the start offsets of a share group in some topics.
    """

    class Topic(Struct):
        """
        One topic.
        """

        topic_name: String

    group_id: String
    topics: Array[Topic]


class DeleteShareGroupOffsetsResponse(Response, key=92, versions="0", flexible="0+"):
    """
    The outcome for each topic.
    """

    class Topic(Struct):
        """
        The outcome for one topic.
        """

        topic_name: String
        topic_id: Uuid
        error_code: Int16 = 0
        error_message: Nullable[String] = None

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    responses: Array[Topic]
