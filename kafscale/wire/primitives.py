"""
Runtime functions of compiled encoders and decoders: the parts of the format that
are not generated in line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import pack, unpack_from
from typing import Any
from uuid import UUID

__all__ = [
    "LARGE",
    "MAX_ELEMENTS",
    "MAX_TAGS",
    "VARINTS",
    "gather",
    "join",
    "new",
    "pack",
    "read_tags",
    "read_varint",
    "size_of",
    "unpack_from",
    "uuid_of",
    "varint",
    "write_tags",
]

#: The maximum number of array elements and tagged fields in a message. An element
#: can take a single byte on the wire but two hundred in memory, so without this
#: limit one frame of 100 MiB could take twenty gigabytes; with it, 200 MB. Kafka
#: has the same limit for each array (C{MessageUtil.MAX_ARRAY_LENGTH}).
MAX_ELEMENTS = 1_000_000

#: The maximum number of tagged fields in a structure, as in Kafka
#: (C{MessageUtil.MAX_TAGGED_FIELD_COUNT}).
MAX_TAGS = 10_000

#: The size in bytes from which on a byte string becomes a piece of its own. To
#: copy a smaller one is cheaper than to handle one more piece.
LARGE = 4096

TagReader = Callable[[memoryview, Any, int], int]
TagWriter = Callable[[Any], bytes]
# A tagged field to write: tag, attribute, default, and the writer of its value.
TagToWrite = tuple[int, str, Any, TagWriter]

Blobs = bytes | memoryview | Sequence[bytes | memoryview]

new = object.__new__
join = b"".join

# Unsigned varints of one byte.
VARINTS = tuple(bytes([value]) for value in range(128))


@lru_cache(maxsize=4096)
def uuid_of(raw: bytes) -> UUID:
    """
    Return the UUID of 16 bytes, from a cache: a few topic ids recur in all requests.
    """
    return UUID(bytes=raw)


def read_varint(data: memoryview, pos: int) -> tuple[int, int]:
    """
    Read an unsigned varint of at most 32 bits (KIP-482); return it, and the position
    after it.

    @raise ValueError: it has more than 32 bits.
    @raise IndexError: the data ends within it.
    """
    value = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            if value > 0xFFFFFFFF:
                break
            return value, pos
        shift += 7
        if shift > 28:
            break
    raise ValueError("a varint has more than 32 bits")


def varint(value: int) -> bytes:
    """
    Return an unsigned varint.
    """
    out = bytearray()
    while value > 127:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_tags(
    data: memoryview, pos: int, end: int, struct: Any, known: dict[int, TagReader], budget: int
) -> tuple[int, int]:
    """
    Set the tagged fields of a struct, and keep the unknown ones (KIP-482); return the
    position after them, and the remaining budget.

    @param data: The frame.
    @param pos: The position of the number of tagged fields.
    @param end: The end of the message.
    @param struct: The structure to set the fields of.
    @param known: The readers of known fields, by tag.
    @param budget: How many more elements the message may have.
    @raise ValueError: a tag repeats, is out of order or truncated.
    """
    count, pos = read_varint(data, pos)
    budget -= count
    if count > MAX_TAGS or count * 2 > end - pos or budget < 0:
        raise ValueError("too many tagged fields")
    unknown = {}
    last = -1
    for _ in range(count):
        tag, pos = read_varint(data, pos)
        size, pos = read_varint(data, pos)
        stop = pos + size
        if tag <= last or stop > end:
            raise ValueError(f"tagged field {tag} is out of order or truncated")
        last = tag
        reader = known.get(tag)
        if reader is None:
            unknown[tag] = bytes(data[pos:stop])
        else:
            budget = reader(data[pos:stop], struct, budget)
        pos = stop
    if unknown:
        struct.unknown_tags = unknown
    return pos, budget


def write_tags(out: list[Any], struct: Any, known: Sequence[TagToWrite]) -> None:
    """
    Append the tagged fields of a struct: those that differ from their default, and
    the unknown ones that it was decoded with, ordered by tag.
    """
    found: dict[int, bytes] = dict(struct.unknown_tags or {})
    for tag, attribute, default, write in known:
        value = getattr(struct, attribute)
        if value != default:
            found[tag] = write(value)
    out.append(varint(len(found)))
    for tag in sorted(found):
        out.append(varint(tag) + varint(len(found[tag])))
        out.append(found[tag])


def size_of(value: Blobs) -> int:
    """
    Return the size in bytes of the value of a Bytes or Records field.
    """
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, memoryview):
        return value.nbytes
    return sum(map(size_of, value))


def gather(out: list[Any], pieces: list[bytes], value: Blobs) -> None:
    """
    Append a byte string to C{out} if it is small. Otherwise complete the piece in
    C{out}, and make the byte string the next piece, uncopied.
    """
    if isinstance(value, memoryview):
        if value.nbytes < LARGE:
            out.append(value)
            return
        owner = value.obj
        if isinstance(owner, bytes) and len(owner) == value.nbytes and value.c_contiguous:
            value = owner
        else:
            value = bytes(value)  # Twisted takes bytes only: a view of a part is copied
    elif not isinstance(value, bytes):
        for each in value:
            gather(out, pieces, each)
        return
    if len(value) < LARGE:
        out.append(value)
    else:
        assert isinstance(value, bytes)
        if out:
            pieces.append(join(out))
            out.clear()
        pieces.append(value)
