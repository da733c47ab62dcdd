"""
Rules of access.
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
    The rules of access that match a filter. Null matches anything.
    """

    # 1: any; 2: topic; 3: group; 4: cluster; 5: transactional id; 6: token; 7: user.
    resource_type_filter: Int8
    resource_name_filter: Nullable[String]
    # 1: any; 2: whatever matches the name; 3: literal; 4: prefixed.
    pattern_type_filter: Int8 = field("1+", default=3)
    principal_filter: Nullable[String]
    host_filter: Nullable[String]
    operation: Int8
    permission_type: Int8


class DescribeAclsResponse(Response, key=29, versions="0-3", flexible="2+"):
    """
    The rules that match, by resource.
    """

    class Resource(Struct):
        """
        A resource, or a pattern of names, and its rules.
        """

        class Acl(Struct):
            """
            Who may, or may not, do what from where.
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
    Add rules of access.
    """

    class Creation(Struct):
        """
        A rule to add.
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
    Which rules were added, in the order of the request.
    """

    class Result(Struct):
        """
        The outcome for one rule.
        """

        error_code: Int16 = 0
        error_message: Nullable[String] = None

    throttle_time_ms: Int32 = 0
    results: Array[Result]


class DeleteAclsRequest(Request, key=31, versions="0-3", flexible="2+"):
    """
    Remove the rules of access that match any of some filters.
    """

    class Filter(Struct):
        """
        What rules to remove. Null matches anything.
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
    Which rules were removed, in the order of the request's filters.
    """

    class FilterResult(Struct):
        """
        The rules that one filter matched.
        """

        class MatchingAcl(Struct):
            """
            A rule that matched, and whether it is gone.
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
