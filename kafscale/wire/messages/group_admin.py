"""
Administration of groups.
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Bytes,
    GroupName,
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
    "DeleteGroupsRequest",
    "DeleteGroupsResponse",
    "DescribeGroupsRequest",
    "DescribeGroupsResponse",
    "ListGroupsRequest",
    "ListGroupsResponse",
]


class DescribeGroupsRequest(Request, key=15, versions="0-6", flexible="5+"):
    """
    Asks for the state of groups.
    """

    groups: Array[GroupName]
    include_authorized_operations: Boolean = field("3+", default=False)


class DescribeGroupsResponse(Response, key=15, versions="0-6", flexible="5+"):
    """
    The state of groups.
    """

    class Group(Struct):
        """
        One group; state Dead if there is no such group.
        """

        class Member(Struct):
            """
            A member, with its metadata from JoinGroup and its assignment.
            """

            member_id: String
            group_instance_id: Nullable[String] = field("4+", default=None)
            client_id: String
            client_host: String
            member_metadata: Bytes
            member_assignment: Bytes

        error_code: Int16 = 0
        error_message: Nullable[String] = field("6+", default=None)
        group_id: String
        group_state: String
        protocol_type: String
        # Name of the chosen assignment protocol.
        protocol_data: String
        members: Array[Member]
        # A bit for each operation; -2147483648: not requested.
        authorized_operations: Int32 = field("3+", default=-2147483648)

    throttle_time_ms: Int32 = field("1+", default=0)
    groups: Array[Group]


class ListGroupsRequest(Request, key=16, versions="0-5", flexible="3+"):
    """
    Lists the groups that this broker coordinates. An empty filter matches all groups.
    """

    states_filter: Array[String] = field("4+", factory=list)
    types_filter: Array[String] = field("5+", factory=list)


class ListGroupsResponse(Response, key=16, versions="0-5", flexible="3+"):
    """
    The groups that this broker coordinates.
    """

    class Group(Struct):
        """
        One group.
        """

        group_id: String
        protocol_type: String
        group_state: String = field("4+", default="")
        group_type: String = field("5+", default="")

    throttle_time_ms: Int32 = field("1+", default=0)
    error_code: Int16 = 0
    groups: Array[Group]


class DeleteGroupsRequest(Request, key=42, versions="0-3", flexible="2+"):
    """
    Deletes groups without members, with their committed offsets (KIP-229).
    """

    groups_names: Array[GroupName]


class DeleteGroupsResponse(Response, key=42, versions="0-3", flexible="2+"):
    """
    The outcome for each group.
    """

    class Result(Struct):
        """
        The outcome for one group.
        """

        group_id: String
        error_code: Int16 = 0
        error_message: Nullable[String] = field("3+", default=None)

    throttle_time_ms: Int32 = 0
    results: Array[Result]
