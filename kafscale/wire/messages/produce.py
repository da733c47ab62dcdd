"""
Producing: record batches in, offsets out.
"""

from kafscale.wire.schema import (
    NO_UUID,
    Array,
    Int16,
    Int32,
    Int64,
    Nullable,
    Records,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    field,
)

__all__ = [
    "ProduceRequest",
    "ProduceResponse",
]


class ProduceRequest(Request, key=0, versions="0-13", flexible="9+"):
    """
    Record batches from a producer, partition by partition. From version 3 on each
    partition has one batch of format 2; from 13 on topics are named by id.
    """

    class Topic(Struct):
        """
        The batches for one topic.
        """

        class Partition(Struct):
            """
            The batches for one partition, exactly as the log will keep them.
            """

            index: Int32
            records: Nullable[Records]

        name: String = field("0-12", default="")
        topic_id: Uuid = field("13+", default=NO_UUID)
        partition_data: Array[Partition]

    transactional_id: Nullable[String] = field("3+", default=None)
    # How much must be safe before the answer: 0 asks for no answer, 1 for the
    # leader, -1 for all that are in sync.
    acks: Int16
    # How long the leader may wait for the others.
    timeout_ms: Int32
    topic_data: Array[Topic]


class ProduceResponse(Response, key=0, versions="0-13", flexible="9+"):
    """
    Where the batches of a `ProduceRequest` went, or why they did not. There is none
    when the request said C{acks=0}.
    """

    class Topic(Struct):
        """
        The outcome for one topic.
        """

        class Partition(Struct):
            """
            The outcome for one partition: an error, or the offset of the first record.
            """

            class RecordError(Struct):
                """
                One record that made the whole batch fail, by its place in the batch.
                """

                batch_index: Int32
                batch_index_error_message: Nullable[String] = None

            class CurrentLeader(Struct):
                """
                Who leads the partition instead; None when there is nothing to tell (KIP-951).
                """

                leader_id: Int32 = -1
                leader_epoch: Int32 = -1

            index: Int32
            error_code: Int16 = 0
            # -1 with an error.
            base_offset: Int64 = -1
            # -1 unless the topic stamps records with the broker's time.
            log_append_time_ms: Int64 = field("2+", default=-1)
            log_start_offset: Int64 = field("5+", default=-1)
            record_errors: Array[RecordError] = field("8+", factory=list)
            error_message: Nullable[String] = field("8+", default=None)
            current_leader: Nullable[CurrentLeader] = field("10+", tag=0, default=None)

        name: String = field("0-12", default="")
        topic_id: Uuid = field("13+", default=NO_UUID)
        partition_responses: Array[Partition]

    class NodeEndpoint(Struct):
        """
        Where to reach a broker that some C{current_leader} names.
        """

        node_id: Int32
        host: String
        port: Int32
        rack: Nullable[String] = None

    responses: Array[Topic]
    throttle_time_ms: Int32 = field("1+", default=0)
    node_endpoints: Array[NodeEndpoint] = field("10+", tag=0, factory=list)
