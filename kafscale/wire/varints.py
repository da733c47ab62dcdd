"""
The numbers and byte strings within single records.

Records use zigzag varints, signed and of up to 64 bits; a byte string is its
length as such a varint (below 0: null) and its bytes. Messages never use them.
"""

from __future__ import annotations

from kafscale.errors import InvalidRecord


def read_varint(data: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """
    The number at C{at}, and the position after it.

    @raise InvalidRecord: it does not end before C{end}, or has over 64 bits.
    """
    shift = 0
    bits = 0
    while True:
        if at >= end or shift > 63:
            raise InvalidRecord("A record is cut short, or holds a number of more than 64 bits")
        byte = data[at]
        at += 1
        bits |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (bits >> 1) ^ -(bits & 1), at
        shift += 7


def read_bytes(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    """
    The byte string at C{at} (None: null), and the position after it.

    @raise InvalidRecord: it does not end before C{end}.
    """
    size, at = read_varint(data, at, end)
    if size < 0:
        return None, at
    if size > end - at:
        raise InvalidRecord("A record holds a field that is longer than the record")
    return data[at : at + size], at + size


def put_varint(out: bytearray, value: int) -> None:
    """
    Append a number.
    """
    bits = (value << 1) ^ (value >> 63)
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    out.append(bits)


def put_bytes(out: bytearray, data: bytes | None) -> None:
    """
    Append a byte string, or null.
    """
    if data is None:
        put_varint(out, -1)
    else:
        put_varint(out, len(data))
        out += data
