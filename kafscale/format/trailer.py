"""
The trailer: the last 20 bytes of every object of the log.

Each object ends with a footer that describes its contents, and then the
trailer. So one read from the end finds the footer, and with it all that is in
the object. The trailer (big-endian)::

    UINT32   length of the footer
    UINT16   kind: 1 slot, 2 seal, 3 segment, 4 bundle of slots,
             5 volume of small segments
    UINT16   version of the layout: 1 + its level (`kafscale.format.levels`)
    UINT32   CRC-32C of the footer and the 8 bytes before this field
    8 bytes  "kafscale"

The layout of the trailer itself does not change, so every version can tell an
object that is newer than it from one that is damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from crc32c import crc32c

from kafscale.format.errors import CorruptObject
from kafscale.format.levels import check_level
from kafscale.wire.records import CRC_COVERS_FROM, HEADER_SIZE, read_batch_header

MAGIC = b"kafscale"
ABOUT = struct.Struct(">IHH")
"""The first part of the trailer, which the checksum covers."""

PROOF = struct.Struct(">I8s")
"""The second part: the checksum, and how every object ends."""

TRAILER_SIZE = ABOUT.size + PROOF.size
"""Length of the trailer in bytes."""


class Kind(IntEnum):
    """
    The kind of an object. Its format is called by the name in lower case.
    """

    SLOT = 1
    SEAL = 2
    SEGMENT = 3
    BUNDLE = 4
    VOLUME = 5


class End(NamedTuple):
    """
    The end of an object.

    @ivar level: Of the object's format.
    @ivar footer: Without the trailer.
    """

    kind: Kind
    level: int
    footer: bytes


def end_with(kind: Kind, footer: bytes, level: int = 0) -> bytes:
    """
    The footer and its trailer: the last bytes of an object.

    @param level: Of the layout that the object has.
    """
    about = ABOUT.pack(len(footer), kind, level + 1)
    return b"".join((footer, about, PROOF.pack(crc32c(about, crc32c(footer)), MAGIC)))


def read_end(suffix: bytes, size: int) -> End | int:
    """
    The end of an object; or, if C{suffix} does not hold the whole footer, the
    length of a suffix that does.

    @param suffix: The last bytes of the object.
    @param size: Of the whole object, in bytes.
    @raise CorruptObject: the object does not end with a footer and its trailer.
    @raise NewerFormat: a newer version has written it.
    """
    if len(suffix) < TRAILER_SIZE:
        if len(suffix) < size:
            return TRAILER_SIZE
        raise CorruptObject(f"An object of {size} bytes has no room for a trailer")
    at = len(suffix) - TRAILER_SIZE
    length, kind, version = ABOUT.unpack_from(suffix, at)
    crc, magic = PROOF.unpack_from(suffix, at + ABOUT.size)
    if magic != MAGIC:
        raise CorruptObject("The object does not end with a trailer")
    needed = length + TRAILER_SIZE
    if needed > size:
        raise CorruptObject(f"An object of {size} bytes cannot have a footer of {length}")
    if needed > len(suffix):
        return int(needed)
    footer = suffix[at - length : at]
    if crc32c(suffix[at : at + ABOUT.size], crc32c(footer)) != crc:
        raise CorruptObject("The footer does not have the CRC-32C that the trailer states")
    if kind not in Kind.__members__.values() or not version:
        raise CorruptObject(f"Kind {kind}, version {version} of a footer is not known here")
    check_level(Kind(kind).name.lower(), version - 1)
    return End(Kind(kind), version - 1, footer)


def proof(batches: Iterable[bytes | memoryview], before: int = 0) -> int:
    """
    Return the checksum by which batches are recognized: the CRC-32C of their
    headers, one after another, continued from C{before}. Each header has the
    CRC-32C of all bytes after it, so these need not be read once more.
    """
    for batch in batches:
        before = crc32c(batch[:HEADER_SIZE], before)
    return before


def intact(batches: Sequence[bytes], kept: int) -> bool:
    """
    Whether these are undamaged the batches of which the L{proof} is C{kept}.
    """
    return proof(batches) == kept and all(
        crc32c(memoryview(batch)[CRC_COVERS_FROM:]) == read_batch_header(batch).crc
        for batch in batches
    )
