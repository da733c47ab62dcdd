"""
The controller quorum of a KRaft cluster.
"""

from kafscale.wire.schema import (
    NO_UUID,
    Array,
    Int16,
    Int32,
    Int64,
    Nullable,
    Request,
    Response,
    String,
    Struct,
    Uint16,
    Uuid,
    field,
)

__all__ = [
    "DescribeQuorumRequest",
    "DescribeQuorumResponse",
    "ReplicaState",
]


class DescribeQuorumRequest(Request, key=55, versions="0-2", flexible="0+"):
    """
    Asks for the state of the controller quorum (KIP-595).
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

        topic_name: String
        partitions: Array[Partition]

    topics: Array[Topic]


class ReplicaState(Struct):
    """
    The log end offset of one voter or observer.
    """

    replica_id: Int32
    replica_directory_id: Uuid = field("2+", default=NO_UUID)
    log_end_offset: Int64
    last_fetch_timestamp: Int64 = field("1+", default=-1)
    last_caught_up_timestamp: Int64 = field("1+", default=-1)


class DescribeQuorumResponse(Response, key=55, versions="0-2", flexible="0+"):
    """
    The state of the controllers' quorum.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            Leader, voters and observers of one partition.
            """

            partition_index: Int32
            error_code: Int16 = 0
            error_message: Nullable[String] = field("2+", default=None)
            leader_id: Int32
            leader_epoch: Int32
            high_watermark: Int64
            current_voters: Array[ReplicaState]
            observers: Array[ReplicaState]

        topic_name: String
        partitions: Array[Partition]

    class Node(Struct):
        """
        A controller.
        """

        class Listener(Struct):
            """
            The address of a controller.
            """

            name: String
            host: String
            port: Uint16

        node_id: Int32
        listeners: Array[Listener]

    error_code: Int16 = 0
    error_message: Nullable[String] = field("2+", default=None)
    topics: Array[Topic]
    nodes: Array[Node] = field("2+", factory=list)
