"""
Framing: messages within a stream of bytes.

A frame is an INT32 length and that many bytes. The length is checked as soon as
it has arrived, before memory is allocated for the frame.
"""

from __future__ import annotations

import struct

from kafscale.wire.kinds import MalformedMessage

_LENGTH = struct.Struct(">i")

# API key, version and correlation id: the shortest request.
MIN_REQUEST = 8

# Smaller chunks are joined while a frame is incomplete. Otherwise a client that
# sends single bytes would take fifty bytes of memory for each.
_SMALL = 4096


class MalformedFrame(MalformedMessage):
    """
    A frame length out of bounds. The rest of the stream cannot be parsed.
    """


class ForeignProtocol(MalformedFrame):
    """
    The first bytes are those of another protocol.
    """


_TLS = 0x1603  # a record of a handshake, of any version since SSL 3.0
_HTTP = (b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI", b"CONN")


def _malformed(size: int, least: int, most: int) -> MalformedFrame:
    """
    Make the error for a length out of bounds.
    """
    if size >> 16 == _TLS:
        return ForeignProtocol(
            "the client speaks TLS, and this port does not: set security.protocol=PLAINTEXT in the"
            " client, or give the broker a certificate"
        )
    if size.to_bytes(4, "big", signed=True) in _HTTP:
        return ForeignProtocol("the client speaks HTTP, and this port is for clients of Kafka")
    return MalformedFrame(f"a frame of {size} bytes; allowed are {least} to {most}")


class FrameBuffer:
    """
    Cuts a stream into frames.

    Chunks are kept as they arrive and joined once, when a frame is complete.
    Frames that lie within one chunk are not copied.
    """

    def __init__(self, max_bytes: int, min_bytes: int = MIN_REQUEST) -> None:
        """
        @param max_bytes: The maximum length of a frame in bytes.
        @param min_bytes: The minimum length; a response may have 4 bytes.
        """
        self._max_bytes = max_bytes
        self._min_bytes = min_bytes
        self._chunks: list[bytes | bytearray | memoryview] = []
        self._held = 0
        # The number of held bytes from which on a frame may be complete.
        self._needed = _LENGTH.size

    def allow(self, max_bytes: int, min_bytes: int = MIN_REQUEST) -> None:
        """
        Change the bounds of the frames that begin from now on.

        @param max_bytes: See L{__init__}, as for C{min_bytes}.
        """
        self._max_bytes = max_bytes
        self._min_bytes = min_bytes

    @property
    def held(self) -> int:
        """
        The number of bytes held, of an incomplete frame.
        """
        return self._held

    def feed(self, data: bytes) -> list[memoryview]:
        """
        Add a chunk, and return the frames that are complete now, without their length,
        each as a view of an immutable byte string.

        @raise MalformedFrame: a length is negative, too small or too large. The
            buffer cannot be used any further. It is L{ForeignProtocol} if the
            client seems to speak TLS or HTTP.
        """
        if self._chunks:
            self._keep(data)
            if self._held < self._needed:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        return self._cut(data)

    def _keep(self, chunk: bytes) -> None:
        self._held += len(chunk)
        last = self._chunks[-1]
        if len(chunk) >= _SMALL:
            self._chunks.append(chunk)
        elif isinstance(last, bytearray):
            last += chunk
        else:
            self._chunks.append(bytearray(chunk))

    def _cut(self, data: bytes) -> list[memoryview]:
        """
        Return the complete frames in C{data}, and keep the rest.
        """
        frames = []
        view = memoryview(data)
        at, end = 0, len(data)
        needed = _LENGTH.size
        while end - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(data, at)
            if not self._min_bytes <= size <= self._max_bytes:
                raise _malformed(size, self._min_bytes, self._max_bytes)
            needed = _LENGTH.size + size
            if end - at < needed:
                break
            frames.append(view[at + _LENGTH.size : at + needed])
            at += needed
            needed = _LENGTH.size
        self._held = end - at
        self._needed = needed
        if at < end:
            rest = view[at:]
            # A short rest is copied, so that it does not keep the chunk alive.
            self._chunks.append(bytearray(rest) if len(rest) < _SMALL else rest)
        return frames
