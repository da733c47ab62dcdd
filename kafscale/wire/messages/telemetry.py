"""
Metrics that clients push to the broker (KIP-714).
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Bytes,
    Int8,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Uuid,
)

__all__ = [
    "GetTelemetrySubscriptionsRequest",
    "GetTelemetrySubscriptionsResponse",
    "PushTelemetryRequest",
    "PushTelemetryResponse",
]


class GetTelemetrySubscriptionsRequest(Request, key=71, versions="0", flexible="0+"):
    """
    Asks for the metrics that this client should push.
    """

    # Zero in the first request; the response assigns an id.
    client_instance_id: Uuid


class GetTelemetrySubscriptionsResponse(Response, key=71, versions="0", flexible="0+"):
    """
    The requested metrics, and the interval at which to push them.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    client_instance_id: Uuid
    subscription_id: Int32
    accepted_compression_types: Array[Int8]
    push_interval_ms: Int32
    telemetry_max_bytes: Int32
    delta_temporality: Boolean
    requested_metrics: Array[String]


class PushTelemetryRequest(Request, key=72, versions="0", flexible="0+"):
    """
    The metrics of the client, in OpenTelemetry's format.
    """

    client_instance_id: Uuid
    subscription_id: Int32
    terminating: Boolean
    compression_type: Int8
    metrics: Bytes


class PushTelemetryResponse(Response, key=72, versions="0", flexible="0+"):
    """
    The outcome of the push.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
