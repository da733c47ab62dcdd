"""
Message sets, magic 0 and 1: the formats of clients before Kafka 0.11.

The log stores batches of magic 2 only. This module converts message sets to
batches and batches to message sets. A set is a sequence of messages
(big-endian)::

     0  INT64   offset
     8  INT32   size               bytes after this field
    12  UINT32  CRC-32             (not 32C) of all bytes after this field
    16  INT8    magic              0, or 1 since Kafka 0.10 (KIP-32)
    17  INT8    attributes         bits 0-2 codec, 3 log append time (magic 1)
    18  INT64   timestamp          magic 1 only
        INT32   size of the key    -1: null
                key
        INT32   size of the value  -1: null
                value

A message with a codec is a wrapper: its value is a compressed message set.
(https://kafka.apache.org/documentation/#messageset)

Conversion loops over single records, as nothing else in the broker does, and
can take long. So it is divided into steps, see L{Steps}.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple
from zlib import crc32

from kafscale.errors import (
    CorruptMessage,
    InvalidRecord,
    InvalidTimestamp,
    MessageTooLarge,
    UnsupportedCompressionType,
)
from kafscale.wire.batches import CODEC_BITS, HEADER_SIZE, LOG_APPEND_TIME, BatchHeader, Record
from kafscale.wire.building import BatchBuilder
from kafscale.wire.compression import Codec, inflate, mend_lz4
from kafscale.wire.records import iterate, read_body
from kafscale.wire.steps import Steps

_HEAD = struct.Struct(">qiIbb")  # up to the attributes
_ENTRY = struct.Struct(">qiI")
_SIZE = struct.Struct(">i")
_TIME = struct.Struct(">q")
_FIXED = (struct.Struct(">bb"), struct.Struct(">bbq"))  # magic, attributes, timestamp
_ENTRY_SIZE = 12
_MAGIC_AT = 16
_NO_TIME = -1
_LAST_TIME = (1 << 63) - 2

_STEP = 64 * 1024
"""The size of a step: the bytes of its records, plus L{_RECORD} for each."""
_RECORD = 256
"""The cost of a record besides its bytes, in the unit of L{_STEP}."""


class Message(NamedTuple):
    """
    One message of a set.

    @ivar offset: As the producer sent it; the log assigns another.
    @ivar attributes: The codec, and whether the timestamp is the broker's.
    @ivar timestamp: In ms since the epoch; -1 without one.
    """

    offset: int
    attributes: int
    timestamp: int
    key: bytes | None
    value: memoryview | None

    @property
    def codec(self) -> int:
        """
        The compression codec, a number of L{Codec}; not 0 for a wrapper.
        """
        return self.attributes & CODEC_BITS


class MessageSet(NamedTuple):
    """
    Messages for a consumer.

    @ivar pieces: The bytes of the messages, to send one after the other.
    @ivar size: The total size of the pieces in bytes.
    @ivar messages: The number of messages.
    """

    pieces: list[bytes]
    size: int
    messages: int


def is_message_set(records: memoryview) -> bool:
    """
    Whether the records begin with a message of magic 0 or 1.
    """
    return len(records) > _MAGIC_AT and records[_MAGIC_AT] < len(_FIXED)


def to_batch(messages: memoryview, max_bytes: int, limit: int) -> Steps[bytes]:
    """
    Convert a message set from a producer to one batch of all its messages, in order,
    in the codec of its wrapper, as Kafka's C{LogValidator} does. Their offsets are
    ignored, the log assigns new ones. Messages of magic 0 get timestamp -1.

    @param messages: A set for which L{is_message_set} is true.
    @param max_bytes: The maximum size of a message, and of the batch.
    @param limit: The maximum decompressed size in bytes of all wrappers together.
    @raise CorruptMessage: truncated, or with a wrong CRC.
    @raise InvalidRecord: magics are mixed; or a wrapper is empty, contains a
        wrapper, or cannot be decompressed within C{limit}.
    @raise InvalidTimestamp: a timestamp is below -1, or marked as the broker's.
    @raise MessageTooLarge: larger than C{max_bytes}.
    @raise UnsupportedCompressionType: zstd, or an unknown codec.
    """
    magic = messages[_MAGIC_AT]
    builder = BatchBuilder()
    codec: int = Codec.NONE
    effort = 0
    for outer in read_messages(messages, magic):
        if outer.attributes & LOG_APPEND_TIME and magic:
            raise InvalidTimestamp("Producers must not set the log append time attribute")
        size = len(outer.value or b"") + len(outer.key or b"")
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        inner: Iterable[Message] = (outer,)
        if outer.codec:
            codec = outer.codec
            data = yield partial(_unwrap, outer, magic, limit)
            limit -= len(data)
            inner = read_messages(memoryview(data), magic)
        for message in inner:
            if message.codec and message is not outer:
                raise InvalidRecord("A compressed message contains another compressed message")
            if not _NO_TIME <= message.timestamp <= _LAST_TIME:
                raise InvalidTimestamp(f"Invalid timestamp {message.timestamp}")
            value = None if message.value is None else bytes(message.value)
            builder.append(Record(builder.count, message.timestamp, message.key, value))
            if not codec and builder.size > max_bytes:
                raise _too_large(builder.size, max_bytes)
            effort += _RECORD + len(value or b"")
            if effort >= _STEP:
                effort = 0
                yield None
    if not builder.count:
        raise InvalidRecord("A compressed message contains no messages")
    if not codec:
        return builder.build()
    batch: bytes = yield partial(builder.build, codec=codec)
    return batch


def to_messages(
    batches: Iterable[bytes],
    magic: int,
    offset: int,
    max_bytes: int,
    at_least_one: bool,
    limit: int,
) -> Steps[MessageSet]:
    """
    Convert the records of batches from C{offset} on to messages.

    They are complete and uncompressed, so any client can read them, from any offset
    on. Headers have no equivalent and are left out, as are control batches. If a
    batch cannot be converted, the messages before it are returned; the error is
    raised if there are none.

    @param batches: Byte strings of one or more whole batches.
    @param magic: 0 or 1; with 0 timestamps are left out.
    @param offset: The offset of the first record.
    @param max_bytes: The maximum size of the messages in bytes.
    @param at_least_one: Whether the first message is returned whatever its size
        (KIP-74).
    @param limit: The maximum decompressed size in bytes of a batch.
    @raise CorruptMessage: a batch cannot be decoded within C{limit}.
    @raise UnsupportedCompressionType: a batch is compressed with zstd, which these
        formats do not have (KIP-110).
    """
    pieces: list[bytes] = []
    room = bytearray()
    size = count = effort = 0
    try:
        for batch, header in _batches(batches):
            if header.codec == Codec.ZSTD:
                raise UnsupportedCompressionType("zstd requires Fetch version 10 or later")
            data: bytes | memoryview = batch[HEADER_SIZE:]
            if header.codec:
                data = yield partial(inflate, header.codec, batch[HEADER_SIZE:], limit)
            attributes = LOG_APPEND_TIME if header.log_append_time and magic else 0
            for record in read_body(header, bytes(data)):
                effort += _RECORD
                if record.offset >= offset:
                    message = build_message(magic, record, attributes)
                    if size + len(message) > max_bytes and not (at_least_one and not count):
                        return MessageSet([*pieces, bytes(room)], size, count)
                    room += message
                    size += len(message)
                    count += 1
                    effort += len(message)
                if effort >= _STEP:
                    pieces.append(bytes(room))
                    room.clear()
                    effort = 0
                    yield None
    except (InvalidRecord, UnsupportedCompressionType) as error:
        if not count:
            if isinstance(error, InvalidRecord):
                raise CorruptMessage(str(error)) from error
            raise
    return MessageSet([*pieces, bytes(room)], size, count)


def read_messages(messages: memoryview, magic: int) -> Iterator[Message]:
    """
    Yield the messages of a set. Wrappers are yielded as they are, not their contents.

    @param magic: The magic that all messages must have.
    @raise CorruptMessage: truncated, or with a wrong CRC.
    @raise InvalidRecord: a message has another magic.
    """
    at = 0
    whole = len(messages)
    fixed = _MAGIC_AT + _FIXED[magic].size
    while at < whole:
        if whole - at < fixed + 2 * _SIZE.size:
            raise CorruptMessage("The message set is truncated within a message")
        offset, length, crc, its_magic, attributes = _HEAD.unpack_from(messages, at)
        end = at + _ENTRY_SIZE + length
        if its_magic != magic:
            raise InvalidRecord(f"The message set mixes magic {magic} and magic {its_magic}")
        if end > whole or length < fixed - _ENTRY_SIZE + 2 * _SIZE.size:
            raise CorruptMessage(f"Invalid message length {length} at position {at} of {whole}")
        if crc32(messages[at + _MAGIC_AT : end]) != crc:
            raise CorruptMessage("The CRC-32 of a message does not match")
        timestamp = _TIME.unpack_from(messages, at + 18)[0] if magic else _NO_TIME
        key, at = _read_bytes(messages, at + fixed, end)
        value, at = _read_bytes(messages, at, end)
        if at != end:
            raise CorruptMessage("The length of a message does not match its fields")
        yield Message(offset, attributes, timestamp, None if key is None else bytes(key), value)


def build_message(magic: int, record: Record, attributes: int = 0) -> bytes:
    """
    Return a record as a message, without its headers.
    """
    _, timestamp, key, value, _ = record
    body = b"".join(
        (
            _FIXED[1].pack(1, attributes, timestamp) if magic else _FIXED[0].pack(0, attributes),
            _SIZE.pack(-1 if key is None else len(key)),
            key or b"",
            _SIZE.pack(-1 if value is None else len(value)),
            value or b"",
        )
    )
    return _ENTRY.pack(record.offset, len(body) + 4, crc32(body)) + body


def _unwrap(wrapper: Message, magic: int, limit: int) -> bytes:
    """
    Return the message set within a wrapper.
    """
    codec, data = wrapper.codec, wrapper.value
    if codec >= Codec.ZSTD:
        raise UnsupportedCompressionType(f"Magic {magic} does not support codec {codec}")
    if data is None:
        raise InvalidRecord("A compressed message has no value")
    if codec == Codec.LZ4 and magic == 0:
        data = memoryview(mend_lz4(data))
    return bytes(inflate(codec, data, limit))


def _batches(pieces: Iterable[bytes]) -> Iterator[tuple[memoryview, BatchHeader]]:
    """
    Yield the batches with records, that is, all but control batches.
    """
    for piece in pieces:
        view = memoryview(piece)
        for at, header in iterate(piece):
            if not header.control:
                yield view[at : at + header.size], header


def _read_bytes(view: memoryview, at: int, end: int) -> tuple[memoryview | None, int]:
    """
    Read the byte string at C{at} (None: null); return it, and the position after it.
    """
    start = at + _SIZE.size
    if start > end:
        raise CorruptMessage("A message is truncated within its key")
    (size,) = _SIZE.unpack_from(view, at)
    if size == -1:
        return None, start
    if not 0 <= size <= end - start:
        raise CorruptMessage("A field of a message is longer than the message")
    return view[start : start + size], start + size


def _too_large(size: int, max_bytes: int) -> MessageTooLarge:
    return MessageTooLarge(f"The messages have {size} bytes, max.message.bytes is {max_bytes}")
