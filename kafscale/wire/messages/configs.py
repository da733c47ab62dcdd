"""
Configurations of topics, brokers and other resources.
"""

from kafscale.wire.schema import (
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
    field,
)

__all__ = [
    "AlterConfigsRequest",
    "AlterConfigsResponse",
    "DescribeConfigsRequest",
    "DescribeConfigsResponse",
    "IncrementalAlterConfigsRequest",
    "IncrementalAlterConfigsResponse",
    "ListConfigResourcesRequest",
    "ListConfigResourcesResponse",
]


class DescribeConfigsRequest(Request, key=32, versions="0-4", flexible="4+"):
    """
    Asks for the configuration of resources.
    """

    class Resource(Struct):
        """
        One resource. Null configuration keys stand for all keys.
        """

        # 2: topic; 4: broker; 8: loggers of a broker; 16: client metrics; 32: group.
        resource_type: Int8
        resource_name: String
        configuration_keys: Nullable[Array[String]]

    resources: Array[Resource]
    include_synonyms: Boolean = field("1+", default=False)
    include_documentation: Boolean = field("3+", default=False)


class DescribeConfigsResponse(Response, key=32, versions="0-4", flexible="4+"):
    """
    The configuration of each resource.
    """

    class Result(Struct):
        """
        The configuration of one resource, or an error.
        """

        class Config(Struct):
            """
            One configuration and its value in force.
            """

            class Synonym(Struct):
                """
                A source that sets the configuration. The first in the list is in force.
                """

                name: String
                value: Nullable[String]
                source: Int8

            name: String
            # Null if sensitive.
            value: Nullable[String]
            read_only: Boolean
            is_default: Boolean = field("0", default=False)
            # 1: set on the topic; 2-4: set on brokers; 5: default.
            config_source: Int8 = field("1+", default=-1)
            is_sensitive: Boolean
            synonyms: Array[Synonym] = field("1+", factory=list)
            # 1: boolean; 2: string; 3: int; 4: short; 5: long; 6: double; 7: list; 8: class;
            # 9: password.
            config_type: Int8 = field("3+", default=0)
            documentation: Nullable[String] = field("3+", default=None)

        error_code: Int16 = 0
        error_message: Nullable[String] = None
        resource_type: Int8
        resource_name: String
        configs: Array[Config] = field(factory=list)

    throttle_time_ms: Int32 = 0
    results: Array[Result]


class AlterConfigsRequest(Request, key=33, versions="0-2", flexible="2+"):
    """
    Replaces the configuration of resources. Keys that the request does not name return
    to their defaults.
    """

    class Resource(Struct):
        """
        A resource and its complete new configuration.
        """

        class Config(Struct):
            """
            One configuration.
            """

            name: String
            value: Nullable[String]

        resource_type: Int8
        resource_name: String
        configs: Array[Config]

    resources: Array[Resource]
    validate_only: Boolean


class AlterConfigsResponse(Response, key=33, versions="0-2", flexible="2+"):
    """
    The outcome for each resource.
    """

    class Resource(Struct):
        """
        The outcome for one resource.
        """

        error_code: Int16 = 0
        error_message: Nullable[String] = None
        resource_type: Int8
        resource_name: String

    throttle_time_ms: Int32 = 0
    responses: Array[Resource]


class IncrementalAlterConfigsRequest(Request, key=44, versions="0-1", flexible="1+"):
    """
    Changes single configurations, and leaves the others unchanged (KIP-339).
    """

    class Resource(Struct):
        """
        A resource and the changes to it.
        """

        class Config(Struct):
            """
            One change to one configuration.
            """

            name: String
            # 0: set; 1: delete; 2: append to a list; 3: subtract from a list.
            config_operation: Int8
            value: Nullable[String]

        resource_type: Int8
        resource_name: String
        configs: Array[Config]

    resources: Array[Resource]
    validate_only: Boolean


class IncrementalAlterConfigsResponse(Response, key=44, versions="0-1", flexible="1+"):
    """
    The outcome for each resource.
    """

    class Resource(Struct):
        """
        The outcome for one resource.
        """

        error_code: Int16 = 0
        error_message: Nullable[String] = None
        resource_type: Int8
        resource_name: String

    throttle_time_ms: Int32 = 0
    responses: Array[Resource]


class ListConfigResourcesRequest(Request, key=74, versions="0-1", flexible="0+"):
    """
    Lists resources that have configurations. Version 0 lists client metrics only
    (KIP-714), version 1 all types (KIP-1142).
    """

    # Empty: all types.
    resource_types: Array[Int8] = field("1+", factory=list)


class ListConfigResourcesResponse(Response, key=74, versions="0-1", flexible="0+"):
    """
    The names of resources that have configurations.
    """

    class ConfigResource(Struct):
        """
        One resource.
        """

        resource_name: String
        resource_type: Int8 = field("1+", default=16)

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    config_resources: Array[ConfigResource]
