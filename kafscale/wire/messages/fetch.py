"""
Fetching: offsets in, record batches out.
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
    Records from given offsets on. With a session (KIP-227, version 7) only what has
    changed since the session's last request is named.
    """

    class ReplicaState(Struct):
        """
        Who asks, when it is a broker that follows.
        """

        replica_id: Int32 = -1
        replica_epoch: Int64 = -1

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            Where to read in one partition, and how much.
            """

            partition: Int32
            # What the reader knows, to find out that it is behind; -1 if nothing.
            current_leader_epoch: Int32 = field("9+", default=-1)
            fetch_offset: Int64
            # Epoch of the record before the offset, to find out where logs part; -1 if
            # unknown.
            last_fetched_epoch: Int32 = field("12+", default=-1)
            # Of a replica that follows; -1 from consumers.
            log_start_offset: Int64 = field("5+", default=-1)
            partition_max_bytes: Int32
            replica_directory_id: Uuid = field("17+", tag=0, default=NO_UUID)
            # What a replica that follows knows of it (KIP-1166).
            high_watermark: Int64 = field("18+", tag=1, default=9223372036854775807)

        topic: String = field("0-12", default="")
        topic_id: Uuid = field("13+", default=NO_UUID)
        partitions: Array[Partition]

    class ForgottenTopic(Struct):
        """
        Partitions that leave the session.
        """

        topic: String = field("7-12", default="")
        topic_id: Uuid = field("13+", default=NO_UUID)
        partitions: Array[Int32]

    # Null from consumers, as is the replica's state.
    cluster_id: Nullable[String] = field("12+", tag=0, default=None)
    # -1 from consumers.
    replica_id: Int32 = field("0-14", default=-1)
    replica_state: Nullable[ReplicaState] = field("15+", tag=1, default=None)
    max_wait_ms: Int32
    min_bytes: Int32
    max_bytes: Int32 = field("3+", default=2147483647)
    # 0: read_uncommitted; 1: read_committed.
    isolation_level: Int8 = field("4+", default=0)
    # 0 with epoch 0 asks for a session; epoch -1 wants none.
    session_id: Int32 = field("7+", default=0)
    session_epoch: Int32 = field("7+", default=-1)
    topics: Array[Topic]
    forgotten_topics_data: Array[ForgottenTopic] = field("7+", factory=list)
    rack_id: String = field("11+", default="")


class FetchResponse(Response, key=1, versions="0-18", flexible="12+"):
    """
    The records that a `FetchRequest` asked for. In a session only partitions with
    something to tell are listed.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            Whole record batches of one partition, and how far its log goes.
            """

            class DivergingEpoch(Struct):
                """
                The newest epoch that reader and leader share, and where it ends: past it the
                reader's log differs.
                """

                epoch: Int32 = -1
                end_offset: Int64 = -1

            class CurrentLeader(Struct):
                """
                Who leads the partition now, as far as the broker knows.
                """

                leader_id: Int32 = -1
                leader_epoch: Int32 = -1

            class SnapshotId(Struct):
                """
                The snapshot to fetch when the offset is below the log start (KRaft).
                """

                end_offset: Int64 = -1
                epoch: Int32 = -1

            class AbortedTransaction(Struct):
                """
                A transaction whose records a read_committed reader leaves out.
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
            # Null unless the request said read_committed.
            aborted_transactions: Nullable[Array[AbortedTransaction]] = field("4+", default=None)
            # -1: read here.
            preferred_read_replica: Int32 = field("11+", default=-1)
            # Empty, not null, when there are none: clients refuse null.
            records: Nullable[RecordPieces] = b""

        topic: String = field("0-12", default="")
        topic_id: Uuid = field("13+", default=NO_UUID)
        partitions: Array[Partition]

    class NodeEndpoint(Struct):
        """
        Where to reach a broker that some C{current_leader} names (KIP-951).
        """

        node_id: Int32
        host: String
        port: Int32
        rack: Nullable[String] = None

    throttle_time_ms: Int32 = field("1+", default=0)
    error_code: Int16 = field("7+", default=0)
    # 0: there is no session.
    session_id: Int32 = field("7+", default=0)
    responses: Array[Topic]
    node_endpoints: Array[NodeEndpoint] = field("16+", tag=0, factory=list)
