"""
Records in bytes, with whatever mistakes a test wants.
"""

from __future__ import annotations

from kafscale.wire.batches import BatchHeader
from kafscale.wire.varints import put_bytes, put_varint


def varint(value: int) -> bytes:
    """
    Return a number as records have it.
    """
    out = bytearray()
    put_varint(out, value)
    return bytes(out)


def field(data: bytes | None) -> bytes:
    """
    Return a byte string as records have it.
    """
    out = bytearray()
    put_bytes(out, data)
    return bytes(out)


def raw_record(
    delta: int,
    delta_time: int = 0,
    key: bytes | None = b"k",
    value: bytes | None = b"v",
    headers: bytes = b"\x00",
    size: int | None = None,
) -> bytes:
    """
    Return one record.

    @param headers: Their number, and the headers.
    @param size: The size that it states; None: the right one.
    """
    body = b"\x00" + varint(delta_time) + varint(delta) + field(key) + field(value) + headers
    return varint(len(body) if size is None else size) + body


def header_of(count: int, base_timestamp: int = 1000, codec: int = 0, size: int = 0) -> BatchHeader:
    """
    Return the header of a batch of C{count} records, of C{size} bytes after it.
    """
    return BatchHeader(
        0, size + 49, 0, 2, 0, codec, count - 1, base_timestamp, -1, -1, -1, -1, count
    )
