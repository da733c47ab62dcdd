"""
Settings of topics, brokers and others.
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
    The settings of topics and brokers.
    """

    class Resource(Struct):
        """
        What to describe. Null or no keys ask for every setting.
        """

        # 2: topic; 4: broker; 8: a broker's loggers; 16: client metrics; 32: group.
        resource_type: Int8
        resource_name: String
        configuration_keys: Nullable[Array[String]]

    resources: Array[Resource]
    include_synonyms: Boolean = field("1+", default=False)
    include_documentation: Boolean = field("3+", default=False)


class DescribeConfigsResponse(Response, key=32, versions="0-4", flexible="4+"):
    """
    The settings that were asked for.
    """

    class Result(Struct):
        """
        The settings of one resource, or an error.
        """

        class Config(Struct):
            """
            One setting as it is in force.
            """

            class Synonym(Struct):
                """
                A value that one source gives the setting; the first of them is in force.
                """

                name: String
                value: Nullable[String]
                source: Int8

            name: String
            # Null when it is secret.
            value: Nullable[String]
            read_only: Boolean
            is_default: Boolean = field("0", default=False)
            # 1: set for the topic; 2-4: for brokers; 5: default.
            config_source: Int8 = field("1+", default=-1)
            is_sensitive: Boolean
            synonyms: Array[Synonym] = field("1+", factory=list)
            # 1: boolean; 2: string; 3-5: whole numbers; 6: double; 7: list; 8: class; 9: password.
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
    Replace all settings of a resource: what is not named goes back to its default.
    """

    class Resource(Struct):
        """
        A resource and its whole new set of settings.
        """

        class Config(Struct):
            """
            One setting.
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
    Whether the settings were replaced.
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
    Change single settings and leave the others alone (KIP-339).
    """

    class Resource(Struct):
        """
        A resource and the changes to it.
        """

        class Config(Struct):
            """
            One change to one setting.
            """

            name: String
            # 0: set; 1: remove; 2: append to a list; 3: take from a list.
            config_operation: Int8
            value: Nullable[String]

        resource_type: Int8
        resource_name: String
        configs: Array[Config]

    resources: Array[Resource]
    validate_only: Boolean


class IncrementalAlterConfigsResponse(Response, key=44, versions="0-1", flexible="1+"):
    """
    Whether the settings were changed.
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
    The resources that have settings. Version 0 knows client metrics only.
    """

    # Empty: all types.
    resource_types: Array[Int8] = field("1+", factory=list)


class ListConfigResourcesResponse(Response, key=74, versions="0-1", flexible="0+"):
    """
    The names of resources that have settings.
    """

    class ConfigResource(Struct):
        """
        A resource of any type.
        """

        resource_name: String
        resource_type: Int8 = field("1+", default=16)

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    config_resources: Array[ConfigResource]
