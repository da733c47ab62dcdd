"""
Message sets, of magic 0 and 1: what clients before Kafka 0.11 write and read.

The log has batches of version 2 alone; here they are made of message sets, and
message sets of them. A set is messages, one after the other (big-endian)::

     0  INT64   offset
     8  INT32   size               of what follows this field
    12  UINT32  CRC-32             (not 32C) of all that follows this field
    16  INT8    magic              0, or 1 since Kafka 0.10
    17  INT8    attributes         bits 0-2 codec, 3 log append time (magic 1)
    18  INT64   timestamp          magic 1 only
        INT32   size of the key    -1: null
                key
        INT32   size of the value  -1: null
                value

A message with a codec is a wrapper: its value is a message set, compressed.
(https://kafka.apache.org/documentation/#messageset)

To convert is a loop over single records, which the broker does nowhere else,
and which can be long. So it is done in steps, see L{Steps}.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar
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

T = TypeVar("T")

Steps: TypeAlias = Generator[Callable[[], Any] | None, Any, T]
"""
Long work, in steps. After a step it yields None, and goes on when it is asked
for the next one; or it yields a function and wants its result: that may take
long, but not the interpreter, so it is best called in another thread.
"""

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
"""How much is done in one step: a record counts for its bytes and..."""
_RECORD = 256
"""...for so many more."""


class Message(NamedTuple):
    """
    One message of a set.

    @ivar timestamp: In ms; -1 without one.
    """

    offset: int
    attributes: int
    timestamp: int
    key: bytes | None
    value: memoryview | None

    @property
    def codec(self) -> int:
        """
        A number of L{Codec}, not 0 for a wrapper.
        """
        return self.attributes & CODEC_BITS


class MessageSet(NamedTuple):
    """
    Messages for a consumer.

    @ivar pieces: Their bytes, to be sent one after the other.
    @ivar size: The length of all pieces in bytes.
    @ivar messages: How many these are.
    """

    pieces: list[bytes]
    size: int
    messages: int


def is_message_set(records: memoryview) -> bool:
    """
    Whether this begins with a message of magic 0 or 1.
    """
    return len(records) > _MAGIC_AT and records[_MAGIC_AT] < len(_FIXED)


def to_batch(messages: memoryview, max_bytes: int, limit: int) -> Steps[bytes]:
    """
    One batch of all messages of a set from a producer, in their order; in the
    codec of its wrapper, as Kafka does it. Their offsets are not looked at:
    the log gives them new ones. Messages of magic 0 have timestamp -1.

    @param max_bytes: How large a message, and the batch, may be.
    @param limit: How many bytes all wrappers together may inflate to.
    @raise CorruptMessage: cut short, or with a wrong CRC.
    @raise InvalidRecord: magics are mixed, a wrapper has nothing in it or
        another wrapper, or it cannot be inflated within C{limit}.
    @raise InvalidTimestamp: below -1, or claimed to be the broker's.
    @raise MessageTooLarge: larger than C{max_bytes}.
    @raise UnsupportedCompressionType: zstd, or a codec that nobody knows.
    """
    magic = messages[_MAGIC_AT]
    builder = BatchBuilder()
    codec: int = Codec.NONE
    effort = 0
    for outer in read_messages(messages, magic):
        if outer.attributes & LOG_APPEND_TIME and magic:
            raise InvalidTimestamp("A producer may not say that the broker gave the timestamp")
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
                raise InvalidRecord("A compressed message holds another compressed message")
            if not _NO_TIME <= message.timestamp <= _LAST_TIME:
                raise InvalidTimestamp(f"There is no time {message.timestamp}")
            value = None if message.value is None else bytes(message.value)
            builder.append(Record(builder.count, message.timestamp, message.key, value))
            if not codec and builder.size > max_bytes:
                raise _too_large(builder.size, max_bytes)
            effort += _RECORD + len(value or b"")
            if effort >= _STEP:
                effort = 0
                yield None
    if not builder.count:
        raise InvalidRecord("A compressed message has no messages in it")
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
    The records of these batches from C{offset} on as messages, whole ones, at
    most C{max_bytes}; with C{at_least_one} the first however large it is.
    They are not compressed, so any client can read them, from any offset on.
    Headers are left out, there is no room for them, and so are the batches
    that end transactions. What comes before a batch that cannot be converted
    is returned; so the error is raised when that batch is the first.

    @param magic: 0 or 1; with 0 timestamps are left out.
    @param limit: How many bytes one batch may inflate to.
    @raise CorruptMessage: a batch cannot be read within C{limit}.
    @raise UnsupportedCompressionType: one is compressed with zstd, which came
        later than these formats.
    """
    pieces: list[bytes] = []
    room = bytearray()
    size = count = effort = 0
    try:
        for batch, header in _batches(batches):
            if header.codec == Codec.ZSTD:
                raise UnsupportedCompressionType("zstd needs version 10 of Fetch, or newer")
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
    The messages of a set, as they stand there; of what is in wrappers nothing
    is seen.

    @param magic: That all of them must have.
    @raise CorruptMessage: cut short, or with a wrong CRC.
    @raise InvalidRecord: one has another magic.
    """
    at = 0
    whole = len(messages)
    fixed = _MAGIC_AT + _FIXED[magic].size
    while at < whole:
        if whole - at < fixed + 2 * _SIZE.size:
            raise CorruptMessage("A message set ends within a message")
        offset, length, crc, its_magic, attributes = _HEAD.unpack_from(messages, at)
        end = at + _ENTRY_SIZE + length
        if its_magic != magic:
            raise InvalidRecord(f"A message of magic {its_magic} stands by one of magic {magic}")
        if end > whole or length < fixed - _ENTRY_SIZE + 2 * _SIZE.size:
            raise CorruptMessage(f"A message of {length} bytes stands at {at} of {whole}")
        if crc32(messages[at + _MAGIC_AT : end]) != crc:
            raise CorruptMessage("A message does not have the CRC-32 that it states")
        timestamp = _TIME.unpack_from(messages, at + 18)[0] if magic else _NO_TIME
        key, at = _read_bytes(messages, at + fixed, end)
        value, at = _read_bytes(messages, at, end)
        if at != end:
            raise CorruptMessage("A message is not as long as it states")
        yield Message(offset, attributes, timestamp, None if key is None else bytes(key), value)


def build_message(magic: int, record: Record, attributes: int = 0) -> bytes:
    """
    A record as a message; its headers are left out.
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
    The message set within a wrapper.
    """
    codec, data = wrapper.codec, wrapper.value
    if codec >= Codec.ZSTD:
        raise UnsupportedCompressionType(f"Messages of magic {magic} have no codec {codec}")
    if data is None:
        raise InvalidRecord("A compressed message has no value")
    if codec == Codec.LZ4 and magic == 0:
        data = memoryview(mend_lz4(data))
    return bytes(inflate(codec, data, limit))


def _batches(pieces: Iterable[bytes]) -> Iterator[tuple[memoryview, BatchHeader]]:
    """
    The batches that hold records.
    """
    for piece in pieces:
        view = memoryview(piece)
        for at, header in iterate(piece):
            if not header.control:
                yield view[at : at + header.size], header


def _read_bytes(view: memoryview, at: int, end: int) -> tuple[memoryview | None, int]:
    """
    The byte string at C{at} (None: null), and the position after it.
    """
    start = at + _SIZE.size
    if start > end:
        raise CorruptMessage("A message ends within its key")
    (size,) = _SIZE.unpack_from(view, at)
    if size == -1:
        return None, start
    if not 0 <= size <= end - start:
        raise CorruptMessage("A message holds a field that is longer than the message")
    return view[start : start + size], start + size


def _too_large(size: int, max_bytes: int) -> MessageTooLarge:
    return MessageTooLarge(f"The messages have {size} bytes, max.message.bytes is {max_bytes}")
