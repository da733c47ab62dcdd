"""
Record batches with contents of every kind, and damaged ones.
"""

from __future__ import annotations

import struct

from crc32c import crc32c

from kafscale.wire.batches import (
    CRC_COVERS_FROM,
    HEADER,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    Record,
    read_batch_header,
)

LIMIT = 1 << 20

RECORDS = [
    Record(0, 1_000, b"a", b"1" * 300, ((b"name", b"value"), (b"name", None))),
    Record(1, 3_000, None, b"", ()),
    Record(2, 2_000, b"", None, ((b"", b""),)),
    Record(3, 3_000, b"d", b"\x00\xff" * 100, ()),
]


def changed(batch: bytes | memoryview, at: int, data: bytes) -> memoryview:
    """
    Return the batch with other bytes at C{at}, and a matching CRC.
    """
    body = bytearray(batch)
    body[at : at + len(data)] = data
    body[17:21] = struct.pack(">I", crc32c(bytes(body[21:])))
    return memoryview(bytes(body))


def with_header(batch: bytes | memoryview, body: bytes | None = None, **fields: int) -> bytes:
    """
    Return the batch with other fields of L{BatchHeader} or another body; its length and
    CRC match.
    """
    body = bytes(batch[HEADER_SIZE:]) if body is None else body
    header = read_batch_header(batch)._replace(
        length=HEADER_SIZE + len(body) - LENGTH_OVERHEAD, **fields
    )
    crc = crc32c(HEADER.pack(*header)[CRC_COVERS_FROM:] + body)
    return HEADER.pack(*header._replace(crc=crc)) + body
