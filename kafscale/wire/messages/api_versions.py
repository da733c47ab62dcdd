"""
What a broker understands.
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Int16,
    Int32,
    Int64,
    Request,
    Response,
    String,
    Struct,
    field,
)

__all__ = [
    "ApiVersionsRequest",
    "ApiVersionsResponse",
]


class ApiVersionsRequest(Request, key=18, versions="0-4", flexible="3+"):
    """
    Which APIs the broker has: what every connection asks first.
    """

    client_software_name: String = field("3+", default="")
    client_software_version: String = field("3+", default="")


class ApiVersionsResponse(Response, key=18, versions="0-4", flexible="3+"):
    """
    The versions of each API that can be used. Its header is that of version 0
    always, so that a client can read it before it knows anything.
    """

    class ApiKey(Struct):
        """
        One API, and its lowest and highest version.
        """

        api_key: Int16
        min_version: Int16
        max_version: Int16

    class SupportedFeature(Struct):
        """
        A feature of the cluster, and the levels that this broker could work at.
        """

        name: String
        min_version: Int16
        max_version: Int16

    class FinalizedFeature(Struct):
        """
        A feature that the whole cluster works at a certain level of.
        """

        name: String
        max_version_level: Int16
        min_version_level: Int16

    error_code: Int16 = 0
    api_keys: Array[ApiKey]
    throttle_time_ms: Int32 = field("1+", default=0)
    supported_features: Array[SupportedFeature] = field("3+", tag=0, factory=list)
    finalized_features_epoch: Int64 = field("3+", tag=1, default=-1)
    finalized_features: Array[FinalizedFeature] = field("3+", tag=2, factory=list)
    zk_migration_ready: Boolean = field("3+", tag=3, default=False)
