"""
Access control lists (ACLs).
"""

from kafscale.wire.schema import (
    Array,
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
    "CreateAclsRequest",
    "CreateAclsResponse",
    "DeleteAclsRequest",
    "DeleteAclsResponse",
    "DescribeAclsRequest",
    "DescribeAclsResponse",
]


class DescribeAclsRequest(Request, key=29, versions="0-3", flexible="2+"):
    """
    Lists the ACLs that match a filter. A null name, principal or host matches all.
    """

    # 1: any; 2: topic; 3: group; 4: cluster; 5: transactional id; 6: token; 7: user.
    resource_type_filter: Int8
    resource_name_filter: Nullable[String]
    # 1: any; 2: all patterns that match the name; 3: literal; 4: prefixed.
    pattern_type_filter: Int8 = field("1+", default=3)
    principal_filter: Nullable[String]
    host_filter: Nullable[String]
    operation: Int8
    permission_type: Int8


class DescribeAclsResponse(Response, key=29, versions="0-3", flexible="2+"):
    """
    The matching ACLs, grouped by resource pattern.
    """

    class Resource(Struct):
        """
        A resource pattern and its ACLs.
        """

        class Acl(Struct):
            """
            The permission or denial of one operation, for a principal at a host.
            """

            principal: String
            host: String
            operation: Int8
            # 2: deny; 3: allow.
            permission_type: Int8

        resource_type: Int8
        resource_name: String
        pattern_type: Int8 = field("1+", default=3)
        acls: Array[Acl]

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    resources: Array[Resource]


class CreateAclsRequest(Request, key=30, versions="0-3", flexible="2+"):
    """
    Adds ACLs.
    """

    class Creation(Struct):
        """
        One ACL to add.
        """

        resource_type: Int8
        resource_name: String
        resource_pattern_type: Int8 = field("1+", default=3)
        principal: String
        host: String
        operation: Int8
        permission_type: Int8

    creations: Array[Creation]


class CreateAclsResponse(Response, key=30, versions="0-3", flexible="2+"):
    """
    The outcome for each ACL, in the order of the request.
    """

    class Result(Struct):
        """
        The outcome for one ACL.
        """

        error_code: Int16 = 0
        error_message: Nullable[String] = None

    throttle_time_ms: Int32 = 0
    results: Array[Result]


class DeleteAclsRequest(Request, key=31, versions="0-3", flexible="2+"):
    """
    Deletes the ACLs that match any of the filters.
    """

    class Filter(Struct):
        """
        One filter. A null name, principal or host matches all.
        """

        resource_type_filter: Int8
        resource_name_filter: Nullable[String]
        pattern_type_filter: Int8 = field("1+", default=3)
        principal_filter: Nullable[String]
        host_filter: Nullable[String]
        operation: Int8
        permission_type: Int8

    filters: Array[Filter]


class DeleteAclsResponse(Response, key=31, versions="0-3", flexible="2+"):
    """
    The deleted ACLs, in the order of the filters in the request.
    """

    class FilterResult(Struct):
        """
        The ACLs that one filter matched.
        """

        class MatchingAcl(Struct):
            """
            One ACL that matched; without an error it is deleted.
            """

            error_code: Int16 = 0
            error_message: Nullable[String] = None
            resource_type: Int8
            resource_name: String
            pattern_type: Int8 = field("1+", default=3)
            principal: String
            host: String
            operation: Int8
            permission_type: Int8

        error_code: Int16 = 0
        error_message: Nullable[String] = None
        matching_acls: Array[MatchingAcl]

    throttle_time_ms: Int32 = 0
    filter_results: Array[FilterResult]
