"""
The layouts of a slot of the journal, and of a seal.

A slot is the batches of many partitions, those of one partition side by side,
then a footer, then the trailer (`kafscale.format.trailer`). The footer has a row
for each partition, big-endian::

    16 bytes  topic id
    INT32     index of the partition in the topic
    INT32     leader epoch
    INT64     offset of the first record
    INT64     offset of the last record
    INT64     largest timestamp that the batches' headers state, in ms
    UINT64    position of the first batch in the object
    UINT64    length of all its batches
    UINT32    CRC-32C of their headers, each of which has that of its records

From level 1 on the headers of all batches state the largest timestamps of their
records. Before that it is what their producers said.

A seal has the key of a slot and another kind: the journal ends before it. Its
footer is JSON::

    {"sealed_by": <the incarnation that wrote it>}
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from operator import index
from uuid import UUID

import attrs

from kafscale.format.errors import CorruptObject
from kafscale.format.trailer import TRAILER_SIZE, Kind, end_with, read_end
from kafscale.wire.records import HEADER_SIZE

ROW = struct.Struct(">16siiqqqQQI")
"""A partition in the footer: the fields of L{Range}."""

SMALLEST_SLOT = HEADER_SIZE + ROW.size + TRAILER_SIZE
"""The least size of a slot in bytes, since it has a batch. A seal is smaller."""


@attrs.frozen
class Range:
    """
    The batches of one partition in a slot.

    @ivar topic_id: Of the partition.
    @ivar index: Of the partition in the topic.
    @ivar leader_epoch: In which the batches were written.
    @ivar first_offset: Of the first record.
    @ivar last_offset: Of the last record.
    @ivar max_timestamp: The largest that the batches' headers state, in ms.
    @ivar position: The first byte of the batches in the object.
    @ivar length: Of all batches, in bytes.
    @ivar crc: L{kafscale.format.trailer.proof} of all batches.
    @ivar true_times: Whether the headers are known to state the largest timestamps of
        their records: the slot is of level 1.
    """

    topic_id: UUID
    index: int
    leader_epoch: int
    first_offset: int
    last_offset: int
    max_timestamp: int
    position: int
    length: int
    crc: int
    true_times: bool = False


@attrs.frozen
class Seal:
    """
    The end of a journal, written by a successor.

    @ivar sealer: The incarnation that wrote it.
    """

    sealer: int


def write_slot_footer(ranges: Sequence[Range], level: int = 0) -> bytes:
    """
    Return the last bytes of a slot: its footer and trailer.

    @param ranges: In the order in which the batches are stored.
    @param level: Of the format.
    """
    rows = [
        ROW.pack(
            part.topic_id.bytes,
            part.index,
            part.leader_epoch,
            part.first_offset,
            part.last_offset,
            part.max_timestamp,
            part.position,
            part.length,
            part.crc,
        )
        for part in ranges
    ]
    return end_with(Kind.SLOT, b"".join(rows), level)


def write_seal(sealer: int) -> bytes:
    """
    Return all bytes of a seal.

    @param sealer: The incarnation that writes it.
    """
    return end_with(Kind.SEAL, json.dumps({"sealed_by": sealer}).encode())


def read_slot(suffix: bytes, size: int) -> tuple[Range, ...] | Seal | int:
    """
    Return the ranges of a slot, or a seal; or, if C{suffix} does not hold the
    whole footer, the length of a suffix that does.

    @param suffix: The last bytes of the object.
    @param size: Of the whole object, in bytes.
    @raise CorruptObject: the object is neither a slot nor a seal, or is damaged.
    @raise NewerFormat: a newer version has written it.
    """
    end = read_end(suffix, size)
    if isinstance(end, int):
        return end
    kind, footer = end.kind, end.footer
    if kind is Kind.SEAL:
        return _read_seal(footer)
    if kind is not Kind.SLOT or len(footer) % ROW.size:
        raise CorruptObject(f"A slot of the journal has the footer of a {kind.name.lower()}")
    true_times = end.level >= 1
    rows = ((UUID(bytes=row[0]), *row[1:], true_times) for row in ROW.iter_unpack(footer))
    ranges = tuple(Range(*row) for row in rows)
    position = 0
    for part in ranges:
        if part.position != position:
            raise CorruptObject("A slot's footer leaves a gap between its partitions")
        position += part.length
    if position + len(footer) + TRAILER_SIZE != size:
        raise CorruptObject(f"A slot of {size} bytes has a footer for {position} bytes of batches")
    return ranges


def _read_seal(footer: bytes) -> Seal:
    try:
        return Seal(index(json.loads(footer)["sealed_by"]))
    except (LookupError, TypeError, ValueError) as error:
        raise CorruptObject(f"A seal says {footer[:100]!r}: {error!r}") from error
