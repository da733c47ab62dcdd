"""
Record batches, version 2: what a log is made of.

The broker keeps them byte for byte. It checks the header of each, gives it
its offset, and looks at single records only for time look-ups, for consumers
of long ago and, in compacted topics, for missing keys.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from crc32c import crc32c

from kafscale.errors import CorruptMessage, InvalidRecord, UnsupportedCompressionType
from kafscale.wire.batches import (
    CRC_AT,
    CRC_COVERS_FROM,
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
from kafscale.wire.varints import read_bytes, read_varint

__all__ = [
    "CRC_COVERS_FROM",
    "HEADER_SIZE",
    "LENGTH_OVERHEAD",
    "BatchHeader",
    "Record",
    "build_batch",
    "check_batch",
    "check_keys",
    "first_at_or_after",
    "iterate",
    "latest",
    "read_batch_header",
    "read_body",
    "read_records",
    "stamp",
]

_STAMP = struct.Struct(">qii")
_TIMES = struct.Struct(">hiqq")  # from the attributes to the max timestamp
_CRC = struct.Struct(">I")
_TIME_LIMIT = 1 << 63


def check_batch(view: memoryview) -> BatchHeader:
    """
    The header of what a producer sent for one partition, if it is exactly one
    batch that a log may take (Kafka's C{LogValidator.validateBatch}). Its
    records are not looked at.

    @raise CorruptMessage: cut short, or with a wrong CRC: sending it again
        may help.
    @raise InvalidRecord: no batch, several, of an old format, or with a header
        that contradicts itself.
    @raise UnsupportedCompressionType: with a codec that nobody knows.
    """
    if not view:
        raise InvalidRecord("There must be one record batch for each partition")
    if len(view) > MAGIC_AT and view[MAGIC_AT] != MAGIC:
        raise InvalidRecord(f"Record batches must have magic 2, not {view[MAGIC_AT]}")
    header = read_batch_header(view)
    if header.size > len(view) or header.size < HEADER_SIZE:
        raise CorruptMessage(f"A batch of {header.size} bytes came in {len(view)}")
    if header.size < len(view):
        raise InvalidRecord("There must be exactly one record batch for each partition")
    if crc32c(view[CRC_COVERS_FROM:]) != header.crc:
        raise CorruptMessage("The record batch does not have the CRC-32C that it states")
    if header.record_count <= 0 or header.record_count != header.last_offset_delta + 1:
        number, delta = header.record_count, header.last_offset_delta
        raise InvalidRecord(f"A batch of {number} records has last offset delta {delta}")
    if header.control:
        raise InvalidRecord("Clients may not write control batches")
    if header.producer_id >= 0 and (header.base_sequence < 0 or header.producer_epoch < 0):
        raise InvalidRecord(
            f"A batch of producer {header.producer_id} has epoch {header.producer_epoch}"
            f" and sequence {header.base_sequence}"
        )
    if header.codec > Codec.ZSTD:
        raise UnsupportedCompressionType(f"There is no compression codec {header.codec}")
    return header


def stamp(
    view: memoryview,
    header: BatchHeader,
    base_offset: int,
    leader_epoch: int,
    append_time: int = -1,
) -> bytes:
    """
    The batch as the log keeps it: one copy, with its offset and leader epoch.

    @param header: The header of C{view}.
    @param append_time: With the topic's timestamp type LogAppendTime, the
        broker's time in ms; it becomes the timestamp of all records, and the
        CRC is computed anew. -1 leaves the producer's timestamps.
    """
    head = _STAMP.pack(base_offset, header.length, leader_epoch)
    if append_time < 0:
        return b"".join((head, view[MAGIC_AT:]))
    times = _TIMES.pack(
        header.attributes | LOG_APPEND_TIME,
        header.last_offset_delta,
        header.base_timestamp,
        append_time,
    )
    rest = view[PRODUCER_ID_AT:]
    crc = crc32c(rest, crc32c(times))
    return b"".join((head, view[MAGIC_AT:CRC_AT], _CRC.pack(crc), times, rest))


def iterate(
    batches: bytes | memoryview, at: int = 0, stop: int | None = None
) -> Iterator[tuple[int, BatchHeader]]:
    """
    Position and header of each of the batches that follow one another from
    C{at} up to C{stop} (the end).

    @raise CorruptMessage: the last one is not whole, or a length is wrong.
    """
    end = len(batches) if stop is None else stop
    while at < end:
        header = read_batch_header(batches, at)
        if header.size < HEADER_SIZE or header.size > end - at:
            raise CorruptMessage(f"A batch of {header.size} bytes stands at {at} of {end}")
        yield at, header
        at += header.size


def read_records(batch: bytes | memoryview, limit: int) -> Iterator[Record]:
    """
    The records of one batch.

    @param limit: How many bytes they may have when decompressed.
    @raise InvalidRecord: more than that, or what is there are not the records
        that the header announces.
    """
    header = read_batch_header(batch)
    yield from read_body(header, bytes(_body(batch, header, limit)))


def read_body(header: BatchHeader, data: bytes) -> Iterator[Record]:
    """
    The records of a batch whose compressed part was inflated to C{data}.

    @raise InvalidRecord: these are not the records that the header announces.
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
                raise InvalidRecord("A record's header has no name")
            headers.append((name, held))
        if number < 0 or at != end:
            raise InvalidRecord(f"The record at offset {offset} is not as long as it states")
        yield Record(offset, timestamp, key, value, tuple(headers))


def check_keys(batch: bytes | memoryview, limit: int) -> None:
    """
    Demand that each record has a key, as in a compacted topic.

    @param limit: How many bytes the records may have when decompressed.
    @raise InvalidRecord: some record has none, or cannot be read.
    """
    header = read_batch_header(batch)
    for _, _, key_size, _, _ in _scan(_body(batch, header, limit), header):
        if key_size < 0:
            raise InvalidRecord("A compacted topic takes no record without a key")


def first_at_or_after(
    batch: bytes | memoryview, timestamp: int, limit: int
) -> tuple[int, int] | None:
    """
    (timestamp, offset) of the first record at or after C{timestamp} (ms);
    None when all are before. The header's max timestamp is not relied on: a
    producer may have set it to anything.

    @raise InvalidRecord: the records cannot be read within C{limit} bytes.
    """
    header = read_batch_header(batch)
    if header.log_append_time:
        time = header.max_timestamp
        return (time, header.base_offset) if time >= timestamp else None
    for offset, time, _, _, _ in _scan(_body(batch, header, limit), header):
        if time >= timestamp:
            return time, offset
    return None


def latest(batch: bytes | memoryview, limit: int) -> tuple[int, int]:
    """
    (timestamp, offset) of the first record that has the largest timestamp.

    @raise InvalidRecord: the records cannot be read within C{limit} bytes.
    """
    header = read_batch_header(batch)
    if header.log_append_time:
        return header.max_timestamp, header.base_offset
    found = _scan(_body(batch, header, limit), header)
    time, offset = max((time, -offset) for offset, time, *_ in found)
    return time, -offset


def _body(batch: bytes | memoryview, header: BatchHeader, limit: int) -> bytes | memoryview:
    return inflate(header.codec, memoryview(batch)[HEADER_SIZE : header.size], limit)


def _scan(
    body: bytes | memoryview, header: BatchHeader
) -> Iterator[tuple[int, int, int, int, int]]:
    """
    Of each record: offset, timestamp, size of its key (below 0: null), the
    position after that size, and the position of the record's end.
    """
    at = 0
    whole = len(body)
    given = header.log_append_time
    for _ in range(header.record_count):
        size, at = read_varint(body, at, whole)
        end = at + size
        if size < 1 or end > whole:
            raise InvalidRecord("The batch holds fewer records than it announces")
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
        raise InvalidRecord("The batch holds more than the records that it announces")
