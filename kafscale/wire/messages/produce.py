"""
Produce: record batches in, offsets out.
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
    Record batches from a producer, by partition. From version 3 on each partition has
    exactly one batch of magic 2; from 13 on topics are named by id (KIP-516).
    """

    class Topic(Struct):
        """
        The batches for one topic.
        """

        class Partition(Struct):
            """
            The batches for one partition, as they are stored in the log.
            """

            index: Int32
            records: Nullable[Records]

        name: String = field("0-12", default="")
        topic_id: Uuid = field("13+", default=NO_UUID)
        partition_data: Array[Partition]

    transactional_id: Nullable[String] = field("3+", default=None)
    # Replicas that must have the records before the response: 1: the leader; -1: all in
    # sync; 0: none, and there is no response.
    acks: Int16
    # Time to wait for the other replicas.
    timeout_ms: Int32
    topic_data: Array[Topic]


class ProduceResponse(Response, key=0, versions="0-13", flexible="9+"):
    """
    The outcome for each partition. A request with C{acks=0} has no response.
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
                A record because of which the batch was refused, by its index in the batch.
                """

                batch_index: Int32
                batch_index_error_message: Nullable[String] = None

            class CurrentLeader(Struct):
                """
                The leader of the partition, if this broker is not the leader (KIP-951).
                """

                leader_id: Int32 = -1
                leader_epoch: Int32 = -1

            index: Int32
            error_code: Int16 = 0
            # -1 if there is an error.
            base_offset: Int64 = -1
            # In ms; -1 unless the topic has message.timestamp.type=LogAppendTime.
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
        The address of a broker that a C{current_leader} names (KIP-951).
        """

        node_id: Int32
        host: String
        port: Int32
        rack: Nullable[String] = None

    responses: Array[Topic]
    throttle_time_ms: Int32 = field("1+", default=0)
    node_endpoints: Array[NodeEndpoint] = field("10+", tag=0, factory=list)
