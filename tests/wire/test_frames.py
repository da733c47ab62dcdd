"""
Tests of `kafscale.wire.frames`.
"""

from __future__ import annotations

import struct
import tracemalloc
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire import frames
from kafscale.wire.frames import ForeignProtocol, FrameBuffer, MalformedFrame
from kafscale.wire.schema import MalformedMessage

MIB = 1 << 20


def framed(*bodies: bytes) -> bytes:
    """
    Return the bodies as one stream of frames.
    """
    return b"".join(struct.pack(">i", len(each)) + each for each in bodies)


class FrameBufferTests(SynchronousTestCase):
    """
    A stream of bytes is cut into frames.
    """

    def setUp(self) -> None:
        """
        Create a buffer for frames of up to a MiB.
        """
        self.buffer = FrameBuffer(MIB)

    def feed(self, data: bytes) -> list[bytes]:
        """
        Feed a chunk, and return the frames that it completes.
        """
        return [bytes(each) for each in self.buffer.feed(data)]

    def test_many_in_one_chunk(self) -> None:
        """
        Frames within one chunk are views of it, not copies.
        """
        chunk = framed(b"12345678", b"abcdefghij")
        found = self.buffer.feed(chunk)
        self.assertEqual([bytes(each) for each in found], [b"12345678", b"abcdefghij"])
        for each in found:
            self.assertIs(each.obj, chunk)
        self.assertEqual(self.buffer.held, 0)

    def test_byte_by_byte(self) -> None:
        """
        A frame is returned with its last byte.
        """
        data = framed(b"12345678")
        for number in range(len(data) - 1):
            self.assertEqual(self.feed(data[number : number + 1]), [])
            self.assertEqual(self.buffer.held, number + 1)
        self.assertEqual(self.feed(data[-1:]), [b"12345678"])

    def test_any_cut(self) -> None:
        """
        The frames are the same for any division of the stream into chunks.
        """

        @settings(max_examples=100, derandomize=True, database=None, deadline=None)
        @given(
            st.lists(st.binary(min_size=8, max_size=40), max_size=6),
            st.lists(st.integers(1, 50), min_size=1, max_size=5),
            st.integers(1, 30),
        )
        def check(bodies: list[bytes], sizes: list[int], small: int) -> None:
            buffer = FrameBuffer(100)
            data, found, at, turn = framed(*bodies), [], 0, 0
            with mock.patch.object(frames, "_SMALL", small):
                while at < len(data):
                    size = sizes[turn % len(sizes)]
                    found += [bytes(each) for each in buffer.feed(data[at : at + size])]
                    at += size
                    turn += 1
            self.assertEqual(found, bodies)
            self.assertEqual(buffer.held, 0)

        check()

    def test_joined_once(self) -> None:
        """
        A frame of many large chunks is copied once, and returned as a view of immutable
        bytes.
        """
        body = bytes(MIB)
        data = framed(body)
        chunks = [data[at : at + 256 * 1024] for at in range(0, len(data), 256 * 1024)]
        tracemalloc.start()
        try:
            for chunk in chunks[:-1]:
                self.assertEqual(self.buffer.feed(chunk), [])
            self.assertLess(tracemalloc.get_traced_memory()[1], 64 * 1024)
            (frame,) = self.buffer.feed(chunks[-1])
            self.assertLess(tracemalloc.get_traced_memory()[1], 1.1 * MIB)
        finally:
            tracemalloc.stop()
        self.assertEqual(frame, body)
        self.assertIsInstance(frame.obj, bytes)

    def test_many_small_chunks(self) -> None:
        """
        A frame that arrives in tiny chunks takes about its own size in memory.
        """
        buffer = FrameBuffer(MIB)
        buffer.feed(struct.pack(">i", MIB))
        tracemalloc.start()
        try:
            for _ in range(50_000):
                buffer.feed(b"x")
            self.assertLess(tracemalloc.get_traced_memory()[1], 200_000)
        finally:
            tracemalloc.stop()

    def test_short_rest_is_copied(self) -> None:
        """
        A few bytes of the next frame do not keep a large chunk in memory.
        """
        chunk = framed(bytes(100_000)) + b"\x00"
        tracemalloc.start()
        try:
            chunk = framed(bytes(100_000)) + b"\x00"
            self.buffer.feed(chunk)
            del chunk
            self.assertLess(tracemalloc.get_traced_memory()[0], 10_000)
        finally:
            tracemalloc.stop()

    def test_size_limits(self) -> None:
        """
        The length is checked as soon as its four bytes have arrived.
        """
        for size in (MIB + 1, 2**31 - 1, -1, -(2**31), 0, 7):
            buffer = FrameBuffer(MIB)
            head = struct.pack(">i", size)
            self.assertEqual(buffer.feed(head[:3]), [])
            with self.assertRaises(MalformedFrame):
                buffer.feed(head[3:])

    def test_other_protocols(self) -> None:
        """
        The first bytes of TLS and of HTTP are recognised: a ClientHello of
        OpenSSL, one of TLS 1.0, and requests.
        """
        for data, name in (
            (bytes.fromhex("1603010200010001fc0303"), "TLS"),
            (bytes.fromhex("16030300a5010000a10301"), "TLS"),
            (b"GET /metrics HTTP/1.1\r\n", "HTTP"),
            (b"PUT /x HTTP/1.1\r\n", "HTTP"),
        ):
            error = self.assertRaises(ForeignProtocol, FrameBuffer(MIB).feed, data)
            self.assertIn(f"the client speaks {name}, and this port ", str(error))

    def test_largest_and_smallest(self) -> None:
        """
        Both limits are inclusive.
        """
        for size in (8, MIB):
            self.assertEqual(len(self.feed(framed(bytes(size)))[0]), size)

    def test_short_responses(self) -> None:
        """
        The minimum length can be lowered for responses.
        """
        buffer = FrameBuffer(MIB, min_bytes=4)
        self.assertEqual(buffer.feed(framed(b"123456")), [b"123456"])

    def test_one_kind_of_error(self) -> None:
        """
        An invalid length is a MalformedMessage.
        """
        self.assertTrue(issubclass(MalformedFrame, MalformedMessage))
