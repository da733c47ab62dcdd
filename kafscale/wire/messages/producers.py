"""
Producer ids, and the state of producers.
"""

from kafscale.wire.schema import (
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
    field,
)

__all__ = [
    "DescribeProducersRequest",
    "DescribeProducersResponse",
    "InitProducerIdRequest",
    "InitProducerIdResponse",
]


class InitProducerIdRequest(Request, key=22, versions="0-6", flexible="2+"):
    """
    Asks for a producer id and epoch (KIP-98). With a transactional id it also fences the
    previous producer of that id and aborts its open transaction.
    """

    # Null: an idempotent producer without transactions.
    transactional_id: Nullable[String]
    transaction_timeout_ms: Int32
    # The present id and epoch of a producer whose epoch is to be raised (KIP-360); -1: none.
    producer_id: Int64 = field("3+", default=-1)
    producer_epoch: Int16 = field("3+", default=-1)
    # Two-phase commit: a prepared transaction is kept (KIP-939).
    enable_2pc: Boolean = field("6+", default=False)
    keep_prepared_txn: Boolean = field("6+", default=False)


class InitProducerIdResponse(Response, key=22, versions="0-6", flexible="2+"):
    """
    The id and the epoch of the producer.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    producer_id: Int64 = -1
    producer_epoch: Int16 = -1
    ongoing_txn_producer_id: Int64 = field("6+", default=-1)
    ongoing_txn_producer_epoch: Int16 = field("6+", default=-1)


class DescribeProducersRequest(Request, key=61, versions="0", flexible="0+"):
    """
    Asks for the active producers of partitions (KIP-664).
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        name: String
        partition_indexes: Array[Int32]

    topics: Array[Topic]


class DescribeProducersResponse(Response, key=61, versions="0", flexible="0+"):
    """
    The active producers of the partitions.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The active producers of one partition.
            """

            class ActiveProducer(Struct):
                """
                The state of one producer, as the leader keeps it.
                """

                producer_id: Int64
                producer_epoch: Int32
                last_sequence: Int32 = -1
                last_timestamp: Int64 = -1
                coordinator_epoch: Int32
                # -1: no open transaction.
                current_txn_start_offset: Int64 = -1

            partition_index: Int32
            error_code: Int16 = 0
            error_message: Nullable[String] = None
            active_producers: Array[ActiveProducer]

        name: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]
