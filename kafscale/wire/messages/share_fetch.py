"""
Fetches and acknowledgements of share groups (KIP-932).
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
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
    "ShareAcknowledgeRequest",
    "ShareAcknowledgeResponse",
    "ShareFetchRequest",
    "ShareFetchResponse",
]


class ShareFetchRequest(Request, key=78, versions="0-2", flexible="0+"):
    """
    Fetches records for a member of a share group, and acknowledges earlier ones.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            One partition.
            """

            class AcknowledgementBatch(Struct):
                """
                Acknowledgements of consecutive records: one type for all, or one each.
                """

                first_offset: Int64
                last_offset: Int64
                # 0: gap; 1: accept; 2: release; 3: reject; 4: renew.
                acknowledge_types: Array[Int8]

            partition_index: Int32
            partition_max_bytes: Int32 = field("0", default=0)
            acknowledgement_batches: Array[AcknowledgementBatch]

        topic_id: Uuid
        partitions: Array[Partition]

    class ForgottenTopic(Struct):
        """
        Partitions to remove from the session.
        """

        topic_id: Uuid
        partitions: Array[Int32]

    group_id: Nullable[String] = None
    member_id: Nullable[String]
    # 0: opens a session; -1: closes it.
    share_session_epoch: Int32
    max_wait_ms: Int32
    min_bytes: Int32
    max_bytes: Int32 = 2147483647
    max_records: Int32 = field("1+", default=0)
    batch_size: Int32 = field("1+", default=0)
    # 0: complete batches; 1: at most the maximum number of records.
    share_acquire_mode: Int8 = field("2+", default=0)
    is_renew_ack: Boolean = field("2+", default=False)
    topics: Array[Topic]
    forgotten_topics_data: Array[ForgottenTopic]


class ShareFetchResponse(Response, key=78, versions="0-2", flexible="0+"):
    """
    The records that the member has acquired.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            Record batches of one partition, and the records of them that the member acquired.
            """

            class CurrentLeader(Struct):
                """
                The leader of the partition, as this broker knows it.
                """

                leader_id: Int32
                leader_epoch: Int32

            class AcquiredRecord(Struct):
                """
                A range of acquired records.
                """

                first_offset: Int64
                last_offset: Int64
                delivery_count: Int16

            partition_index: Int32
            error_code: Int16 = 0
            error_message: Nullable[String] = None
            acknowledge_error_code: Int16
            acknowledge_error_message: Nullable[String] = None
            current_leader: CurrentLeader
            records: Nullable[RecordPieces] = field(nullable="0")
            acquired_records: Array[AcquiredRecord]

        topic_id: Uuid
        partitions: Array[Partition]

    class NodeEndpoint(Struct):
        """
        The address of a broker that a C{current_leader} names.
        """

        node_id: Int32
        host: String
        port: Int32
        rack: Nullable[String] = None

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    acquisition_lock_timeout_ms: Int32 = field("1+", default=0)
    responses: Array[Topic]
    node_endpoints: Array[NodeEndpoint]


class ShareAcknowledgeRequest(Request, key=79, versions="0-2", flexible="0+"):
    """
    Acknowledges records without fetching more.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            One partition.
            """

            class AcknowledgementBatch(Struct):
                """
                Acknowledgements of consecutive records: one type for all, or one each.
                """

                first_offset: Int64
                last_offset: Int64
                # 0: gap; 1: accept; 2: release; 3: reject; 4: renew.
                acknowledge_types: Array[Int8]

            partition_index: Int32
            acknowledgement_batches: Array[AcknowledgementBatch]

        topic_id: Uuid
        partitions: Array[Partition]

    group_id: Nullable[String] = None
    member_id: Nullable[String]
    # -1: closes the session.
    share_session_epoch: Int32
    is_renew_ack: Boolean = field("2+", default=False)
    topics: Array[Topic]


class ShareAcknowledgeResponse(Response, key=79, versions="0-2", flexible="0+"):
    """
    The outcome for each partition.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            One partition.
            """

            class CurrentLeader(Struct):
                """
                The leader of the partition, as this broker knows it.
                """

                leader_id: Int32
                leader_epoch: Int32

            partition_index: Int32
            error_code: Int16 = 0
            error_message: Nullable[String] = None
            current_leader: CurrentLeader

        topic_id: Uuid
        partitions: Array[Partition]

    class NodeEndpoint(Struct):
        """
        The address of a broker that a C{current_leader} names.
        """

        node_id: Int32
        host: String
        port: Int32
        rack: Nullable[String] = None

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    acquisition_lock_timeout_ms: Int32 = field("2+", default=0)
    responses: Array[Topic]
    node_endpoints: Array[NodeEndpoint]
