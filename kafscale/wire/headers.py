"""
Headers of requests and responses.

The version of a header follows from that of the body: flexible bodies have
request header 2 and response header 1, others 1 and 0 (KIP-482). The exception
is the response to ApiVersions, whose header is always 0, because a client must
be able to read it before it knows the broker's versions (KIP-511).
"""

from __future__ import annotations

import struct

import attrs

from kafscale.wire.kinds import MalformedMessage
from kafscale.wire.messages import REQUESTS
from kafscale.wire.primitives import read_varint

API_VERSIONS = 18

_FIXED = struct.Struct(">hhi")
_LENGTH = struct.Struct(">h")
_CORRELATION = struct.Struct(">i")

# An empty set of tagged fields.
_NO_TAGS = b"\x00"

# No tagged field is defined for headers yet; a header with more is malformed.
_MAX_TAGS = 100


@attrs.frozen
class RequestHeader:
    """
    The header of a request.

    @ivar api_key: The number of the API.
    @ivar api_version: The version of the request.
    @ivar correlation_id: Repeated in the header of the response.
    @ivar client_id: The client's name for itself; may be None.
    """

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None


def _flexible(api_key: int, api_version: int) -> bool:
    """
    @raise MalformedMessage: there is no such API.
    """
    request = REQUESTS.get(api_key)
    if request is None:
        raise MalformedMessage(f"unknown API key {api_key}")
    return request.flexible(api_version)


def peek(frame: bytes | memoryview) -> tuple[int, int, int]:
    """
    Read API key, version and correlation id of a request. These are at the same
    positions in all versions of the header.

    @raise MalformedMessage: the frame is shorter.
    """
    try:
        api_key, api_version, correlation_id = _FIXED.unpack_from(frame)
    except struct.error as error:
        raise MalformedMessage(f"request header: {error}") from error
    return api_key, api_version, correlation_id


def read_header(frame: bytes | memoryview) -> tuple[RequestHeader, int]:
    """
    Return the header of a request, and the position of its body.

    @raise MalformedMessage: the header is truncated, or there is no such API.
    """
    api_key, api_version, correlation_id = peek(frame)
    client_id, at = read_client_id(frame, _flexible(api_key, api_version))
    return RequestHeader(api_key, api_version, correlation_id, client_id), at


def read_client_id(frame: bytes | memoryview, flexible: bool) -> tuple[str | None, int]:
    """
    Read the part of a request header that L{peek} does not; return the client id,
    and the position of the body.

    The length of the client id has 16 bits also in header 2, unlike that of other
    strings there, because brokers read it before they know the version (KIP-482).

    @raise MalformedMessage: the header is truncated.
    """
    data = memoryview(frame)
    try:
        (length,) = _LENGTH.unpack_from(data, _FIXED.size)
        pos = _FIXED.size + _LENGTH.size
        client_id = None
        if length >= 0:
            if pos + length > len(data):
                raise ValueError("the client id is truncated")
            client_id = str(data[pos : pos + length], "utf-8")
            pos += length
        if flexible:
            pos = _skip_tags(data, pos)
    except (struct.error, IndexError, ValueError) as error:
        raise MalformedMessage(f"request header: {error}") from error
    return client_id, pos


def request_header(
    api_key: int, api_version: int, correlation_id: int, client_id: str | None = None
) -> bytes:
    """
    Return the bytes of a request header, as a client sends it.

    @param client_id: The client's name for itself; None is null.
    @raise MalformedMessage: there is no such API.
    """
    fixed = _FIXED.pack(api_key, api_version, correlation_id)
    name = b"" if client_id is None else client_id.encode()
    length = _LENGTH.pack(-1 if client_id is None else len(name))
    return fixed + length + name + (_NO_TAGS if _flexible(api_key, api_version) else b"")


def response_header(api_key: int, api_version: int, correlation_id: int) -> bytes:
    """
    Return the bytes of the header of a response.

    @param api_key: That of the request, as are C{api_version} and
        C{correlation_id}.
    @raise MalformedMessage: there is no such API.
    """
    if api_key != API_VERSIONS and _flexible(api_key, api_version):
        return _CORRELATION.pack(correlation_id) + _NO_TAGS
    return _CORRELATION.pack(correlation_id)


def read_response_header(
    api_key: int, api_version: int, frame: bytes | memoryview
) -> tuple[int, int]:
    """
    Return the correlation id of a response, and the position of its body.

    @raise MalformedMessage: the header is truncated, or there is no such API.
    """
    data = memoryview(frame)
    try:
        (correlation_id,) = _CORRELATION.unpack_from(data)
        pos = _CORRELATION.size
        if api_key != API_VERSIONS and _flexible(api_key, api_version):
            pos = _skip_tags(data, pos)
    except (struct.error, IndexError, ValueError) as error:
        raise MalformedMessage(f"response header: {error}") from error
    return correlation_id, pos


def _skip_tags(data: memoryview, pos: int) -> int:
    """
    Return the position after the tagged fields of a header. None is defined yet.
    """
    count, pos = read_varint(data, pos)
    if count > _MAX_TAGS:
        raise ValueError(f"too many tagged fields: {count}")
    for _ in range(count):
        _, pos = read_varint(data, pos)
        size, pos = read_varint(data, pos)
        pos += size
    if pos > len(data):
        raise ValueError("a tagged field is truncated")
    return pos
