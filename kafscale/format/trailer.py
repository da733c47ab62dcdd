"""
How the objects of the log end.

Each object, a slot or a segment, ends with a footer that says what is in it,
and after that a trailer of 20 bytes, by which the footer is found from behind
with one ranged read (big-endian)::

    UINT32  length of the footer
    UINT16  kind: 1 slot, 2 seal, 3 segment, 4 bundle of slots,
            5 volume of small segments
    UINT16  version of the footer's layout: 1
    UINT32  CRC-32C of the footer and the 8 bytes before this field
    8 bytes "kafscale"
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum

from crc32c import crc32c

from kafscale.format.errors import CorruptObject
from kafscale.wire.records import CRC_COVERS_FROM, HEADER_SIZE, read_batch_header

VERSION = 1
"""Of every footer's layout."""

_MAGIC = b"kafscale"
_ABOUT = struct.Struct(">IHH")
_PROOF = struct.Struct(">I8s")
TRAILER_SIZE = _ABOUT.size + _PROOF.size
"""How many bytes tell an object's kind."""


class Kind(IntEnum):
    """
    What an object of the log is.
    """

    SLOT = 1
    SEAL = 2
    SEGMENT = 3
    BUNDLE = 4
    VOLUME = 5


def end_with(kind: Kind, footer: bytes) -> bytes:
    """
    The footer and its trailer: the last bytes of an object.
    """
    about = _ABOUT.pack(len(footer), kind, VERSION)
    return b"".join((footer, about, _PROOF.pack(crc32c(about, crc32c(footer)), _MAGIC)))


def read_end(suffix: bytes, size: int) -> tuple[Kind, bytes] | int:
    """
    An object's kind and its footer; or, if C{suffix} does not hold all of it,
    how long a suffix does.

    @param suffix: The last bytes of the object.
    @param size: Of the whole object.
    @raise CorruptObject: it ends in another way.
    """
    if len(suffix) < TRAILER_SIZE:
        if len(suffix) < size:
            return TRAILER_SIZE
        raise CorruptObject(f"An object of {size} bytes has no room for a trailer")
    at = len(suffix) - TRAILER_SIZE
    length, kind, version = _ABOUT.unpack_from(suffix, at)
    crc, magic = _PROOF.unpack_from(suffix, at + _ABOUT.size)
    if magic != _MAGIC:
        raise CorruptObject("The object does not end with a trailer")
    needed = length + TRAILER_SIZE
    if needed > size:
        raise CorruptObject(f"An object of {size} bytes cannot have a footer of {length}")
    if needed > len(suffix):
        return int(needed)
    footer = suffix[at - length : at]
    if crc32c(suffix[at : at + _ABOUT.size], crc32c(footer)) != crc:
        raise CorruptObject("The footer does not have the CRC-32C that the trailer states")
    if version != VERSION or kind not in Kind.__members__.values():
        raise CorruptObject(f"Kind {kind}, version {version} of a footer is not known here")
    return Kind(kind), footer


def proof(batches: Iterable[bytes | memoryview], before: int = 0) -> int:
    """
    What is kept of batches to know them again: CRC-32C of their headers, one
    after another, going on from C{before}. A header has the CRC-32C of all
    that follows it, so their bytes need not be gone through once more.
    """
    for batch in batches:
        before = crc32c(batch[:HEADER_SIZE], before)
    return before


def intact(batches: Sequence[bytes], kept: int) -> bool:
    """
    Whether batches are those of which the L{proof} was C{kept}.
    """
    return proof(batches) == kept and all(
        crc32c(memoryview(batch)[CRC_COVERS_FROM:]) == read_batch_header(batch).crc
        for batch in batches
    )
