"""
Brokers, topics, and the leaders of partitions.
"""

from kafscale.wire.schema import (
    NO_UUID,
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
    "DescribeClusterRequest",
    "DescribeClusterResponse",
    "DescribeTopicPartitionsRequest",
    "DescribeTopicPartitionsResponse",
    "MetadataRequest",
    "MetadataResponse",
]


class MetadataRequest(Request, key=3, versions="0-13", flexible="9+"):
    """
    Asks for brokers, and for the partitions of topics. All topics are a null list from
    version 1 on, the empty list in version 0.
    """

    class Topic(Struct):
        """
        One topic, by name or, from version 10 on, by id (KIP-516).
        """

        topic_id: Uuid = field("10+", default=NO_UUID)
        # Null if the topic is named by id.
        name: Nullable[String] = field(nullable="10+")

    topics: Nullable[Array[Topic]] = field(nullable="1+")
    allow_auto_topic_creation: Boolean = field("4+", default=True)
    include_cluster_authorized_operations: Boolean = field("8-10", default=False)
    include_topic_authorized_operations: Boolean = field("8+", default=False)


class MetadataResponse(Response, key=3, versions="0-13", flexible="9+"):
    """
    The brokers of the cluster, and the topics with their partitions.
    """

    class Broker(Struct):
        """
        A live broker, and its advertised address.
        """

        node_id: Int32
        host: String
        port: Int32
        rack: Nullable[String] = field("1+", default=None)

    class Topic(Struct):
        """
        A topic, or an error.
        """

        class Partition(Struct):
            """
            The leader and the replicas of a partition.
            """

            error_code: Int16 = 0
            partition_index: Int32
            leader_id: Int32
            leader_epoch: Int32 = field("7+", default=-1)
            replica_nodes: Array[Int32]
            isr_nodes: Array[Int32]
            offline_replicas: Array[Int32] = field("5+", factory=list)

        error_code: Int16 = 0
        # Null if the id of the request is unknown.
        name: Nullable[String] = field(nullable="12+")
        topic_id: Uuid = field("10+", default=NO_UUID)
        is_internal: Boolean = field("1+", default=False)
        partitions: Array[Partition]
        # A bit for each operation; -2147483648: not requested.
        topic_authorized_operations: Int32 = field("8+", default=-2147483648)

    throttle_time_ms: Int32 = field("3+", default=0)
    brokers: Array[Broker]
    cluster_id: Nullable[String] = field("2+", default=None)
    controller_id: Int32 = field("1+", default=-1)
    topics: Array[Topic]
    # A bit for each operation; -2147483648: not requested.
    cluster_authorized_operations: Int32 = field("8-10", default=-2147483648)
    error_code: Int16 = field("13+", default=0)


class DescribeClusterRequest(Request, key=60, versions="0-2", flexible="0+"):
    """
    Asks for the brokers or the controllers of the cluster (KIP-700).
    """

    include_cluster_authorized_operations: Boolean
    # 1: brokers; 2: controllers.
    endpoint_type: Int8 = field("1+", default=1)
    include_fenced_brokers: Boolean = field("2+", default=False)


class DescribeClusterResponse(Response, key=60, versions="0-2", flexible="0+"):
    """
    The brokers or the controllers of the cluster.
    """

    class Broker(Struct):
        """
        One broker or controller, and its advertised address.
        """

        broker_id: Int32
        host: String
        port: Int32
        rack: Nullable[String] = None
        is_fenced: Boolean = field("2+", default=False)

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    endpoint_type: Int8 = field("1+", default=1)
    cluster_id: String
    controller_id: Int32 = -1
    brokers: Array[Broker]
    cluster_authorized_operations: Int32 = -2147483648


class DescribeTopicPartitionsRequest(Request, key=75, versions="0", flexible="0+"):
    """
    Lists topics and their partitions in pages (KIP-966). An empty list stands for all
    topics.
    """

    class Topic(Struct):
        """
        One topic, by name.
        """

        name: String

    class Cursor(Struct):
        """
        The partition at which the page begins.
        """

        topic_name: String
        partition_index: Int32

    topics: Array[Topic]
    response_partition_limit: Int32 = 2000
    cursor: Nullable[Cursor] = None


class DescribeTopicPartitionsResponse(Response, key=75, versions="0", flexible="0+"):
    """
    One page of topics and partitions.
    """

    class Topic(Struct):
        """
        A topic, or an error.
        """

        class Partition(Struct):
            """
            The leader and the replicas of a partition.
            """

            error_code: Int16 = 0
            partition_index: Int32
            leader_id: Int32
            leader_epoch: Int32 = -1
            replica_nodes: Array[Int32]
            isr_nodes: Array[Int32]
            # Out of sync, but known to have every acknowledged record (KIP-966).
            eligible_leader_replicas: Nullable[Array[Int32]] = None
            # The last replicas that were eligible, when none is left.
            last_known_elr: Nullable[Array[Int32]] = None
            offline_replicas: Array[Int32]

        error_code: Int16 = 0
        name: Nullable[String]
        topic_id: Uuid
        is_internal: Boolean = False
        partitions: Array[Partition]
        topic_authorized_operations: Int32 = -2147483648

    class NextCursor(Struct):
        """
        The partition at which the next page begins; null on the last page.
        """

        topic_name: String
        partition_index: Int32

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]
    next_cursor: Nullable[NextCursor] = None
