"""
API versions of a broker, and the features of a cluster.
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


class ApiVersionsRequest(Request, key=18, versions="0-5", flexible="3+"):
    """
    Asks for the versions of all APIs. Clients send it first on each connection
    (KIP-35); from version 3 on they name their software (KIP-511), and from version 5
    on the broker that they mean to talk to (KIP-1242).
    """

    client_software_name: String = field("3+", default="")
    client_software_version: String = field("3+", default="")
    cluster_id: Nullable[String] = field("5+", default=None)
    # -1: any broker of the cluster.
    node_id: Int32 = field("5+", default=-1)


class ApiVersionsResponse(Response, key=18, versions="0-5", flexible="3+"):
    """
    The supported versions of each API, and the features of the cluster (KIP-584).

    The header is version 0 for all versions of the response, because a client
    reads it before it knows the versions of the broker (KIP-511).
    """

    class ApiKey(Struct):
        """
        The lowest and the highest version of one API.
        """

        api_key: Int16
        min_version: Int16
        max_version: Int16

    class SupportedFeature(Struct):
        """
        The levels of a feature that this broker supports.
        """

        name: String
        min_version: Int16
        max_version: Int16

    class FinalizedFeature(Struct):
        """
        The levels of a feature that the whole cluster has enabled.
        """

        name: String
        max_version_level: Int16
        min_version_level: Int16

    error_code: Int16 = 0
    api_keys: Array[ApiKey]
    throttle_time_ms: Int32 = field("1+", default=0)
    supported_features: Array[SupportedFeature] = field("3+", tag=0, factory=list)
    # -1: unknown.
    finalized_features_epoch: Int64 = field("3+", tag=1, default=-1)
    finalized_features: Array[FinalizedFeature] = field("3+", tag=2, factory=list)
    zk_migration_ready: Boolean = field("3+", tag=3, default=False)


class UpdateFeaturesRequest(Request, key=57, versions="0-2", flexible="0+"):
    """
    Changes the finalized levels of features (KIP-584).
    """

    class FeatureUpdate(Struct):
        """
        The new level of one feature; 0 removes the feature.
        """

        feature: String
        max_version_level: Int16
        allow_downgrade: Boolean = field("0", default=False)
        # 1: upgrade; 2: safe downgrade, without loss of metadata; 3: unsafe downgrade.
        upgrade_type: Int8 = field("1+", default=1)

    timeout_ms: Int32 = 60000
    feature_updates: Array[FeatureUpdate]
    validate_only: Boolean = field("1+", default=False)


class UpdateFeaturesResponse(Response, key=57, versions="0-2", flexible="0+"):
    """
    The outcome for each feature.
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
