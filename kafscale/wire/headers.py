"""
What stands in front of every request and response.

Which header a message has follows from its body: a flexible body has request
header 2 and response header 1, any other has 1 and 0. The one exception is
the response to ApiVersions, whose header is 0 always: a client must be able to
read it before it knows what the broker speaks (KIP-511).
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

# None is defined for headers yet; a header with more is not one.
_MOST_TAGS = 100


@attrs.frozen
class RequestHeader:
    """
    @ivar correlation_id: Comes back in the response's header.
    @ivar client_id: As the client calls itself, or None.
    """

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None


def _flexible(api_key: int, api_version: int) -> bool:
    """
    @raise MalformedMessage: There is no such API.
    """
    request = REQUESTS.get(api_key)
    if request is None:
        raise MalformedMessage(f"there is no API {api_key}")
    return request.flexible(api_version)


def peek(frame: bytes | memoryview) -> tuple[int, int, int]:
    """
    API key, version and correlation id of a request, which stand at the same
    place whatever the rest looks like.

    @raise MalformedMessage: The frame is shorter than that.
    """
    try:
        api_key, api_version, correlation_id = _FIXED.unpack_from(frame)
    except struct.error as error:
        raise MalformedMessage(f"request header: {error}") from error
    return api_key, api_version, correlation_id


def read_header(frame: bytes | memoryview) -> tuple[RequestHeader, int]:
    """
    The header of a request, and where its body begins.

    @raise MalformedMessage: It is cut short, or there is no such API.
    """
    api_key, api_version, correlation_id = peek(frame)
    client_id, at = read_client_id(frame, _flexible(api_key, api_version))
    return RequestHeader(api_key, api_version, correlation_id, client_id), at


def read_client_id(frame: bytes | memoryview, flexible: bool) -> tuple[str | None, int]:
    """
    What of the header L{peek} does not tell, and where the body begins.

    The client id has a 16-bit length also in header 2, unlike every other
    string there: brokers read it before they know the version (KIP-482).

    @raise MalformedMessage: It is cut short.
    """
    data = memoryview(frame)
    try:
        (length,) = _LENGTH.unpack_from(data, _FIXED.size)
        pos = _FIXED.size + _LENGTH.size
        client_id = None
        if length >= 0:
            if pos + length > len(data):
                raise ValueError("the client id is cut short")
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
    The header of a request, as a client writes it.
    """
    fixed = _FIXED.pack(api_key, api_version, correlation_id)
    name = b"" if client_id is None else client_id.encode()
    length = _LENGTH.pack(-1 if client_id is None else len(name))
    return fixed + length + name + (_NO_TAGS if _flexible(api_key, api_version) else b"")


def response_header(api_key: int, api_version: int, correlation_id: int) -> bytes:
    """
    The header of the response to a request of that key and version.
    """
    if api_key != API_VERSIONS and _flexible(api_key, api_version):
        return _CORRELATION.pack(correlation_id) + _NO_TAGS
    return _CORRELATION.pack(correlation_id)


def read_response_header(
    api_key: int, api_version: int, frame: bytes | memoryview
) -> tuple[int, int]:
    """
    The correlation id of a response, and where its body begins.

    @raise MalformedMessage: The frame is cut short.
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
    Where the tagged fields of a header end. None of them means anything yet.
    """
    count, pos = read_varint(data, pos)
    if count > _MOST_TAGS:
        raise ValueError(f"{count} tagged fields are too many")
    for _ in range(count):
        _, pos = read_varint(data, pos)
        size, pos = read_varint(data, pos)
        pos += size
    if pos > len(data):
        raise ValueError("a tagged field is cut short")
    return pos
