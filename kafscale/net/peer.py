"""
The client's end of Kafka's protocol, for brokers that ask other brokers.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.interfaces import IPeer, PeerUnavailable
from kafscale.wire.frames import FrameBuffer
from kafscale.wire.headers import read_response_header, request_header
from kafscale.wire.kinds import MalformedMessage
from kafscale.wire.messages import RESPONSES
from kafscale.wire.schema import Request

# More than any answer has: 55 MiB of records, or one larger batch.
MOST_BYTES: Final = 256 * 1024 * 1024
LEAST_RESPONSE: Final = 4


@attrs.define(eq=False)
class _Question:
    """
    What was asked, and waits for its answer.

    @ivar due: When it has waited for too long.
    """

    request: Request
    version: int
    seconds: float
    answer: Deferred[Any]
    due: IDelayedCall | None = None


@implementer(IPeer)
class Peer:
    """
    See L{IPeer}.
    """

    def __init__(
        self, endpoint: IStreamClientEndpoint, clock: IReactorTime, client_id: str
    ) -> None:
        """
        @param endpoint: Where the other broker listens.
        @param client_id: What this one calls itself.
        """
        self._endpoint = endpoint
        self._clock = clock
        self._client_id = client_id
        self._line: _Line | None = None
        self._connecting: Deferred[Any] | None = None
        self._unsent: list[_Question] = []

    def ask(self, request: Request, version: int, seconds: float) -> Deferred[Any]:
        """
        See L{IPeer.ask}.
        """
        question = _Question(request, version, seconds, Deferred())
        if self._line is not None:
            self._send(self._line, question)
        else:
            self._unsent.append(question)
            if self._connecting is None:
                self._connect()
        return question.answer

    def close(self) -> None:
        """
        See L{IPeer.close}.
        """
        if self._connecting is not None:
            self._connecting.cancel()
        if self._line is not None:
            self._line.abort()

    def _connect(self) -> None:
        factory = Factory.forProtocol(_Line)
        factory.noisy = False
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._refused)

    def _connected(self, line: _Line) -> None:
        self._connecting = None
        line.gone = self._gone
        self._line = line
        unsent, self._unsent = self._unsent, []
        for question in unsent:
            self._send(line, question)

    def _refused(self, failure: Failure) -> None:
        self._connecting = None
        unsent, self._unsent = self._unsent, []
        for question in unsent:
            question.answer.errback(PeerUnavailable(failure.getErrorMessage()))

    def _send(self, line: _Line, question: _Question) -> None:
        question.due = self._clock.callLater(question.seconds, line.abort)
        line.send(question, self._client_id)

    def _gone(self, line: _Line) -> None:
        if self._line is line:
            self._line = None


class _Line(Protocol):
    """
    One connection to another broker.
    """

    transport: Any
    _why = "the connection was lost"

    def __init__(self) -> None:
        self._frames = FrameBuffer(MOST_BYTES, LEAST_RESPONSE)
        self._waiting: deque[_Question] = deque()
        self._correlation = 0  # of the next answer
        self.gone: Any = None

    def connectionMade(self) -> None:
        """
        What is asked is sent at once.
        """
        self.transport.setTcpNoDelay(True)

    def send(self, question: _Question, client_id: str) -> None:
        """
        Ask.
        """
        correlation = (self._correlation + len(self._waiting)) & 0x7FFFFFFF
        key, version = type(question.request).key, question.version
        pieces = question.request.encode(version)
        header = request_header(key, version, correlation, client_id)
        size = len(header) + sum(map(len, pieces))
        self._waiting.append(question)
        self.transport.writeSequence([size.to_bytes(4, "big"), header, *pieces])

    def dataReceived(self, data: bytes) -> None:
        """
        Answers come, in the order in which they were asked for.
        """
        try:
            for frame in self._frames.feed(data):
                self._answered(frame)
        except MalformedMessage as error:
            self._why = str(error)
            self.abort()

    def _answered(self, frame: memoryview) -> None:
        if not self._waiting:
            raise MalformedMessage("an answer came that nobody had asked for")
        question = self._waiting[0]
        key, version = type(question.request).key, question.version
        correlation, at = read_response_header(key, version, frame)
        if correlation != self._correlation:
            raise MalformedMessage(f"answer {correlation} came instead of {self._correlation}")
        response, _ = RESPONSES[key].decode_some(version, frame, at)
        self._waiting.popleft()
        self._correlation = (self._correlation + 1) & 0x7FFFFFFF
        _settle(question)
        question.answer.callback(response)

    def abort(self) -> None:
        """
        Close at once.
        """
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Whoever waits learns that there will be no answer.
        """
        self.gone(self)
        waiting, self._waiting = self._waiting, deque()
        for question in waiting:
            _settle(question)
            question.answer.errback(PeerUnavailable(self._why))


def _settle(question: _Question) -> None:
    if question.due is not None and question.due.active():
        question.due.cancel()
