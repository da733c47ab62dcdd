"""
Creation, growth and deletion of topics.
"""

from kafscale.wire.schema import (
    NO_UUID,
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
    Uuid,
    field,
)

__all__ = [
    "CreatePartitionsRequest",
    "CreatePartitionsResponse",
    "CreateTopicsRequest",
    "CreateTopicsResponse",
    "DeleteTopicsRequest",
    "DeleteTopicsResponse",
]


class CreateTopicsRequest(Request, key=19, versions="0-7", flexible="5+"):
    """
    Creates topics.
    """

    class Topic(Struct):
        """
        A topic to create, with a number of partitions or with explicit assignments.
        """

        class Assignment(Struct):
            """
            The brokers of one partition.
            """

            partition_index: Int32
            broker_ids: Array[Int32]

        class Config(Struct):
            """
            One configuration of the topic.
            """

            name: String
            value: Nullable[String]

        name: String
        # -1: the broker's default, or given by the assignments.
        num_partitions: Int32
        # -1: the broker's default, or given by the assignments.
        replication_factor: Int16
        assignments: Array[Assignment]
        configs: Array[Config]

    topics: Array[Topic]
    timeout_ms: Int32 = 60000
    validate_only: Boolean = field("1+", default=False)


class CreateTopicsResponse(Response, key=19, versions="0-7", flexible="5+"):
    """
    The outcome for each topic, from version 5 on with its configuration (KIP-525).
    """

    class Topic(Struct):
        """
        A created topic, or an error.
        """

        class Config(Struct):
            """
            One configuration of the new topic, and its value in force.
            """

            name: String
            value: Nullable[String]
            read_only: Boolean
            config_source: Int8 = -1
            is_sensitive: Boolean

        name: String
        topic_id: Uuid = field("7+", default=NO_UUID)
        error_code: Int16 = 0
        error_message: Nullable[String] = field("1+", default=None)
        # The error because of which the configuration is not shown.
        topic_config_error_code: Int16 = field("5+", tag=0, default=0)
        num_partitions: Int32 = field("5+", default=-1)
        replication_factor: Int16 = field("5+", default=-1)
        configs: Nullable[Array[Config]] = field("5+", default=None)

    throttle_time_ms: Int32 = field("2+", default=0)
    topics: Array[Topic]


class DeleteTopicsRequest(Request, key=20, versions="0-6", flexible="4+"):
    """
    Deletes topics by name, or from version 6 on by name or id.
    """

    class Topic(Struct):
        """
        A topic to delete: a name, or null and an id.
        """

        name: Nullable[String] = None
        topic_id: Uuid = NO_UUID

    topic_names: Array[String] = field("0-5", factory=list)
    topics: Array[Topic] = field("6+", factory=list)
    timeout_ms: Int32


class DeleteTopicsResponse(Response, key=20, versions="0-6", flexible="4+"):
    """
    The outcome for each topic.
    """

    class Topic(Struct):
        """
        The outcome for one topic.
        """

        name: Nullable[String] = field(nullable="6+")
        topic_id: Uuid = field("6+", default=NO_UUID)
        error_code: Int16 = 0
        error_message: Nullable[String] = field("5+", default=None)

    throttle_time_ms: Int32 = field("1+", default=0)
    responses: Array[Topic]


class CreatePartitionsRequest(Request, key=37, versions="0-3", flexible="2+"):
    """
    Adds partitions to topics (KIP-195).
    """

    class Topic(Struct):
        """
        A topic and its new total number of partitions.
        """

        class Assignment(Struct):
            """
            The brokers of one new partition.
            """

            broker_ids: Array[Int32]

        name: String
        count: Int32
        # Null: chosen by the broker.
        assignments: Nullable[Array[Assignment]]

    topics: Array[Topic]
    timeout_ms: Int32
    validate_only: Boolean


class CreatePartitionsResponse(Response, key=37, versions="0-3", flexible="2+"):
    """
    The outcome for each topic.
    """

    class Result(Struct):
        """
        The outcome for one topic.
        """

        name: String
        error_code: Int16 = 0
        error_message: Nullable[String] = None

    throttle_time_ms: Int32 = 0
    results: Array[Result]
