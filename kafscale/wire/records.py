"""
Record batches, version 2: the contents of the log.

The broker stores batches byte for byte, but for a header that does not agree with
its records. It assigns their offsets. L{kafscale.wire.batches} has the layout, and
L{kafscale.wire.record_walk} looks at single records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from crc32c import crc32c

from kafscale.errors import CorruptMessage, InvalidRecord, UnsupportedCompressionType
from kafscale.wire.batches import (
    CODEC_BITS,
    CRC_AT,
    CRC_COVERS_FROM,
    HEADER,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    MAGIC,
    MAGIC_AT,
    PRODUCER_ID_AT,
    BatchHeader,
    Record,
    read_batch_header,
)
from kafscale.wire.building import build_batch
from kafscale.wire.compression import Codec, inflate
from kafscale.wire.record_walk import find
from kafscale.wire.varints import read_bytes, read_varint

__all__ = [
    "CRC_COVERS_FROM",
    "HEADER_SIZE",
    "LENGTH_OVERHEAD",
    "BatchHeader",
    "Record",
    "build_batch",
    "check_batch",
    "first_at_or_after",
    "iterate",
    "read_batch_header",
    "read_body",
    "read_records",
    "recode",
    "restate",
    "stamp",
]

_STAMP = struct.Struct(">qii")
_TIMES = struct.Struct(">hiqq")  # from the attributes to the max timestamp
_CRC = struct.Struct(">I")
_TIME_LIMIT = 1 << 63


def check_batch(view: memoryview) -> BatchHeader:
    """
    Check the records that a producer sent for one partition: they must be exactly
    one batch with a valid header (Kafka's C{LogValidator.validateBatch}). Single
    records are not checked.

    @return: The header of the batch.
    @raise CorruptMessage: truncated, or with a wrong CRC: a retry may help.
    @raise InvalidRecord: no batch, several batches, another magic, or a header that
        contradicts itself.
    @raise UnsupportedCompressionType: the codec is unknown.
    """
    if not view:
        raise InvalidRecord("Each partition must have exactly one record batch, not none")
    if len(view) > MAGIC_AT and view[MAGIC_AT] != MAGIC:
        raise InvalidRecord(f"Record batches must have magic 2, not {view[MAGIC_AT]}")
    header = read_batch_header(view)
    if header.size > len(view) or header.size < HEADER_SIZE:
        raise CorruptMessage(f"The batch states a size of {header.size} bytes, but has {len(view)}")
    if header.size < len(view):
        raise InvalidRecord("Each partition must have exactly one record batch, not several")
    if crc32c(view[CRC_COVERS_FROM:]) != header.crc:
        raise CorruptMessage("The CRC-32C of the record batch does not match")
    if header.record_count <= 0 or header.record_count != header.last_offset_delta + 1:
        number, delta = header.record_count, header.last_offset_delta
        raise InvalidRecord(f"A batch of {number} records has last offset delta {delta}")
    if header.control:
        raise InvalidRecord("Clients must not write control batches")
    if header.producer_id >= 0 and (header.base_sequence < 0 or header.producer_epoch < 0):
        raise InvalidRecord(
            f"A batch of producer {header.producer_id} has epoch {header.producer_epoch}"
            f" and sequence {header.base_sequence}"
        )
    if header.codec > Codec.ZSTD:
        raise UnsupportedCompressionType(f"Unknown compression codec {header.codec}")
    return header


def stamp(
    view: memoryview,
    header: BatchHeader,
    base_offset: int,
    leader_epoch: int,
    append_time: int = -1,
) -> bytes:
    """
    Return the batch as the log stores it: one copy, with base offset and leader
    epoch.

    @param view: A batch that L{check_batch} accepts.
    @param header: The header of C{view}.
    @param base_offset: The offset of the first record.
    @param leader_epoch: The leader epoch of the partition.
    @param append_time: For message.timestamp.type=LogAppendTime, the broker's time in
        ms since the epoch. It becomes the timestamp of all records, and the CRC is
        recomputed. -1 keeps the producer's timestamps.
    """
    head = _STAMP.pack(base_offset, header.length, leader_epoch)
    if append_time < 0:
        return b"".join((head, view[MAGIC_AT:]))
    attributes = header.attributes | LOG_APPEND_TIME
    stamped = header._replace(attributes=attributes, max_timestamp=append_time)
    return b"".join((head, view[MAGIC_AT:CRC_AT], *_from_crc(view, stamped)))


def restate(view: memoryview, header: BatchHeader) -> bytes:
    """
    Return a copy of the batch with the attributes and the max timestamp of another
    header, and the CRC of that.

    @param view: A batch that L{check_batch} accepts.
    """
    return b"".join((view[:CRC_AT], *_from_crc(view, header)))


def recode(view: memoryview, header: BatchHeader, codec: int, body: bytes) -> bytes:
    """
    Return the batch with its records in another codec.

    @param header: The header of C{view}.
    @param codec: A number of L{Codec}.
    @param body: The records, in that codec.
    """
    recoded = header._replace(
        length=HEADER_SIZE - LENGTH_OVERHEAD + len(body),
        attributes=header.attributes & ~CODEC_BITS | codec,
    )
    crc = crc32c(body, crc32c(HEADER.pack(*recoded)[CRC_COVERS_FROM:]))
    return HEADER.pack(*recoded._replace(crc=crc)) + body


def _from_crc(view: memoryview, header: BatchHeader) -> tuple[bytes | memoryview, ...]:
    """
    Return the pieces of a batch from its CRC on, with the attributes and the max
    timestamp of C{header}.
    """
    times = _TIMES.pack(
        header.attributes, header.last_offset_delta, header.base_timestamp, header.max_timestamp
    )
    rest = view[PRODUCER_ID_AT:]
    return _CRC.pack(crc32c(rest, crc32c(times))), times, rest


def iterate(
    batches: bytes | memoryview, at: int = 0, stop: int | None = None
) -> Iterator[tuple[int, BatchHeader]]:
    """
    Yield position and header of the consecutive batches from C{at} to C{stop}.

    @param stop: The end of the last batch; None: the end of C{batches}.
    @raise CorruptMessage: the last batch is truncated, or a length is wrong.
    """
    end = len(batches) if stop is None else stop
    while at < end:
        header = read_batch_header(batches, at)
        if header.size < HEADER_SIZE or header.size > end - at:
            raise CorruptMessage(f"Invalid batch size {header.size} at position {at} of {end}")
        yield at, header
        at += header.size


def read_records(batch: bytes | memoryview, limit: int) -> Iterator[Record]:
    """
    Decode the records of one batch.

    @param limit: The maximum decompressed size in bytes.
    @raise InvalidRecord: the records are larger than C{limit}, or do not match the
        header.
    """
    header = read_batch_header(batch)
    yield from read_body(header, bytes(_body(batch, header, limit)))


def read_body(header: BatchHeader, data: bytes) -> Iterator[Record]:
    """
    Decode the records of a batch from its decompressed body.

    @param data: The records of the batch, decompressed.
    @raise InvalidRecord: the records do not match the header.
    """
    for offset, timestamp, key_size, at, end in _scan(data, header):
        key = None if key_size < 0 else data[at : at + key_size]
        value, at = read_bytes(data, at + max(key_size, 0), end)
        number, at = read_varint(data, at, end)
        headers = []
        for _ in range(number):
            name, at = read_bytes(data, at, end)
            held, at = read_bytes(data, at, end)
            if name is None:
                raise InvalidRecord("A header of a record has no name")
            headers.append((name, held))
        if number < 0 or at != end:
            raise InvalidRecord(f"The record at offset {offset} has a wrong length")
        yield Record(offset, timestamp, key, value, tuple(headers))


def first_at_or_after(
    batch: bytes | memoryview, timestamp: int, limit: int, start: int = 0
) -> tuple[int, int] | None:
    """
    Return (timestamp, offset) of the first record at or after C{timestamp}; None if
    there is none. The header's max timestamp is not used, because it is the
    producer's claim.

    @param timestamp: In ms since the epoch.
    @param limit: The maximum decompressed size in bytes.
    @param start: The lowest offset of the record.
    @raise InvalidRecord: the records cannot be decoded within C{limit}.
    """
    header = read_batch_header(batch)
    if header.log_append_time:
        time = header.max_timestamp
        return (time, max(header.base_offset, start)) if time >= timestamp else None
    found = find(batch, header, timestamp, limit, max(0, start - header.base_offset))
    return None if found is None else (found[0], _offset(header, found[1]))


def _offset(header: BatchHeader, delta: int) -> int:
    if not 0 <= delta <= header.last_offset_delta:
        raise InvalidRecord("A record's offset is out of range")
    return header.base_offset + delta


def _body(batch: bytes | memoryview, header: BatchHeader, limit: int) -> bytes | memoryview:
    return inflate(header.codec, memoryview(batch)[HEADER_SIZE : header.size], limit)


def _scan(
    body: bytes | memoryview, header: BatchHeader
) -> Iterator[tuple[int, int, int, int, int]]:
    """
    Yield for each record its offset, timestamp, size of the key (negative: null), the
    position after that size, and the position after the record.
    """
    at = 0
    whole = len(body)
    given = header.log_append_time
    for _ in range(header.record_count):
        size, at = read_varint(body, at, whole)
        end = at + size
        if size < 1 or end > whole:
            raise InvalidRecord("The batch has fewer records than its header states")
        time, at = read_varint(body, at + 1, end)  # After the record's attributes.
        delta, at = read_varint(body, at, end)
        key_size, at = read_varint(body, at, end)
        if at + key_size > end:
            raise InvalidRecord("A record's key is longer than the record")
        timestamp = header.max_timestamp if given else header.base_timestamp + time
        if not (0 <= delta <= header.last_offset_delta and -_TIME_LIMIT <= timestamp < _TIME_LIMIT):
            raise InvalidRecord("A record's offset or timestamp is out of range")
        yield header.base_offset + delta, timestamp, key_size, at, end
        at = end
    if at != whole:
        raise InvalidRecord("The batch has bytes after the records that its header states")
