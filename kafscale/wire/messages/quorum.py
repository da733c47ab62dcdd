"""
The controller quorum of a KRaft cluster, and the registrations of its nodes.
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
    Uint16,
    Uuid,
    field,
)

__all__ = [
    "AddRaftVoterRequest",
    "AddRaftVoterResponse",
    "DescribeQuorumRequest",
    "DescribeQuorumResponse",
    "RemoveRaftVoterRequest",
    "RemoveRaftVoterResponse",
    "ReplicaState",
    "UnregisterBrokerRequest",
    "UnregisterBrokerResponse",
    "UnregisterControllerRequest",
    "UnregisterControllerResponse",
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


class UnregisterBrokerRequest(Request, key=64, versions="0", flexible="0+"):
    """
    Removes a broker from the metadata of the cluster (KIP-631).
    """

    broker_id: Int32


class UnregisterBrokerResponse(Response, key=64, versions="0", flexible="0+"):
    """
    Whether the broker is removed.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None


class AddRaftVoterRequest(Request, key=80, versions="0-1", flexible="0+"):
    """
    Adds a voter to the controller quorum (KIP-853).
    """

    class Listener(Struct):
        """
        An address of the voter.
        """

        name: String
        host: String
        port: Uint16

    cluster_id: Nullable[String]
    timeout_ms: Int32
    voter_id: Int32
    voter_directory_id: Uuid
    listeners: Array[Listener]
    # Whether the response waits until the new set of voters is committed.
    ack_when_committed: Boolean = field("1+", default=True)


class AddRaftVoterResponse(Response, key=80, versions="0-1", flexible="0+"):
    """
    Whether the voter is added.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None


class RemoveRaftVoterRequest(Request, key=81, versions="0", flexible="0+"):
    """
    Removes a voter from the controller quorum (KIP-853).
    """

    cluster_id: Nullable[String]
    voter_id: Int32
    voter_directory_id: Uuid


class RemoveRaftVoterResponse(Response, key=81, versions="0", flexible="0+"):
    """
    Whether the voter is removed.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None


class UnregisterControllerRequest(Request, key=94, versions="0", flexible="0+"):
    """
    Removes a controller from the metadata of the cluster.
    """

    controller_id: Int32


class UnregisterControllerResponse(Response, key=94, versions="0", flexible="0+"):
    """
    Whether the controller is removed.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
