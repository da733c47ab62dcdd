"""
Records for share groups, and what became of them.
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
    Records for a member of a share group, and what became of those it had before.
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
                What became of a run of records: one type for all of them, or one for each.
                """

                first_offset: Int64
                last_offset: Int64
                # 0: a gap; 1: accept; 2: release; 3: reject; 4: renew.
                acknowledge_types: Array[Int8]

            partition_index: Int32
            partition_max_bytes: Int32 = field("0", default=0)
            acknowledgement_batches: Array[AcknowledgementBatch]

        topic_id: Uuid
        partitions: Array[Partition]

    class ForgottenTopic(Struct):
        """
        Partitions that leave the session.
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
    # 0: whole batches; 1: no more records than asked for.
    share_acquire_mode: Int8 = field("2+", default=0)
    is_renew_ack: Boolean = field("2+", default=False)
    topics: Array[Topic]
    forgotten_topics_data: Array[ForgottenTopic]


class ShareFetchResponse(Response, key=78, versions="0-2", flexible="0+"):
    """
    Records that the member holds now, for a time.
    """

    class Topic(Struct):
        """
        The partitions of one topic.
        """

        class Partition(Struct):
            """
            Record batches of one partition, and which of their records are this member's.
            """

            class CurrentLeader(Struct):
                """
                Who leads the partition now, as far as the broker knows.
                """

                leader_id: Int32
                leader_epoch: Int32

            class AcquiredRecord(Struct):
                """
                A run of records that the member holds.
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
        Where to reach a broker that some C{current_leader} names.
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
    What became of records, without a wish for more.
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
                What became of a run of records: one type for all of them, or one for each.
                """

                first_offset: Int64
                last_offset: Int64
                # 0: a gap; 1: accept; 2: release; 3: reject; 4: renew.
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
    Which acknowledgements were taken.
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
                Who leads the partition now, as far as the broker knows.
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
        Where to reach a broker that some C{current_leader} names.
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
