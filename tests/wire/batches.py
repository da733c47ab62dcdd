"""
Record batches with contents of every kind, and damaged ones.
"""

from __future__ import annotations

import struct

from crc32c import crc32c

from kafscale.wire.records import Record

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
