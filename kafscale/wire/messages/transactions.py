"""
Transactions (KIP-98).
"""

from kafscale.wire.schema import (
    NO_UUID,
    Array,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Nullable,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    field,
)

__all__ = [
    "AddOffsetsToTxnRequest",
    "AddOffsetsToTxnResponse",
    "AddPartitionsToTxnRequest",
    "AddPartitionsToTxnResponse",
    "DescribeTransactionsRequest",
    "DescribeTransactionsResponse",
    "EndTxnRequest",
    "EndTxnResponse",
    "ListTransactionsRequest",
    "ListTransactionsResponse",
    "TxnOffsetCommitRequest",
    "TxnOffsetCommitResponse",
    "TxnPartitionResult",
    "TxnTopic",
    "TxnTopicResult",
    "WriteTxnMarkersRequest",
    "WriteTxnMarkersResponse",
]


class TxnTopic(Struct):
    """
    Partitions of one topic to add to a transaction.
    """

    name: String
    partitions: Array[Int32]


class AddPartitionsToTxnRequest(Request, key=24, versions="0-5", flexible="3+"):
    """
    Adds partitions to a transaction before the producer writes to them. From version 4
    on brokers send it, too, for several transactions at once (KIP-890).
    """

    class Transaction(Struct):
        """
        One transaction and its partitions.
        """

        transactional_id: String
        producer_id: Int64
        producer_epoch: Int16
        # True: only verify that the partitions are part of the transaction.
        verify_only: Boolean = False
        topics: Array[TxnTopic]

    v3_and_below_transactional_id: String = field("0-3", default="")
    v3_and_below_producer_id: Int64 = field("0-3", default=0)
    v3_and_below_producer_epoch: Int16 = field("0-3", default=0)
    v3_and_below_topics: Array[TxnTopic] = field("0-3", factory=list)
    transactions: Array[Transaction] = field("4+", factory=list)


class TxnPartitionResult(Struct):
    """
    The outcome for one partition of a transaction.
    """

    partition_index: Int32
    partition_error_code: Int16


class TxnTopicResult(Struct):
    """
    The outcome for one topic of a transaction.
    """

    name: String
    results_by_partition: Array[TxnPartitionResult]


class AddPartitionsToTxnResponse(Response, key=24, versions="0-5", flexible="3+"):
    """
    The outcome for each partition.
    """

    class ResultsByTransaction(Struct):
        """
        The outcome for one transaction.
        """

        transactional_id: String
        topic_results: Array[TxnTopicResult]

    throttle_time_ms: Int32 = 0
    results_by_topic_v3_and_below: Array[TxnTopicResult] = field("0-3", factory=list)
    error_code: Int16 = field("4+", default=0)
    results_by_transaction: Array[ResultsByTransaction] = field("4+", factory=list)


class AddOffsetsToTxnRequest(Request, key=25, versions="0-4", flexible="3+"):
    """
    Adds the offsets of a group to a transaction.
    """

    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    group_id: String


class AddOffsetsToTxnResponse(Response, key=25, versions="0-4", flexible="3+"):
    """
    The outcome.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0


class EndTxnRequest(Request, key=26, versions="0-5", flexible="3+"):
    """
    Commits or aborts a transaction.
    """

    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    # True: commit; false: abort.
    committed: Boolean


class EndTxnResponse(Response, key=26, versions="0-5", flexible="3+"):
    """
    The outcome. From version 5 on it has the producer epoch of the next transaction
    (KIP-890).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    producer_id: Int64 = field("5+", default=-1)
    producer_epoch: Int16 = field("5+", default=-1)


class WriteTxnMarkersRequest(Request, key=27, versions="0-2", flexible="1+"):
    """
    Writes the ends of transactions into partitions; sent by transaction coordinators.
    """

    class Marker(Struct):
        """
        The end of one transaction.
        """

        class Topic(Struct):
            """
            Partitions to write the marker to.
            """

            name: String
            partition_indexes: Array[Int32]

        producer_id: Int64
        producer_epoch: Int16
        # True: commit; false: abort.
        transaction_result: Boolean
        topics: Array[Topic]
        coordinator_epoch: Int32
        transaction_version: Int8 = field("2+", default=0)

    markers: Array[Marker]


class WriteTxnMarkersResponse(Response, key=27, versions="0-2", flexible="1+"):
    """
    The outcome for each partition.
    """

    class Marker(Struct):
        """
        The outcome for one transaction.
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

            name: String
            partitions: Array[Partition]

        producer_id: Int64
        topics: Array[Topic]

    markers: Array[Marker]


class TxnOffsetCommitRequest(Request, key=28, versions="0-6", flexible="3+"):
    """
    Commits offsets of a group as part of a transaction. From version 6 on topics have
    their ids instead of names (KIP-1319).
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            The next offset to read in one partition, and the consumer's metadata.
            """

            partition_index: Int32
            committed_offset: Int64
            committed_leader_epoch: Int32 = field("2+", default=-1)
            committed_metadata: Nullable[String]

        name: String = field("0-5", default="")
        topic_id: Uuid = field("6+", default=NO_UUID)
        partitions: Array[Partition]

    transactional_id: String
    group_id: String
    producer_id: Int64
    producer_epoch: Int16
    generation_id_or_member_epoch: Int32 = field("3+", default=-1)
    member_id: String = field("3+", default="")
    group_instance_id: Nullable[String] = field("3+", default=None)
    topics: Array[Topic]


class TxnOffsetCommitResponse(Response, key=28, versions="0-6", flexible="3+"):
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

        name: String = field("0-5", default="")
        topic_id: Uuid = field("6+", default=NO_UUID)
        partitions: Array[Partition]

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]


class DescribeTransactionsRequest(Request, key=65, versions="0", flexible="0+"):
    """
    Asks for the state of transactions (KIP-664).
    """

    transactional_ids: Array[String]


class DescribeTransactionsResponse(Response, key=65, versions="0", flexible="0+"):
    """
    The state of transactions.
    """

    class TransactionState(Struct):
        """
        One transaction.
        """

        class Topic(Struct):
            """
            The partitions of one topic.
            """

            topic: String
            partitions: Array[Int32]

        error_code: Int16 = 0
        transactional_id: String
        transaction_state: String
        transaction_timeout_ms: Int32
        transaction_start_time_ms: Int64
        producer_id: Int64
        producer_epoch: Int16
        topics: Array[Topic]

    throttle_time_ms: Int32 = 0
    transaction_states: Array[TransactionState]


class ListTransactionsRequest(Request, key=66, versions="0-2", flexible="0+"):
    """
    Lists the transactions that this broker coordinates (KIP-664). An empty filter
    matches all transactions.
    """

    state_filters: Array[String]
    producer_id_filters: Array[Int64]
    # The minimum age in ms of the transactions to list; -1: any.
    duration_filter: Int64 = field("1+", default=-1)
    transactional_id_pattern: Nullable[String] = field("2+", default=None)


class ListTransactionsResponse(Response, key=66, versions="0-2", flexible="0+"):
    """
    The transactions that this broker coordinates.
    """

    class TransactionState(Struct):
        """
        One transaction.
        """

        transactional_id: String
        producer_id: Int64
        transaction_state: String

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    unknown_state_filters: Array[String]
    transaction_states: Array[TransactionState]
