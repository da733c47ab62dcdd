"""
Leader elections and reassignments of partitions.
"""

from kafscale.wire.schema import (
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
    field,
)

__all__ = [
    "AlterPartitionReassignmentsRequest",
    "AlterPartitionReassignmentsResponse",
    "ElectLeadersRequest",
    "ElectLeadersResponse",
    "ListPartitionReassignmentsRequest",
    "ListPartitionReassignmentsResponse",
]


class ElectLeadersRequest(Request, key=43, versions="0-2", flexible="2+"):
    """
    Elects the leaders of partitions (KIP-460). Null stands for all partitions.
    """

    class TopicPartition(Struct):
        """
        Partitions of one topic.
        """

        topic: String
        partitions: Array[Int32]

    # 0: preferred replica; 1: unclean, any live replica even if records are lost.
    election_type: Int8 = field("1+", default=0)
    topic_partitions: Nullable[Array[TopicPartition]]
    timeout_ms: Int32 = 60000


class ElectLeadersResponse(Response, key=43, versions="0-2", flexible="2+"):
    """
    The outcome for each partition.
    """

    class ReplicaElectionResult(Struct):
        """
        The outcome for one topic.
        """

        class PartitionResult(Struct):
            """
            The outcome for one partition.
            """

            partition_id: Int32
            error_code: Int16 = 0
            error_message: Nullable[String] = None

        topic: String
        partition_result: Array[PartitionResult]

    throttle_time_ms: Int32 = 0
    error_code: Int16 = field("1+", default=0)
    replica_election_results: Array[ReplicaElectionResult]


class AlterPartitionReassignmentsRequest(Request, key=45, versions="0-1", flexible="0+"):
    """
    Moves partitions to other brokers, or cancels such moves (KIP-455).
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The target replicas of one partition; null cancels its reassignment.
            """

            partition_index: Int32
            replicas: Nullable[Array[Int32]] = None

        name: String
        partitions: Array[Partition]

    timeout_ms: Int32 = 60000
    allow_replication_factor_change: Boolean = field("1+", default=True)
    topics: Array[Topic]


class AlterPartitionReassignmentsResponse(Response, key=45, versions="0-1", flexible="0+"):
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

        name: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = 0
    allow_replication_factor_change: Boolean = field("1+", default=True)
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    responses: Array[Topic]


class ListPartitionReassignmentsRequest(Request, key=46, versions="0", flexible="0+"):
    """
    Lists the reassignments in progress (KIP-455). Null stands for all topics.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        name: String
        partition_indexes: Array[Int32]

    timeout_ms: Int32 = 60000
    topics: Nullable[Array[Topic]] = None


class ListPartitionReassignmentsResponse(Response, key=46, versions="0", flexible="0+"):
    """
    The reassignments in progress.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The present replicas of one partition, those to add and those to remove.
            """

            partition_index: Int32
            replicas: Array[Int32]
            adding_replicas: Array[Int32]
            removing_replicas: Array[Int32]

        name: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    topics: Array[Topic]
