"""
Fetch: offsets in, record batches out.
"""

from kafscale.wire.schema import (
    NO_UUID,
    Array,
    Int8,
    Int16,
    Int32,
    Int64,
    Nullable,
    RecordPieces,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    field,
)

__all__ = [
    "FetchRequest",
    "FetchResponse",
]


class FetchRequest(Request, key=1, versions="0-18", flexible="12+"):
    """
    Fetches records from the given offsets on. In a fetch session (KIP-227, from version
    7 on) a request names only the partitions that changed since the previous one.
    """

    class ReplicaState(Struct):
        """
        The broker that fetches, if the client is a follower.
        """

        replica_id: Int32 = -1
        replica_epoch: Int64 = -1

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The fetch offset and the maximum bytes of one partition.
            """

            partition: Int32
            # The client's leader epoch, by which stale clients are fenced (KIP-320); -1: none.
            current_leader_epoch: Int32 = field("9+", default=-1)
            fetch_offset: Int64
            # Epoch of the record before the offset, to detect a truncation (KIP-595); -1: unknown.
            last_fetched_epoch: Int32 = field("12+", default=-1)
            # Of a follower; -1 from consumers.
            log_start_offset: Int64 = field("5+", default=-1)
            partition_max_bytes: Int32
            replica_directory_id: Uuid = field("17+", tag=0, default=NO_UUID)
            # The high watermark that a follower knows (KIP-1166).
            high_watermark: Int64 = field("18+", tag=1, default=9223372036854775807)

        topic: String = field("0-12", default="")
        topic_id: Uuid = field("13+", default=NO_UUID)
        partitions: Array[Partition]

    class ForgottenTopic(Struct):
        """
        Partitions to remove from the session.
        """

        topic: String = field("7-12", default="")
        topic_id: Uuid = field("13+", default=NO_UUID)
        partitions: Array[Int32]

    # Null from consumers.
    cluster_id: Nullable[String] = field("12+", tag=0, default=None)
    # -1 from consumers.
    replica_id: Int32 = field("0-14", default=-1)
    replica_state: Nullable[ReplicaState] = field("15+", tag=1, default=None)
    max_wait_ms: Int32
    min_bytes: Int32
    max_bytes: Int32 = field("3+", default=2147483647)
    # 0: read_uncommitted; 1: read_committed.
    isolation_level: Int8 = field("4+", default=0)
    # Id 0 with epoch 0 opens a session; epoch -1 closes it, or opens none.
    session_id: Int32 = field("7+", default=0)
    session_epoch: Int32 = field("7+", default=-1)
    topics: Array[Topic]
    forgotten_topics_data: Array[ForgottenTopic] = field("7+", factory=list)
    rack_id: String = field("11+", default="")


class FetchResponse(Response, key=1, versions="0-18", flexible="12+"):
    """
    The records of a `FetchRequest`. In a session it lists only partitions with records,
    an error or a change.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            Complete record batches of one partition, and the bounds of its log.
            """

            class DivergingEpoch(Struct):
                """
                The newest epoch that client and leader have in common, and its end
                offset. Beyond it the client's log diverges (KIP-595).
                """

                epoch: Int32 = -1
                end_offset: Int64 = -1

            class CurrentLeader(Struct):
                """
                The leader of the partition, as this broker knows it (KIP-951).
                """

                leader_id: Int32 = -1
                leader_epoch: Int32 = -1

            class SnapshotId(Struct):
                """
                The snapshot to fetch if the offset is below the log start (KIP-630).
                """

                end_offset: Int64 = -1
                epoch: Int32 = -1

            class AbortedTransaction(Struct):
                """
                An aborted transaction, whose records a read_committed consumer skips.
                """

                producer_id: Int64
                first_offset: Int64

            partition_index: Int32
            error_code: Int16 = 0
            high_watermark: Int64 = -1
            last_stable_offset: Int64 = field("4+", default=-1)
            log_start_offset: Int64 = field("5+", default=-1)
            diverging_epoch: Nullable[DivergingEpoch] = field("12+", tag=0, default=None)
            current_leader: Nullable[CurrentLeader] = field("12+", tag=1, default=None)
            snapshot_id: Nullable[SnapshotId] = field("12+", tag=2, default=None)
            # Null unless the isolation level is read_committed.
            aborted_transactions: Nullable[Array[AbortedTransaction]] = field("4+", default=None)
            # The replica to fetch from instead (KIP-392); -1: this broker.
            preferred_read_replica: Int32 = field("11+", default=-1)
            # Empty, not null, without records: clients refuse null.
            records: Nullable[RecordPieces] = b""

        topic: String = field("0-12", default="")
        topic_id: Uuid = field("13+", default=NO_UUID)
        partitions: Array[Partition]

    class NodeEndpoint(Struct):
        """
        The address of a broker that a C{current_leader} names (KIP-951).
        """

        node_id: Int32
        host: String
        port: Int32
        rack: Nullable[String] = None

    throttle_time_ms: Int32 = field("1+", default=0)
    error_code: Int16 = field("7+", default=0)
    # 0: no session.
    session_id: Int32 = field("7+", default=0)
    responses: Array[Topic]
    node_endpoints: Array[NodeEndpoint] = field("16+", tag=0, factory=list)
