"""
How a record batch of version 2 is laid out (big-endian)::

     0  INT64   base offset            given by the broker, not under the CRC
     8  INT32   length                 of what follows this field
    12  INT32   partition leader epoch given by the broker, not under the CRC
    16  INT8    magic                  2
    17  UINT32  CRC-32C                of all that follows this field
    21  INT16   attributes             bits 0-2 codec, 3 log append time,
                                       4 transactional, 5 control
    23  INT32   last offset delta
    27  INT64   base timestamp
    35  INT64   max timestamp
    43  INT64   producer id            -1: none
    51  INT16   producer epoch
    53  INT32   base sequence
    57  INT32   number of records
    61          records, compressed as one
(https://kafka.apache.org/documentation/#recordbatch)
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from kafscale.errors import CorruptMessage

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = HEADER.size
MAGIC = 2
MAGIC_AT = 16
CRC_AT = 17
CRC_COVERS_FROM = 21
PRODUCER_ID_AT = 43
LENGTH_OVERHEAD = 12
"""What the length field does not count: the base offset and itself."""

CODEC_BITS = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20


class BatchHeader(NamedTuple):
    """
    The fixed part of a batch, as the module's docstring lays it out.
    """

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """
        Bytes of the whole batch.
        """
        return self.length + LENGTH_OVERHEAD

    @property
    def last_offset(self) -> int:
        """
        Offset of the last record.
        """
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """
        Offset after the last record.
        """
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """
        Sequence number of the last record, -1 without one. After 2^31-1 comes
        0.
        """
        if self.base_sequence < 0:
            return -1
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    @property
    def codec(self) -> int:
        """
        A number of L{Codec}.
        """
        return self.attributes & CODEC_BITS

    @property
    def log_append_time(self) -> bool:
        """
        Whether every record has the batch's max timestamp, given by a broker.
        """
        return bool(self.attributes & LOG_APPEND_TIME)

    @property
    def transactional(self) -> bool:
        """
        Whether the batch is part of a transaction.
        """
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def control(self) -> bool:
        """
        Whether it holds a transaction's end instead of records.
        """
        return bool(self.attributes & CONTROL)


class Record(NamedTuple):
    """
    One record.

    @ivar timestamp: In ms.
    @ivar headers: Pairs of name and value; a name may come twice.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def read_batch_header(view: bytes | memoryview, at: int = 0) -> BatchHeader:
    """
    The header of the batch that begins at C{at}. Nothing is checked but that
    it is there.

    @raise CorruptMessage: fewer bytes than a header.
    """
    try:
        return BatchHeader._make(HEADER.unpack_from(view, at))
    except struct.error:
        raise CorruptMessage("A record batch ends within its header") from None
