"""
Who is in the cluster, and who leads what.
"""

from kafscale.wire.schema import (
    NO_UUID,
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
    field,
)

__all__ = [
    "MetadataRequest",
    "MetadataResponse",
]


class MetadataRequest(Request, key=3, versions="0-13", flexible="9+"):
    """
    Which brokers there are, and who leads what. No topics means all: null from
    version 1 on, the empty list in version 0.
    """

    class Topic(Struct):
        """
        A topic asked for, by name or, from version 10 on, by id.
        """

        topic_id: Uuid = field("10+", default=NO_UUID)
        name: Nullable[String] = field(nullable="10+")

    topics: Nullable[Array[Topic]] = field(nullable="1+")
    allow_auto_topic_creation: Boolean = field("4+", default=True)
    include_cluster_authorized_operations: Boolean = field("8-10", default=False)
    include_topic_authorized_operations: Boolean = field("8+", default=False)


class MetadataResponse(Response, key=3, versions="0-13", flexible="9+"):
    """
    The cluster as a client needs to know it.
    """

    class Broker(Struct):
        """
        A live broker, and the address that it advertises.
        """

        node_id: Int32
        host: String
        port: Int32
        rack: Nullable[String] = field("1+", default=None)

    class Topic(Struct):
        """
        A topic, or the error in its place.
        """

        class Partition(Struct):
            """
            A partition's leader and replicas.
            """

            error_code: Int16 = 0
            partition_index: Int32
            leader_id: Int32
            leader_epoch: Int32 = field("7+", default=-1)
            replica_nodes: Array[Int32]
            isr_nodes: Array[Int32]
            offline_replicas: Array[Int32] = field("5+", factory=list)

        error_code: Int16 = 0
        name: Nullable[String] = field(nullable="12+")
        topic_id: Uuid = field("10+", default=NO_UUID)
        is_internal: Boolean = field("1+", default=False)
        partitions: Array[Partition]
        topic_authorized_operations: Int32 = field("8+", default=-2147483648)

    throttle_time_ms: Int32 = field("3+", default=0)
    brokers: Array[Broker]
    cluster_id: Nullable[String] = field("2+", default=None)
    controller_id: Int32 = field("1+", default=-1)
    topics: Array[Topic]
    cluster_authorized_operations: Int32 = field("8-10", default=-2147483648)
    error_code: Int16 = field("13+", default=0)
