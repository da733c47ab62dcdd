"""
Client quotas.
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
    Lists the client quotas that match a filter (KIP-546).
    """

    class Component(Struct):
        """
        The condition on one part of an entity.
        """

        entity_type: String
        # 0: exact name; 1: default entity; 2: any name.
        match_type: Int8
        match: Nullable[String]

    components: Array[Component]
    # If true, entities with further parts do not match.
    strict: Boolean


class DescribeClientQuotasResponse(Response, key=48, versions="0-1", flexible="1+"):
    """
    The matching quotas.
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
    Sets and removes client quotas (KIP-546).
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
    The outcome for each entity.
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
