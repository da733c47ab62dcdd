"""
Limits on what users and clients may do.
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Float64,
    Int8,
    Int16,
    Int32,
    Nullable,
    Request,
    Response,
    String,
    Struct,
)

__all__ = [
    "AlterClientQuotasRequest",
    "AlterClientQuotasResponse",
    "DescribeClientQuotasRequest",
    "DescribeClientQuotasResponse",
]


class DescribeClientQuotasRequest(Request, key=48, versions="0-1", flexible="1+"):
    """
    The quotas of users and clients that match.
    """

    class Component(Struct):
        """
        What one part of an entity must be like.
        """

        entity_type: String
        # 0: this name; 1: the default; 2: any name.
        match_type: Int8
        match: Nullable[String]

    components: Array[Component]
    # Entities with further parts do not match.
    strict: Boolean


class DescribeClientQuotasResponse(Response, key=48, versions="0-1", flexible="1+"):
    """
    The quotas that match.
    """

    class Entry(Struct):
        """
        The quotas of one entity.
        """

        class Entity(Struct):
            """
            One part of an entity's name; null is the default of its type.
            """

            entity_type: String
            entity_name: Nullable[String]

        class Value(Struct):
            """
            One quota.
            """

            key: String
            value: Float64

        entity: Array[Entity]
        values: Array[Value]

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    entries: Nullable[Array[Entry]]


class AlterClientQuotasRequest(Request, key=49, versions="0-1", flexible="1+"):
    """
    Set and remove quotas.
    """

    class Entry(Struct):
        """
        The changes to the quotas of one entity.
        """

        class Entity(Struct):
            """
            One part of an entity's name; null is the default of its type.
            """

            entity_type: String
            entity_name: Nullable[String]

        class Op(Struct):
            """
            One quota to set or remove.
            """

            key: String
            value: Float64
            remove: Boolean

        entity: Array[Entity]
        ops: Array[Op]

    entries: Array[Entry]
    validate_only: Boolean


class AlterClientQuotasResponse(Response, key=49, versions="0-1", flexible="1+"):
    """
    Which quotas changed.
    """

    class Entry(Struct):
        """
        The outcome for one entity.
        """

        class Entity(Struct):
            """
            One part of an entity's name; null is the default of its type.
            """

            entity_type: String
            entity_name: Nullable[String]

        error_code: Int16 = 0
        error_message: Nullable[String] = None
        entity: Array[Entity]

    throttle_time_ms: Int32 = 0
    entries: Array[Entry]
