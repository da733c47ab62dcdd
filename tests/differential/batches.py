"""
Record batches, right and wrong ones.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

from crc32c import crc32c

from kafscale.wire.batches import (
    CRC_AT,
    CRC_COVERS_FROM,
    HEADER,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
)
from kafscale.wire.compression import deflate
from kafscale.wire.varints import put_bytes, put_varint

TIME = 1_700_000_000_000


def record(
    value: bytes | None = b"value",
    key: bytes | None = b"key",
    offset: int = 0,
    time: int = 0,
    headers: tuple[tuple[bytes | None, bytes | None], ...] = (),
    attributes: int = 0,
    extra: bytes = b"",
    missing: int = 0,
    header_count: int | None = None,
) -> bytes:
    """
    A record as it is in a batch.

    @param offset: Its offset delta.
    @param time: Its timestamp delta.
    @param extra: Bytes that its length counts, and that no field has.
    @param missing: Bytes that are cut off its end; its length says so.
    @param header_count: The stated number of its headers, if it is not the true one.
    """
    content = bytearray([attributes])
    put_varint(content, time)
    put_varint(content, offset)
    put_bytes(content, key)
    put_bytes(content, value)
    put_varint(content, len(headers) if header_count is None else header_count)
    for name, held in headers:
        put_bytes(content, name)
        put_bytes(content, held)
    content += extra
    if missing:
        del content[-missing:]
    out = bytearray()
    put_varint(out, len(content))
    return bytes(out + content)


def batch(*records: bytes, codec: int = 0, body: bytes | None = None, **header: Any) -> bytes:
    """
    A batch; what is not given is right.

    @param records: See L{record}.
    @param body: The records as they are sent, if not compressed by the codec.
    @param header: Fields of the header, with the names in C{BatchHeader}; C{max_timestamp}
        is right for records that are a millisecond apart.
    """
    held = deflate(codec, b"".join(records)) if body is None else body
    base = header.get("base_timestamp", TIME)
    fields = {
        "base_offset": 0,
        "length": HEADER_SIZE - LENGTH_OVERHEAD + len(held),
        "leader_epoch": -1,
        "magic": 2,
        "crc": 0,
        "attributes": 0,
        "last_offset_delta": len(records) - 1,
        "base_timestamp": base,
        "max_timestamp": base + max(0, len(records) - 1),
        "producer_id": -1,
        "producer_epoch": -1,
        "base_sequence": -1,
        "record_count": len(records),
        **header,
    }
    fields["attributes"] |= codec
    whole = bytearray(HEADER.pack(*fields.values()) + held)
    if "crc" not in header:
        struct.pack_into(">I", whole, CRC_AT, crc32c(bytes(whole[CRC_COVERS_FROM:])))
    return bytes(whole)


def batch_of(number: int, codec: int = 0, **header: int) -> bytes:
    """
    A batch of so many records, a millisecond apart.
    """
    held = (record(b"%d" % i, offset=i, time=i) for i in range(number))
    return batch(*held, codec=codec, body=None, **header)


def message_set(count: int, magic: int) -> bytes:
    """
    Messages as they were before batches.
    """
    out = b""
    for i in range(count):
        times = struct.pack(">q", TIME + i) if magic else b""
        held = struct.pack(">bb", magic, 0) + times
        held += struct.pack(">i", 3) + b"key" + struct.pack(">i", 1) + b"%d" % i
        message = struct.pack(">I", zlib.crc32(held)) + held
        out += struct.pack(">qi", i, len(message)) + message
    return out
