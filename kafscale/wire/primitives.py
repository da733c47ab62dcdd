"""
What compiled functions call: the parts of the format that are not worth
writing out in line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import pack, unpack_from
from typing import Any
from uuid import UUID

__all__ = [
    "LARGE",
    "MOST_ELEMENTS",
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

# One message has at most so many array elements and tagged fields. An element
# can take a single byte on the wire but two hundred in memory, so without this
# one frame of 100 MiB could take twenty gigabytes. With it, 50 MB.
MOST_ELEMENTS = 250_000

# Byte strings from this size on are pieces of their own; copying a smaller
# one is cheaper than handling one more piece.
LARGE = 4096

TagReader = Callable[[memoryview, Any, int], int]
TagWriter = Callable[[Any], bytes]
# A tagged field to write: tag, attribute, default, its value's writer.
TagToWrite = tuple[int, str, Any, TagWriter]

Blobs = bytes | memoryview | Sequence[bytes | memoryview]

new = object.__new__
join = b"".join

# Unsigned varints of one byte.
VARINTS = tuple(bytes([value]) for value in range(128))


@lru_cache(maxsize=4096)
def uuid_of(raw: bytes) -> UUID:
    """
    The id of 16 bytes. The same few ids come again and again.
    """
    return UUID(bytes=raw)


def read_varint(data: memoryview, pos: int) -> tuple[int, int]:
    """
    An unsigned varint of at most 32 bits, and where it ends.

    @raise ValueError: It is longer.
    @raise IndexError: The data ends in it.
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
    raise ValueError("a varint is longer than 32 bits")


def varint(value: int) -> bytes:
    """
    An unsigned varint.
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
    Set a struct's tagged fields, and keep those that are not known; return
    where they end, and what is left of the budget.

    @raise ValueError: A tag comes twice, or out of order, or is cut short.
    """
    count, pos = read_varint(data, pos)
    budget -= count
    if count * 2 > end - pos or budget < 0:
        raise ValueError("there cannot be so many tagged fields")
    unknown = {}
    last = -1
    for _ in range(count):
        tag, pos = read_varint(data, pos)
        size, pos = read_varint(data, pos)
        stop = pos + size
        if tag <= last or stop > end:
            raise ValueError(f"tagged field {tag} is out of order or cut short")
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
    Append a struct's tagged fields: those that differ from their default,
    and the unknown ones that came with it, in the order of their tags.
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
    The bytes of what a Bytes or Records field can hold.
    """
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, memoryview):
        return value.nbytes
    return sum(map(size_of, value))


def gather(out: list[Any], pieces: list[bytes], value: Blobs) -> None:
    """
    Append a byte string to C{out} if it is small; otherwise end the piece
    that is in C{out}, and make the string the next piece, uncopied.
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
