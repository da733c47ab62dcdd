"""
Compression codecs of record batches.

The broker stores compressed batches as they are. It decompresses them for time
look-ups, for the check of keys in compacted topics, and for clients of old
formats only. The decompressed size is bounded in advance, because a few hundred
bytes may claim to be gigabytes.
"""

from __future__ import annotations

import gzip
import mmap
import struct
import zlib
from collections.abc import Callable
from enum import IntEnum

import cramjam

from kafscale.errors import InvalidRecord


class Codec(IntEnum):
    """
    A compression codec: bits 0-2 of the attributes of a batch.
    """

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


# The Java client frames snappy as xerial's snappy-java does: this magic, two
# INT32 (version, lowest compatible version), then blocks of INT32 length and
# raw snappy. Other clients write one raw block. A topic may have both.
XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_START = len(XERIAL_MAGIC) + 8
_BLOCK = struct.Struct(">I")

# Bits of the first byte after the magic number of an lz4 frame: the optional
# fields between the first two bytes and the checksum of the header.
_LZ4_HAS_SIZE = 0x08
_LZ4_HAS_DICTIONARY = 0x01


def inflate(codec: int, data: memoryview, limit: int) -> bytes | memoryview:
    """
    Decompress C{data}; with codec 0 return C{data} itself.

    @param codec: A number of L{Codec}.
    @param limit: The maximum decompressed size in bytes. Not much more memory
        than that is used, whatever size C{data} claims.
    @raise InvalidRecord: the codec is unknown, the data is larger than C{limit},
        or it is not valid data of the codec.
    """
    if codec == Codec.NONE:
        if len(data) > limit:
            raise _too_large(limit)
        return data
    inflater = _INFLATERS.get(codec)
    if inflater is None:
        raise InvalidRecord(f"Unknown compression codec {codec}")
    try:
        return inflater(data, limit)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise InvalidRecord(f"{Codec(codec).name.lower()} data is invalid: {error}") from error


def deflate(codec: int, data: bytes) -> bytes:
    """
    Compress as the Java client does: snappy in xerial's framing, lz4 and zstd as
    a single frame.

    @param codec: A number of L{Codec}.
    @raise ValueError: there is no such codec.
    """
    match Codec(codec):
        case Codec.NONE:
            return data
        case Codec.GZIP:
            return gzip.compress(data, mtime=0)
        case Codec.SNAPPY:
            pieces = [XERIAL_MAGIC, struct.pack(">ii", 1, 1)]
            for at in range(0, len(data), 32 * 1024):
                block = bytes(cramjam.snappy.compress_raw(data[at : at + 32 * 1024]))
                pieces += (_BLOCK.pack(len(block)), block)
            return b"".join(pieces)
        case Codec.LZ4:
            return bytes(cramjam.lz4.compress(data))
        case Codec.ZSTD:
            return bytes(cramjam.zstd.compress(data))


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


def _gunzip(data: memoryview, limit: int) -> bytes:
    pieces = []
    left = limit
    rest: bytes | memoryview = data
    while True:  # Members may follow one another (RFC 1952, 2.2).
        inflater = zlib.decompressobj(wbits=31)
        piece = inflater.decompress(rest, left + 1)
        if len(piece) > left:
            raise _too_large(limit)
        if not inflater.eof:
            raise InvalidRecord("gzip data is invalid: it is truncated")
        left -= len(piece)
        pieces.append(piece)
        rest = inflater.unused_data
        if not rest:
            return b"".join(pieces)


def _unsnap(data: memoryview, limit: int) -> bytes:
    if data[: len(XERIAL_MAGIC)] != XERIAL_MAGIC:
        return _unsnap_block(data, limit, limit)
    pieces = []
    left = limit
    at = _XERIAL_START
    while at < len(data):
        (size,) = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        if size > len(data) - at:
            raise InvalidRecord("snappy data is invalid: it is truncated")
        piece = _unsnap_block(data[at : at + size], left, limit)
        at += size
        left -= len(piece)
        pieces.append(piece)
    return b"".join(pieces)


def _unsnap_block(block: memoryview, left: int, limit: int) -> bytes:
    # The decoder allocates the size that the block claims, so check it first.
    if cramjam.snappy.decompress_raw_len(block) > left:
        raise _too_large(limit)
    return bytes(cramjam.snappy.decompress_raw(block))


def _unlz4(data: memoryview, limit: int) -> bytes:
    return _into_mapping(cramjam.lz4.decompress_into, data, limit)


def _unzstd(data: memoryview, limit: int) -> bytes:
    return _into_mapping(cramjam.zstd.decompress_into, data, limit)


def _into_mapping(
    decompress_into: Callable[[memoryview, mmap.mmap], int],
    data: memoryview,
    limit: int,
) -> bytes:
    # In both formats the decompressed size is optional. So decompress into a
    # mapping of the size of the limit, whose pages take memory only once they are
    # written. If it is too small, the decoder fails. (A mapping cannot be empty,
    # hence one byte more.)
    with mmap.mmap(-1, limit + 1, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as room:
        try:
            size = decompress_into(data, room)
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error):
                raise _too_large(limit) from error
            raise
        if size > limit:
            raise _too_large(limit)
        return room[:size]


_INFLATERS: dict[int, Callable[[memoryview, int], bytes]] = {
    Codec.GZIP: _gunzip,
    Codec.SNAPPY: _unsnap,
    Codec.LZ4: _unlz4,
    Codec.ZSTD: _unzstd,
}
