"""
What a bundle of slots looks like in the object store.

A bundle is a copy of up to 64 neighbouring slots of one journal: the slots byte
for byte, one after the other, then a footer (big-endian)::

    INT64     number of the first slot
    n UINT32  length of each slot in bytes

then the trailer (`kafscale.format.trailer`). The number of slots follows from
the length of the footer. A bundle says nothing that its slots do not say: which
records are durable is decided by the slots alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from kafscale.format.errors import CorruptObject
from kafscale.format.trailer import TRAILER_SIZE, Kind, end_with, read_end

GROUP = 64
"""The most slots in one bundle: those whose numbers have the same quotient by
this number."""

FIRST = struct.Struct(">q")
"""The fixed part of the footer."""


def write_bundle(first: int, slots: Sequence[list[bytes]]) -> list[bytes]:
    """
    All bytes of a bundle, in pieces.

    @param first: The number of the first slot.
    @param slots: The pieces of each slot, in order.
    """
    sizes = [sum(map(len, pieces)) for pieces in slots]
    footer = FIRST.pack(first) + struct.pack(f">{len(sizes)}I", *sizes)
    return [*(piece for pieces in slots for piece in pieces), end_with(Kind.BUNDLE, footer)]


def read_bundle(data: bytes) -> Iterator[tuple[int, bytes]]:
    """
    The slots of a bundle with their numbers, in order.

    @param data: The whole object.
    @raise CorruptObject: the object is no bundle, or is damaged.
    @raise NewerFormat: a newer version has written it.
    """
    end = read_end(data, len(data))
    if isinstance(end, int) or end.kind is not Kind.BUNDLE:
        raise CorruptObject("A bundle of slots does not end as one")
    footer = end.footer
    if len(footer) < FIRST.size or len(footer) % 4:
        raise CorruptObject(f"A bundle of slots has a footer of {len(footer)} bytes")
    (number,) = FIRST.unpack_from(footer)
    sizes = struct.unpack(f">{(len(footer) - FIRST.size) // 4}I", footer[FIRST.size :])
    if sum(sizes) + len(footer) + TRAILER_SIZE != len(data):
        raise CorruptObject(f"A bundle of {len(data)} bytes has slots of {sum(sizes)}")
    at = 0
    for size in sizes:
        yield number, data[at : at + size]
        number += 1
        at += size
