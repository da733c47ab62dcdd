"""
What a broker understands, and what a cluster has agreed upon.
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Nullable,
    Request,
    Response,
    String,
    Struct,
    field,
)

__all__ = [
    "ApiVersionsRequest",
    "ApiVersionsResponse",
    "UpdateFeaturesRequest",
    "UpdateFeaturesResponse",
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
    # -1: not known.
    finalized_features_epoch: Int64 = field("3+", tag=1, default=-1)
    finalized_features: Array[FinalizedFeature] = field("3+", tag=2, factory=list)
    zk_migration_ready: Boolean = field("3+", tag=3, default=False)


class UpdateFeaturesRequest(Request, key=57, versions="0-2", flexible="0+"):
    """
    Move features of the cluster to other levels.
    """

    class FeatureUpdate(Struct):
        """
        One feature and its new level; level 0 removes it.
        """

        feature: String
        max_version_level: Int16
        allow_downgrade: Boolean = field("0", default=False)
        # 1: upgrade; 2: downgrade if nothing is lost; 3: downgrade anyway.
        upgrade_type: Int8 = field("1+", default=1)

    timeout_ms: Int32 = 60000
    feature_updates: Array[FeatureUpdate]
    validate_only: Boolean = field("1+", default=False)


class UpdateFeaturesResponse(Response, key=57, versions="0-2", flexible="0+"):
    """
    Whether the features moved.
    """

    class Result(Struct):
        """
        The outcome for one feature.
        """

        feature: String
        error_code: Int16 = 0
        error_message: Nullable[String] = None

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    results: Array[Result] = field("0-1", factory=list)
