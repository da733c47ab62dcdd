"""
Compression codecs of record batches.

The broker stores compressed batches as they are. It decompresses them to look at
their records on arrival, for look-ups by time, and for clients of old formats. The
decompressed size is bounded, because a few hundred bytes may become gigabytes, and
decompression goes piece by piece, so that the records need not be in memory as a
whole. All decoders release the interpreter's lock while they work.
"""

from __future__ import annotations

import gzip
import struct
import sys
from collections.abc import Callable, Generator, Iterator
from enum import IntEnum
from typing import Protocol

import cramjam
import lz4.frame
from isal import isal_zlib
from lz4.frame import LZ4FrameDecompressor

from kafscale.errors import InvalidRecord

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError


class Codec(IntEnum):
    """
    A compression codec: bits 0-2 of the attributes of a batch.
    """

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


PIECE = 256 * 1024
"""The largest piece of L{inflate_pieces} in bytes: it stays in a core's cache."""
_ZSTD_PIECE = 32 * 1024
"""The largest piece of zstd. Its decoder would join a larger one from several blocks, the
first of this size: one copy more."""
_INPUT = 64 * 1024
"""Bytes that a decoder is given at a time, because it copies what it does not use."""
_MAX_FRAMES = 10_000
"""Frames of zstd, or members of gzip, in one batch. Clients write a single one; an
empty one costs a microsecond and takes nine bytes."""

# The Java client frames snappy as xerial's snappy-java does: this magic, two
# INT32 (version, lowest compatible version), then blocks of INT32 length and
# raw snappy. Other clients write one raw block. A topic may have both.
XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_START = len(XERIAL_MAGIC) + 8
_BLOCK = struct.Struct(">I")

# Flags of a gzip member that a decoder must refuse (RFC 1952, 2.3.1.2). ISA-L's ignores
# them; zlib, with which many consumers read, does not.
_GZIP_FLAGS_AT = 3
_GZIP_RESERVED = 0xE0

#: The level that means lz4's fast algorithm to Kafka (C{Lz4BlockOutputStream}).
_LZ4_FAST = 9

# Bits of the first byte after the magic number of an lz4 frame: the optional
# fields between the first two bytes and the checksum of the header.
_LZ4_HAS_SIZE = 0x08
_LZ4_HAS_DICTIONARY = 0x01


def inflate(codec: int, data: memoryview, limit: int) -> bytes | memoryview:
    """
    Decompress C{data}; with codec 0 return C{data} itself.

    @param codec: A number of L{Codec}.
    @param limit: The maximum decompressed size in bytes. Not much more memory
        than twice that is used, whatever size C{data} claims.
    @raise InvalidRecord: the codec is unknown, the data is larger than C{limit},
        or it is not valid data of the codec.
    """
    pieces = [*inflate_pieces(codec, data, limit)]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def inflate_pieces(codec: int, data: memoryview, limit: int) -> Iterator[bytes | memoryview]:
    """
    Decompress C{data} in pieces of at most L{PIECE} bytes, which may begin and end
    anywhere. A block of snappy is one piece whatever its size, and so is uncompressed
    data.

    @param codec: A number of L{Codec}.
    @param limit: The maximum decompressed size in bytes.
    @raise InvalidRecord: the codec is unknown, the data is larger than C{limit},
        or it is not valid data of the codec. Raised by the iterator, when it comes
        there.
    """
    if codec == Codec.NONE:
        if len(data) > limit:
            raise _too_large(limit)
        yield data
        return
    decode = _DECODERS.get(codec)
    if decode is None:
        raise InvalidRecord(f"Unknown compression codec {codec}")
    left = limit
    try:
        for piece in decode(data, limit):
            left -= len(piece)
            if left < 0:
                raise _too_large(limit)
            yield piece
    except _DECODER_ERRORS as error:
        raise InvalidRecord(f"{Codec(codec).name.lower()} data is invalid: {error}") from error


def deflate(codec: int, data: bytes | memoryview, level: int | None = None) -> bytes:
    """
    Compress as the Java client does: snappy in xerial's framing, lz4 and zstd as
    a single frame. The blocks of lz4 are independent, because the Java client reads
    no others (C{Lz4BlockInputStream}).

    @param codec: A number of L{Codec}.
    @param level: Of gzip, lz4 and zstd, as Kafka's C{compression.*.level} have it: 9 of
        lz4 is the fast algorithm, other levels take more time. None: the library
        decides.
    @raise ValueError: there is no such codec.
    """
    match Codec(codec):
        case Codec.NONE:
            return bytes(data)
        case Codec.GZIP:
            return gzip.compress(data, 9 if level is None else level, mtime=0)
        case Codec.SNAPPY:
            pieces = [XERIAL_MAGIC, struct.pack(">ii", 1, 1)]
            for at in range(0, len(data), 32 * 1024):
                block = bytes(cramjam.snappy.compress_raw(data[at : at + 32 * 1024]))
                pieces += (_BLOCK.pack(len(block)), block)
            return b"".join(pieces)
        case Codec.LZ4:
            chosen = 0 if level is None or level == _LZ4_FAST else level
            return bytes(
                lz4.frame.compress(
                    data, compression_level=chosen, block_linked=False, store_size=False
                )
            )
        case Codec.ZSTD:
            return bytes(cramjam.zstd.compress(data, level))


def mend_lz4(data: memoryview) -> bytes:
    """
    Return an lz4 frame with its header checksum corrected. Kafka before 0.10, and
    all clients that write magic 0, included the magic number of the frame in the
    checksum by mistake (KAFKA-3160).

    @raise InvalidRecord: the data ends within the header of the frame.
    """
    frame = bytearray(data)
    flags = frame[4] if len(frame) > 4 else 0
    end = 6 + 8 * bool(flags & _LZ4_HAS_SIZE) + 4 * bool(flags & _LZ4_HAS_DICTIONARY)
    if end >= len(frame):
        raise InvalidRecord("lz4 data is invalid: it is truncated within its header")
    frame[end] = _xxh32(frame[4:end]) >> 8 & 0xFF
    return bytes(frame)


def _xxh32(data: bytearray) -> int:
    """
    Return the XXH32 hash of fewer than 16 bytes, with seed 0, as in headers of lz4
    frames (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md).
    """
    one, two, three, four, five = 2654435761, 2246822519, 3266489917, 668265263, 374761393
    word = 0xFFFFFFFF
    state = five + len(data)
    words = len(data) // 4 * 4
    for at in range(0, words, 4):
        state = state + int.from_bytes(data[at : at + 4], "little") * three & word
        state = (state << 17 | state >> 15) * four & word
    for byte in data[words:]:
        state = state + byte * five & word
        state = (state << 11 | state >> 21) * one & word
    state = (state ^ state >> 15) * two & word
    state = (state ^ state >> 13) * three & word
    return state ^ state >> 16


def _too_large(limit: int) -> InvalidRecord:
    return InvalidRecord(f"Records decompress to more than {limit} bytes")


def _gunzip(data: memoryview, limit: int) -> Iterator[bytes]:
    for _ in range(_MAX_FRAMES):  # Members may follow one another (RFC 1952, 2.2).
        if len(data) > _GZIP_FLAGS_AT and data[_GZIP_FLAGS_AT] & _GZIP_RESERVED:
            raise InvalidRecord("gzip data is invalid: it has unknown flags")
        inflater = isal_zlib.decompressobj(wbits=31)
        at = 0
        while not inflater.eof:
            if at >= len(data):
                raise EOFError("it is truncated")
            # Input that is not consumed is copied, so hand over a little at a time.
            rest: bytes | memoryview = data[at : at + _INPUT]
            at += len(rest)
            while rest and not inflater.eof:
                piece = inflater.decompress(rest, PIECE)
                rest = inflater.unconsumed_tail
                if piece:
                    yield piece
        data = data[at - len(inflater.unused_data) :]
        if not data:
            return
    raise InvalidRecord(f"gzip data is invalid: it has more than {_MAX_FRAMES} members")


def _unsnap(data: memoryview, limit: int) -> Iterator[bytes | memoryview]:
    if data[: len(XERIAL_MAGIC)] != XERIAL_MAGIC:
        yield _unsnap_block(data, limit, limit)
        return
    left = limit
    at = _XERIAL_START
    while at < len(data):
        (size,) = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        if size > len(data) - at:
            raise EOFError("it is truncated")
        piece = _unsnap_block(data[at : at + size], left, limit)
        at += size
        left -= len(piece)
        yield piece


def _unsnap_block(block: memoryview, left: int, limit: int) -> memoryview:
    # The decoder allocates the size that the block claims, so check it first.
    if cramjam.snappy.decompress_raw_len(block) > left:
        raise _too_large(limit)
    return memoryview(cramjam.snappy.decompress_raw(block))


class _FrameDecoder(Protocol):
    """
    Decodes one frame, as the standard library's decoders do.
    """

    @property
    def eof(self) -> bool:
        """
        Whether the frame has ended.
        """

    @property
    def needs_input(self) -> bool:
        """
        Whether there is no more output without more input.
        """

    @property
    def unused_data(self) -> bytes | None:
        """
        What followed the end of the frame.
        """

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        """
        Decode C{data}, or the rest of the input before.
        """


def _unlz4(data: memoryview, limit: int) -> Iterator[bytes]:
    rest = yield from _unframe(LZ4FrameDecompressor(), data, PIECE)
    if rest:
        raise InvalidRecord("lz4 data is invalid: data follows the frame")


def _unzstd(data: memoryview, limit: int) -> Iterator[bytes]:
    for _ in range(_MAX_FRAMES):
        data = yield from _unframe(ZstdDecompressor(), data, _ZSTD_PIECE)
        if not data:
            return
    raise InvalidRecord(f"zstd data is invalid: it has more than {_MAX_FRAMES} frames")


def _unframe(
    decoder: _FrameDecoder, data: memoryview, most: int
) -> Generator[bytes, None, memoryview]:
    """
    Yield what is in the frame that C{data} begins with, and return what follows it.

    @param most: The largest piece to yield, in bytes.
    """
    at = 0
    while not decoder.eof:
        rest = data[at : at + _INPUT] if decoder.needs_input else b""
        if decoder.needs_input and not rest:
            raise EOFError("it is truncated")
        at += len(rest)
        piece = decoder.decompress(rest, most)
        if piece:
            yield piece
    return data[at - len(decoder.unused_data or b"") :]


_DECODERS: dict[int, Callable[[memoryview, int], Iterator[bytes | memoryview]]] = {
    Codec.GZIP: _gunzip,
    Codec.SNAPPY: _unsnap,
    Codec.LZ4: _unlz4,
    Codec.ZSTD: _unzstd,
}

_GZIP_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # a wrong stub

_DECODER_ERRORS = (
    cramjam.DecompressionError,
    _GZIP_ERROR,
    struct.error,
    ZstdError,
    EOFError,
    RuntimeError,  # from lz4
)
