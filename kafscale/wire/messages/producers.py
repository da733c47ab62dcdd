"""
Ids of producers, and what is remembered of them.
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
    An id for a producer that wants every record stored once. With a transactional id
    it also ends what an earlier producer of that id left open.
    """

    # Null: once each, but no transactions.
    transactional_id: Nullable[String]
    transaction_timeout_ms: Int32
    # What the producer had, to raise its epoch; -1 if nothing.
    producer_id: Int64 = field("3+", default=-1)
    producer_epoch: Int16 = field("3+", default=-1)
    # The transaction may be prepared and stay so (KIP-939).
    enable_2pc: Boolean = field("6+", default=False)
    keep_prepared_txn: Boolean = field("6+", default=False)


class InitProducerIdResponse(Response, key=22, versions="0-6", flexible="2+"):
    """
    The producer's id and epoch.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    producer_id: Int64 = -1
    producer_epoch: Int16 = -1
    ongoing_txn_producer_id: Int64 = field("6+", default=-1)
    ongoing_txn_producer_epoch: Int16 = field("6+", default=-1)


class DescribeProducersRequest(Request, key=61, versions="0", flexible="0+"):
    """
    Which producers have written to partitions lately.
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
    The producers of partitions.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The producers of one partition.
            """

            class ActiveProducer(Struct):
                """
                What the leader remembers of one producer.
                """

                producer_id: Int64
                producer_epoch: Int32
                last_sequence: Int32 = -1
                last_timestamp: Int64 = -1
                coordinator_epoch: Int32
                # -1: no transaction is open.
                current_txn_start_offset: Int64 = -1

            partition_index: Int32
            error_code: Int16 = 0
            error_message: Nullable[String] = None
            active_producers: Array[ActiveProducer]

        name: String
        partitions: Array[Partition]

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]
