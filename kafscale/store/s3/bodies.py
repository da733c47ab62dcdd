"""
Bodies of requests and of answers, without more copies than the transport makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from crc32c import crc32c
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

Piece = bytes | memoryview

#: Bytes that are written at once, about; smaller pieces are joined to so many.
CHUNK = 128 * 1024


def checksum(pieces: Sequence[Piece]) -> int:
    """
    CRC-32C of the concatenation.
    """
    crc = 0
    for piece in pieces:
        crc = crc32c(piece, crc)
    return crc


def chunks(pieces: Sequence[Piece]) -> Iterator[bytes]:
    """
    The concatenation, in strings of bytes of a size that is worth a call.
    Twisted's transports take nothing but C{bytes}, so views are copied here,
    a chunk at a time.
    """
    small: list[Piece] = []
    gathered = 0
    for piece in pieces:
        size = len(piece)
        if gathered and gathered + size > CHUNK:
            yield b"".join(small)
            small, gathered = [], 0
        if size < CHUNK:
            small.append(piece)
            gathered += size
        elif isinstance(piece, bytes) and size <= 8 * CHUNK:
            yield piece
        else:
            whole = memoryview(piece)
            for at in range(0, size, CHUNK):
                yield bytes(whole[at : at + CHUNK])
    if gathered:
        yield b"".join(small)


def cut(pieces: Sequence[Piece], size: int) -> Iterator[list[Piece]]:
    """
    The same bytes in groups of C{size}, without a copy; the last may be
    shorter.
    """
    group: list[Piece] = []
    room = size
    for piece in pieces:
        at = 0
        while len(piece) - at > room:
            group.append(memoryview(piece)[at : at + room])
            at += room
            yield group
            group, room = [], size
        if at < len(piece):
            group.append(memoryview(piece)[at:] if at else piece)
            room -= len(piece) - at
    if group:
        yield group


@implementer(IBodyProducer)
class PieceProducer:
    """
    A request's body, written piece by piece as fast as it is taken.
    """

    def __init__(self, pieces: Sequence[Piece], progressed: Callable[[], None]) -> None:
        """
        @param progressed: Called whenever the transport has taken something.
        """
        self.length = sum(map(len, pieces))
        self._chunks = chunks(pieces)
        self._progressed = progressed
        self._paused = False
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] = Deferred()

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:  # noqa: N802
        """
        See C{IBodyProducer.startProducing}.
        """
        self._consumer = consumer
        self._write()
        return self._done

    def pauseProducing(self) -> None:
        """
        See C{IBodyProducer.pauseProducing}.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        See C{IBodyProducer.resumeProducing}.
        """
        self._paused = False
        self._progressed()
        self._write()

    def stopProducing(self) -> None:
        """
        See C{IBodyProducer.stopProducing}.
        """
        self._consumer = None

    def _write(self) -> None:
        while self._consumer is not None and not self._paused:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._consumer = None
                self._done.callback(None)
            else:
                self._consumer.write(chunk)


class Collector(Protocol):
    """
    An answer's body; L{done} fires with it when it is whole.
    """

    transport: ITransport | None

    def __init__(self, progressed: Callable[[], None]) -> None:
        self.done: Deferred[bytes] = Deferred(self._cancelled)
        self._parts: list[bytes] = []
        self._progressed = progressed

    def dataReceived(self, data: bytes) -> None:
        """
        Some more of it.
        """
        self._parts.append(data)
        self._progressed()

    def connectionLost(self, reason: Failure = ResponseDone) -> None:  # type: ignore[assignment]
        """
        All of it is there, or no more of it comes.
        """
        if self.done.called:
            return
        if reason.check(ResponseDone):  # type: ignore[no-untyped-call]
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(reason)

    def _cancelled(self, done: Deferred[bytes]) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
