"""
Varints and byte strings within records.

Records use zigzag varints, signed and of up to 64 bits. A byte string is its
length as such a varint (negative: null) and its bytes. Messages use neither.
"""

from __future__ import annotations

from kafscale.errors import InvalidRecord


def read_varint(data: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """
    Read the number at C{at}; return it, and the position after it.

    @raise InvalidRecord: it does not end before C{end}, or has more than 64 bits.
    """
    shift = 0
    bits = 0
    while True:
        if at >= end or shift > 63:
            raise InvalidRecord("A record is truncated, or a varint in it has more than 64 bits")
        byte = data[at]
        at += 1
        bits |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (bits >> 1) ^ -(bits & 1), at
        shift += 7


def read_bytes(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    """
    Read the byte string at C{at} (None: null); return it, and the position after it.

    @raise InvalidRecord: it does not end before C{end}.
    """
    size, at = read_varint(data, at, end)
    if size < 0:
        return None, at
    if size > end - at:
        raise InvalidRecord("A field of a record is longer than the record")
    return data[at : at + size], at + size


def put_varint(out: bytearray, value: int) -> None:
    """
    Append a number to C{out}.
    """
    bits = (value << 1) ^ (value >> 63)
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    out.append(bits)


def put_bytes(out: bytearray, data: bytes | None) -> None:
    """
    Append a byte string, or null, to C{out}.
    """
    if data is None:
        put_varint(out, -1)
    else:
        put_varint(out, len(data))
        out += data
