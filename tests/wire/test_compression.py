"""
Compression codecs: data of other clients, and decompression bombs.
"""

from __future__ import annotations

import contextlib
import gzip
import struct
import tracemalloc
import zlib

import cramjam
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import InvalidRecord
from kafscale.wire.compression import (
    PIECE,
    XERIAL_MAGIC,
    Codec,
    deflate,
    inflate,
    inflate_pieces,
)

LIMIT = 1 << 20
TEXT = b"what was written, " * 99


class InflateTests(SynchronousTestCase):
    """
    Decompression of data in several framings.
    """

    def test_raw_snappy(self) -> None:
        """
        Snappy without xerial's framing, as librdkafka and franz-go write it, is read.
        """
        raw = bytes(cramjam.snappy.compress_raw(TEXT))
        self.assertEqual(inflate(Codec.SNAPPY, memoryview(raw), LIMIT), TEXT)

    def test_gzip_members(self) -> None:
        """
        gzip data of several members is read.
        """
        packed = gzip.compress(b"one") + gzip.compress(b"two")
        self.assertEqual(inflate(Codec.GZIP, memoryview(packed), 6), b"onetwo")
        self.assertRaises(InvalidRecord, inflate, Codec.GZIP, memoryview(packed), 5)

    def test_damaged_gzip(self) -> None:
        """
        gzip data is refused exactly if zlib refuses it, with which consumers read it:
        whichever bit of it is changed, and wherever it ends.
        """
        whole = gzip.compress(TEXT, mtime=0)
        damaged = [whole[:end] for end in range(1, len(whole))]
        for at in range(8 * len(whole)):
            changed = bytearray(whole)
            changed[at // 8] ^= 1 << at % 8
            damaged.append(bytes(changed))
        accepted = 0
        for each in damaged:
            zlibs = zlib.decompressobj(wbits=31)
            with contextlib.suppress(zlib.error):
                expected = zlibs.decompress(each)
            if zlibs.eof:
                accepted += 1
                self.assertEqual(inflate(Codec.GZIP, memoryview(each), LIMIT), expected)
            else:
                self.assertRaises(InvalidRecord, inflate, Codec.GZIP, memoryview(each), LIMIT)
        self.assertGreater(accepted, 32)  # its time of modification, for example

    def test_frames(self) -> None:
        """
        zstd data of several frames is read; lz4 data is one frame, and nothing follows it.
        """
        zstd = deflate(Codec.ZSTD, b"one") + deflate(Codec.ZSTD, b"two")
        self.assertEqual(inflate(Codec.ZSTD, memoryview(zstd), 6), b"onetwo")
        lz4 = deflate(Codec.LZ4, b"one")
        for rest in (b"\x00", lz4):
            self.assertRaises(InvalidRecord, inflate, Codec.LZ4, memoryview(lz4 + rest), LIMIT)

    def test_independent_lz4(self) -> None:
        """
        The blocks of an lz4 frame do not depend on one another: the Java client reads
        no others.
        """
        flags = deflate(Codec.LZ4, b"hello " * 100_000)[4]
        version, independent = 0x40, 0x20
        self.assertEqual(flags, version | independent)

    def test_pieces(self) -> None:
        """
        Large data comes in bounded pieces, in blocks if it is snappy.
        """
        data = bytes(range(256)) * 5000
        for codec in (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD):
            pieces = [*inflate_pieces(codec, memoryview(deflate(codec, data)), len(data))]
            self.assertEqual(b"".join(pieces), data)
            self.assertTrue(all(0 < len(piece) <= PIECE for piece in pieces))
            self.assertGreater(len(pieces), 4)

    def test_unknown_codec(self) -> None:
        """
        Unknown codecs are refused.
        """
        for codec in (5, 6, 7):
            self.assertRaises(InvalidRecord, inflate, codec, memoryview(TEXT), LIMIT)


class BombTests(SynchronousTestCase):
    """
    Small batches with large contents.
    """

    def test_limit(self) -> None:
        """
        In each codec exactly the limit is accepted, and one byte more is refused.
        """
        for codec in Codec:
            for size in (1, 70_000):
                packed = memoryview(deflate(codec, b"x" * size))
                self.assertEqual(bytes(inflate(codec, packed, size)), b"x" * size)
                self.assertRaises(InvalidRecord, inflate, codec, packed, size - 1)

    def test_memory(self) -> None:
        """
        A bomb takes no more memory than the limit.
        """
        for codec in (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD):
            bomb = memoryview(deflate(codec, bytes(32 << 20)))
            self.assertLess(len(bomb), 2 << 20)
            tracemalloc.start()
            try:
                self.assertRaises(InvalidRecord, inflate, codec, bomb, LIMIT)
                self.assertLess(tracemalloc.get_traced_memory()[1], 4 << 20)
            finally:
                tracemalloc.stop()

    def test_empty_frames(self) -> None:
        """
        Tens of thousands of empty frames are refused, and not gone through.
        """
        for codec in (Codec.GZIP, Codec.ZSTD):
            packed = deflate(codec, b"")
            few = memoryview(packed * 500 + deflate(codec, b"end"))
            self.assertEqual(inflate(codec, few, LIMIT), b"end")
            many = memoryview(packed * 11_000)
            error = self.assertRaises(InvalidRecord, inflate, codec, many, LIMIT)
            self.assertIn("10000", str(error))

    def test_snappy_claims(self) -> None:
        """
        A snappy block that claims 4 GiB is refused before memory is allocated, also in
        xerial's framing; so are truncated frames.
        """
        claim = bytes.fromhex("ffffffff0f00")
        framed = XERIAL_MAGIC + bytes(8) + struct.pack(">I", len(claim)) + claim
        for body in (claim, framed, framed[:-1], framed[:18], XERIAL_MAGIC[:3], b""):
            self.assertRaises(InvalidRecord, inflate, Codec.SNAPPY, memoryview(body), LIMIT)

    def test_cut_short(self) -> None:
        """
        Truncated data is refused in each codec.
        """
        for codec in (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD):
            packed = memoryview(deflate(codec, b"text" * 100))
            self.assertRaises(InvalidRecord, inflate, codec, packed[:-3], LIMIT)
            self.assertRaises(InvalidRecord, inflate, codec, packed[:0], LIMIT)

    def test_cut_short_anywhere(self) -> None:
        """
        Data that is truncated at any byte is refused, in each codec that marks its end.
        """
        for codec in (Codec.GZIP, Codec.LZ4, Codec.ZSTD):
            packed = memoryview(deflate(codec, b"text" * 100))
            for size in range(len(packed)):
                error = self.assertRaises(InvalidRecord, inflate, codec, packed[:size], LIMIT)
                self.assertIn(f"{codec.name.lower()} data is invalid", str(error))
