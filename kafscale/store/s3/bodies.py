"""
Bodies of requests and answers, with as few copies as Twisted allows.
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

CHUNK = 128 * 1024
"""The approximate number of bytes that are written at once. Smaller pieces are
joined."""


def checksum(pieces: Sequence[Piece]) -> int:
    """
    The CRC-32C of the concatenation of some pieces.
    """
    crc = 0
    for piece in pieces:
        crc = crc32c(piece, crc)
    return crc


def chunks(pieces: Sequence[Piece]) -> Iterator[bytes]:
    """
    Divide the concatenation of some pieces into chunks that are large enough to
    be worth a call. Twisted's transports accept only C{bytes}, so memoryviews
    are copied here, one chunk at a time.
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
    Divide pieces into groups of C{size} bytes, without copies. The last group
    may be shorter.
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
    Writes the body of a request as fast as the transport accepts it.
    """

    def __init__(self, pieces: Sequence[Piece], progressed: Callable[[], None]) -> None:
        """
        @param pieces: The body.
        @param progressed: Called whenever the transport has sent something.
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


class TooLong(Exception):
    """
    The body of an answer is longer than it may be.
    """


class Collector(Protocol):
    """
    Collects the body of an answer.

    @ivar done: Fires with the body when it is complete, and fails if the
        connection is lost before, or with L{TooLong}. Cancelling it closes the
        connection.
    """

    transport: ITransport | None

    def __init__(self, progressed: Callable[[], None], most: int | None = None) -> None:
        """
        @param progressed: Called whenever something was received.
        @param most: The maximum size of the body in bytes; None: any. At a longer
            one the connection is closed.
        """
        self.done: Deferred[bytes] = Deferred(self._cancelled)
        self._parts: list[bytes] = []
        self._progressed = progressed
        self._most = most
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        """
        See C{IProtocol.dataReceived}.
        """
        self._parts.append(data)
        self._size += len(data)
        self._progressed()
        if self._most is not None and self._size > self._most and not self.done.called:
            self.done.errback(TooLong(f"the answer has more than {self._most} bytes"))
            self._cancelled(self.done)

    def connectionLost(self, reason: Failure = ResponseDone) -> None:  # type: ignore[assignment]
        """
        See C{IProtocol.connectionLost}: the body is complete, or cut short.
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
