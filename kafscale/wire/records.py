"""
Record batches, version 2: what a log is made of.

The broker keeps them byte for byte. It checks the header of each, gives it
its offset, and looks at single records only for time look-ups and, in
compacted topics, for missing keys. A batch is laid out so (big-endian)::

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
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from crc32c import crc32c

from kafscale.errors import CorruptMessage, InvalidRecord, UnsupportedCompressionType
from kafscale.wire.compression import Codec, deflate, inflate
from kafscale.wire.varints import put_bytes, put_varint, read_bytes, read_varint

_HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = _HEADER.size
MAGIC = 2
_MAGIC_AT = 16
_CRC_AT = 17
CRC_COVERS_FROM = 21
_PRODUCER_ID_AT = 43
LENGTH_OVERHEAD = 12
"""What the length field does not count: the base offset and itself."""

_CODEC_BITS = 0x07
_LOG_APPEND_TIME = 0x08
_TRANSACTIONAL = 0x10
_CONTROL = 0x20

_STAMP = struct.Struct(">qii")
_TIMES = struct.Struct(">hiqq")  # from the attributes to the max timestamp
_CRC = struct.Struct(">I")
_TIME_LIMIT = 1 << 63


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
        return self.attributes & _CODEC_BITS

    @property
    def log_append_time(self) -> bool:
        """
        Whether every record has the batch's max timestamp, given by a broker.
        """
        return bool(self.attributes & _LOG_APPEND_TIME)

    @property
    def transactional(self) -> bool:
        """
        Whether the batch is part of a transaction.
        """
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def control(self) -> bool:
        """
        Whether it holds a transaction's end instead of records.
        """
        return bool(self.attributes & _CONTROL)


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
        return BatchHeader._make(_HEADER.unpack_from(view, at))
    except struct.error:
        raise CorruptMessage("A record batch ends within its header") from None


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
    if len(view) > _MAGIC_AT and view[_MAGIC_AT] != MAGIC:
        raise InvalidRecord(f"Record batches must have magic 2, not {view[_MAGIC_AT]}")
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
        return b"".join((head, view[_MAGIC_AT:]))
    times = _TIMES.pack(
        header.attributes | _LOG_APPEND_TIME,
        header.last_offset_delta,
        header.base_timestamp,
        append_time,
    )
    rest = view[_PRODUCER_ID_AT:]
    crc = crc32c(rest, crc32c(times))
    return b"".join((head, view[_MAGIC_AT:_CRC_AT], _CRC.pack(crc), times, rest))


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
    data = bytes(_body(batch, header, limit))
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


def build_batch(
    records: Iterable[Record],
    *,
    codec: int = Codec.NONE,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
    control: bool = False,
) -> bytes:
    """
    A batch of these records, with offsets one by one, as a producer makes it.
    """
    rows = list(records)
    first = rows[0]
    body = bytearray()
    for record in rows:
        content = bytearray(1)  # Attributes of a record: none are defined.
        put_varint(content, record.timestamp - first.timestamp)
        put_varint(content, record.offset - first.offset)
        put_bytes(content, record.key)
        put_bytes(content, record.value)
        put_varint(content, len(record.headers))
        for name, value in record.headers:
            put_bytes(content, name)
            put_bytes(content, value)
        put_varint(body, len(content))
        body += content
    packed = deflate(codec, bytes(body))
    checked = (
        codec | transactional * _TRANSACTIONAL | control * _CONTROL,
        rows[-1].offset - first.offset,
        first.timestamp,
        max(record.timestamp for record in rows),
        producer_id,
        producer_epoch,
        base_sequence,
        len(rows),
    )
    length = HEADER_SIZE - LENGTH_OVERHEAD + len(packed)
    head = (first.offset, length, leader_epoch, MAGIC)
    crc = crc32c(packed, crc32c(_HEADER.pack(*head, 0, *checked)[CRC_COVERS_FROM:]))
    return _HEADER.pack(*head, crc, *checked) + packed


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
