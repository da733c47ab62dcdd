"""
Every request and response of Kafka's clients, by family.

What brokers say among themselves is not here.
"""

from kafscale.wire.messages.api_versions import (
    ApiVersionsRequest,
    ApiVersionsResponse,
)
from kafscale.wire.messages.fetch import (
    FetchRequest,
    FetchResponse,
)
from kafscale.wire.messages.metadata import (
    MetadataRequest,
    MetadataResponse,
)
from kafscale.wire.messages.produce import (
    ProduceRequest,
    ProduceResponse,
)
from kafscale.wire.schema import Request, Response

__all__ = [
    "REQUESTS",
    "RESPONSES",
    "ApiVersionsRequest",
    "ApiVersionsResponse",
    "FetchRequest",
    "FetchResponse",
    "MetadataRequest",
    "MetadataResponse",
    "ProduceRequest",
    "ProduceResponse",
]

# By API key.
REQUESTS: dict[int, type[Request]] = {
    each.key: each
    for each in (
        ProduceRequest,
        FetchRequest,
        MetadataRequest,
        ApiVersionsRequest,
    )
}

RESPONSES: dict[int, type[Response]] = {
    each.key: each
    for each in (
        ProduceResponse,
        FetchResponse,
        MetadataResponse,
        ApiVersionsResponse,
    )
}
