"""
Topics that come, grow and go.
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
    Make topics.
    """

    class Topic(Struct):
        """
        A topic to make: with a number of partitions, or with assignments.
        """

        class Assignment(Struct):
            """
            The brokers that hold one partition.
            """

            partition_index: Int32
            broker_ids: Array[Int32]

        class Config(Struct):
            """
            A setting that differs from its default.
            """

            name: String
            value: Nullable[String]

        name: String
        # -1: the broker's default, or as the assignments say.
        num_partitions: Int32
        # -1: likewise.
        replication_factor: Int16
        assignments: Array[Assignment]
        configs: Array[Config]

    topics: Array[Topic]
    timeout_ms: Int32 = 60000
    validate_only: Boolean = field("1+", default=False)


class CreateTopicsResponse(Response, key=19, versions="0-7", flexible="5+"):
    """
    Which topics were made, and, from version 5 on, what they look like.
    """

    class Topic(Struct):
        """
        A topic that was made, or why it was not.
        """

        class Config(Struct):
            """
            A setting as it is in force for the new topic.
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
        # Why the settings are not shown.
        topic_config_error_code: Int16 = field("5+", tag=0, default=0)
        num_partitions: Int32 = field("5+", default=-1)
        replication_factor: Int16 = field("5+", default=-1)
        configs: Nullable[Array[Config]] = field("5+", default=None)

    throttle_time_ms: Int32 = field("2+", default=0)
    topics: Array[Topic]


class DeleteTopicsRequest(Request, key=20, versions="0-6", flexible="4+"):
    """
    Remove topics: by name, or from version 6 on by name or id.
    """

    class Topic(Struct):
        """
        A topic to remove: a name, or null and an id.
        """

        name: Nullable[String] = None
        topic_id: Uuid = NO_UUID

    topic_names: Array[String] = field("0-5", factory=list)
    topics: Array[Topic] = field("6+", factory=list)
    timeout_ms: Int32


class DeleteTopicsResponse(Response, key=20, versions="0-6", flexible="4+"):
    """
    Which topics were removed.
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
    Add partitions to topics.
    """

    class Topic(Struct):
        """
        How many partitions a topic is to have in all.
        """

        class Assignment(Struct):
            """
            The brokers that hold one of the new partitions.
            """

            broker_ids: Array[Int32]

        name: String
        count: Int32
        # Null: the broker chooses.
        assignments: Nullable[Array[Assignment]]

    topics: Array[Topic]
    timeout_ms: Int32
    validate_only: Boolean


class CreatePartitionsResponse(Response, key=37, versions="0-3", flexible="2+"):
    """
    Which topics have grown.
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
