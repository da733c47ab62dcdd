"""
Where one message ends and the next begins in a stream of bytes.

A frame is four bytes of length, then as many bytes. The size is judged as soon
as it is there, before any room is made for what it promises.
"""

from __future__ import annotations

import struct

from kafscale.wire.kinds import MalformedMessage

_LENGTH = struct.Struct(">i")

# API key, version and correlation id: no request is shorter.
LEAST_REQUEST = 8

# Chunks smaller than this are put together while a frame is incomplete: a
# sender of single bytes would else cost fifty bytes of memory for each.
_SMALL = 4096


class MalformedFrame(MalformedMessage):
    """
    A length that no frame may have. What follows cannot be understood.
    """


class FrameBuffer:
    """
    Cuts a stream into frames.

    Chunks are kept as they come and joined once, when a frame is complete;
    frames that lie within one chunk are not copied at all.
    """

    def __init__(self, max_bytes: int, min_bytes: int = LEAST_REQUEST) -> None:
        """
        @param max_bytes: The longest frame that is accepted.
        @param min_bytes: The shortest; responses may be as short as 4.
        """
        self._max_bytes = max_bytes
        self._min_bytes = min_bytes
        self._chunks: list[bytes | bytearray | memoryview] = []
        self._held = 0
        # How much must be held before looking again is worth it.
        self._needed = _LENGTH.size

    @property
    def held(self) -> int:
        """
        The bytes that wait here for the rest of their frame.
        """
        return self._held

    def feed(self, data: bytes) -> list[memoryview]:
        """
        Take a chunk; return the frames that are now complete, without their
        length, each a view of a byte string that does not change.

        @raise MalformedFrame: A length is negative, too small or too large.
            No further chunk can be taken.
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
        The frames at the beginning of C{data}; the rest is kept.
        """
        frames = []
        view = memoryview(data)
        at, end = 0, len(data)
        needed = _LENGTH.size
        while end - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(data, at)
            if not self._min_bytes <= size <= self._max_bytes:
                raise MalformedFrame(f"a frame of {size} bytes; at most {self._max_bytes} may come")
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
