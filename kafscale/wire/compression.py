"""
The codecs of record batches.

A broker passes compressed batches on as they came. It looks inside only for
time look-ups, for keys, and for clients of old formats; then the size of what
it inflates is bounded beforehand, because a few hundred bytes may claim to be
gigabytes.
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
    The three low bits of a batch's attributes.
    """

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


# Java frames snappy as xerial's snappy-java does: this magic, two INT32
# (version, lowest compatible version), then blocks of INT32 length and raw
# snappy. Others write one raw block. Both are met in the same topic.
XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_START = len(XERIAL_MAGIC) + 8
_BLOCK = struct.Struct(">I")

# Bits of the first byte after an lz4 frame's magic number: what stands between
# the two first bytes and the checksum of the header.
_LZ4_HAS_SIZE = 0x08
_LZ4_HAS_DICTIONARY = 0x01


def inflate(codec: int, data: memoryview, limit: int) -> bytes | memoryview:
    """
    What C{data} was before it was compressed; C{data} itself with codec 0.

    @param limit: How many bytes it may have at most; no more than about that
        much memory is used, whatever C{data} claims.
    @raise InvalidRecord: larger than C{limit}, or not data of that codec.
    """
    if codec == Codec.NONE:
        if len(data) > limit:
            raise _too_large(limit)
        return data
    inflater = _INFLATERS.get(codec)
    if inflater is None:
        raise InvalidRecord(f"There is no compression codec {codec}")
    try:
        return inflater(data, limit)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise InvalidRecord(f"{Codec(codec).name.lower()} data is broken: {error}") from error


def deflate(codec: int, data: bytes) -> bytes:
    """
    Compress as the Java client does: snappy in xerial's framing, lz4 and zstd
    as one frame.
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
    An lz4 frame with the right checksum of its header. Kafka's before 0.10
    took it over the frame's magic number, too, and all clients of formats
    before magic 1 do the same (KAFKA-3160).

    @raise InvalidRecord: it ends within its header.
    """
    frame = bytearray(data)
    flags = frame[4] if len(frame) > 4 else 0
    end = 6 + 8 * bool(flags & _LZ4_HAS_SIZE) + 4 * bool(flags & _LZ4_HAS_DICTIONARY)
    if end >= len(frame):
        raise InvalidRecord("lz4 data is broken: it ends within its header")
    frame[end] = _xxh32(frame[4:end]) >> 8 & 0xFF
    return bytes(frame)


def _xxh32(data: bytearray) -> int:
    """
    The hash of lz4's frames, of fewer than 16 bytes, with seed 0
    (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md).
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
            raise InvalidRecord("gzip data is broken: it ends too early")
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
            raise InvalidRecord("snappy data is broken: it ends too early")
        piece = _unsnap_block(data[at : at + size], left, limit)
        at += size
        left -= len(piece)
        pieces.append(piece)
    return b"".join(pieces)


def _unsnap_block(block: memoryview, left: int, limit: int) -> bytes:
    # The decoder allocates what the block claims: the claim is checked first.
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
    # Neither format must tell its size beforehand. The decoder writes into a
    # mapping of the limit's size, whose pages exist only once written to, and
    # fails when it is full. (No mapping has size 0: hence one byte more.)
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
