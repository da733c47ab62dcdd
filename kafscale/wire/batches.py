"""
The layout of record batches, version 2 (big-endian)::

     0  INT64   base offset            assigned by the broker, not under the CRC
     8  INT32   length                 bytes after this field
    12  INT32   partition leader epoch assigned by the broker, not under the CRC
    16  INT8    magic                  2
    17  UINT32  CRC-32C                of all bytes after this field
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

(https://kafka.apache.org/documentation/#recordbatch; KIP-98)
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
"""Bytes of a batch that the length field does not count: base offset and length."""

CODEC_BITS = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20


class BatchHeader(NamedTuple):
    """
    The header of a batch, with the fields that the module's docstring describes.

    @ivar length: Bytes after this field; see L{size}.
    @ivar base_timestamp: In ms since the epoch, as is C{max_timestamp}.
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
        The size of the whole batch in bytes.
        """
        return self.length + LENGTH_OVERHEAD

    @property
    def last_offset(self) -> int:
        """
        The offset of the last record.
        """
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """
        The offset after the last record.
        """
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """
        The sequence number of the last record; -1 without sequence numbers. They
        wrap from 2^31-1 to 0 (Kafka's C{DefaultRecordBatch.incrementSequence}).
        """
        if self.base_sequence < 0:
            return -1
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    @property
    def codec(self) -> int:
        """
        The compression codec, a number of L{Codec}.
        """
        return self.attributes & CODEC_BITS

    @property
    def log_append_time(self) -> bool:
        """
        Whether the max timestamp is the broker's, and that of all records.
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
        Whether the batch is a control batch, which ends a transaction.
        """
        return bool(self.attributes & CONTROL)


class Record(NamedTuple):
    """
    One record.

    @ivar timestamp: In ms since the epoch; -1 without one.
    @ivar headers: Pairs of name and value. Names may repeat.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def read_batch_header(view: bytes | memoryview, at: int = 0) -> BatchHeader:
    """
    Read the header of the batch at position C{at}. Nothing but its presence is
    checked.

    @raise CorruptMessage: fewer bytes than a header are left.
    """
    try:
        return BatchHeader._make(HEADER.unpack_from(view, at))
    except struct.error:
        raise CorruptMessage("The record batch is truncated within its header") from None
