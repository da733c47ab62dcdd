"""
What a volume looks like in the object store.

A volume is several small segments, its *chapters*, one after the other: each
byte for byte a segment with a footer and a trailer of its own
(`kafscale.format.segment`). Then comes the volume's footer with a row for each
chapter, big-endian, and the trailer (`kafscale.format.trailer`)::

    16 bytes  topic id
    INT32     index of the partition in the topic
    INT64     offset of the first record
    UINT64    position in the object
    UINT32    length in bytes

Readers find a chapter by the partition's record
(L{kafscale.format.partition.Chapter}) and do not need the volume's footer. The
footer does not decide which chapters are part of a log: the records alone do.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from uuid import UUID

import attrs

from kafscale.format.errors import CorruptObject
from kafscale.format.trailer import TRAILER_SIZE, Kind, end_with, read_end

ROW = struct.Struct(">16siqQI")
"""A chapter in the footer: the fields of L{VolumeRow}."""


@attrs.frozen
class VolumeRow:
    """
    What a volume's footer says of one chapter.

    @ivar topic_id: Of the partition.
    @ivar index: Of the partition in the topic.
    @ivar base: Offset of the first record.
    @ivar position: The first byte of the chapter in the volume.
    @ivar size: Length of the chapter in bytes.
    """

    topic_id: UUID
    index: int
    base: int
    position: int
    size: int


def write_volume_footer(rows: Sequence[VolumeRow]) -> bytes:
    """
    The last bytes of a volume: its footer and trailer.
    """
    packed = [
        ROW.pack(row.topic_id.bytes, row.index, row.base, row.position, row.size) for row in rows
    ]
    return end_with(Kind.VOLUME, b"".join(packed))


def read_volume_footer(suffix: bytes, size: int) -> list[VolumeRow] | int:
    """
    The chapters of a volume; or, if C{suffix} does not hold the whole footer,
    the length of a suffix that does.

    @param suffix: The last bytes of the object.
    @param size: Of the whole object, in bytes.
    @raise CorruptObject: the object is no volume, or is damaged.
    @raise NewerFormat: a newer version has written it.
    """
    end = read_end(suffix, size)
    if isinstance(end, int):
        return end
    kind, footer = end.kind, end.footer
    if kind is not Kind.VOLUME or len(footer) % ROW.size:
        raise CorruptObject(f"A volume has the footer of a {kind.name.lower()}")
    rows = [VolumeRow(UUID(bytes=topic), *rest) for topic, *rest in ROW.iter_unpack(footer)]
    position = 0
    for row in rows:
        if row.position != position:
            raise CorruptObject(f"A chapter begins at byte {row.position}, not at {position}")
        position += row.size
    if position + len(footer) + TRAILER_SIZE != size:
        raise CorruptObject(
            f"A volume of {size} bytes has a footer for {position} bytes of chapters"
        )
    return rows
