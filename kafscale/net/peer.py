"""
A client of Kafka's protocol, for requests between brokers.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from math import inf
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.interfaces import IPeer, IPeerLogin, PeerUnavailable
from kafscale.wire.frames import FrameBuffer
from kafscale.wire.headers import read_response_header, request_header
from kafscale.wire.kinds import MalformedMessage
from kafscale.wire.messages import RESPONSES
from kafscale.wire.schema import Request

# More than any response has: 55 MiB of records, or one larger batch.
MOST_BYTES: Final = 256 * 1024 * 1024
LEAST_RESPONSE: Final = 4

LOGIN_SECONDS: Final = 10.0
"""How long each answer of a login may take."""

LOGIN_SHARE: Final = 0.8
"""The share of the time between two logins after which a connection is replaced."""


@attrs.define(eq=False)
class _PendingRequest:
    """
    A request that waits for its response.

    @ivar seconds: How long it may take, once it is sent.
    @ivar answer: Fires with the response.
    @ivar due: Fires when it has taken too long.
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
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        client_id: str,
        login: IPeerLogin | None = None,
    ) -> None:
        """
        @param endpoint: Address of the other broker.
        @param clock: Times the requests.
        @param client_id: The client id of all requests.
        @param login: How to log in on each connection; None: not at all.
        """
        self._endpoint = endpoint
        self._clock = clock
        self._client_id = client_id
        self._login = login
        self._connection: _PeerConnection | None = None
        self._connecting: Deferred[Any] | None = None
        self._unsent: list[_PendingRequest] = []

    def ask(self, request: Request, version: int, seconds: float) -> Deferred[Any]:
        """
        See L{IPeer.ask}.
        """
        pending = _PendingRequest(request, version, seconds, Deferred())
        if self._connection is not None and self._connection.ends <= self._clock.seconds():
            # The other broker takes no request between the steps of a login, so the
            # next one is made on a new connection.
            ended, self._connection = self._connection, None
            ended.retire()
        if self._connection is not None:
            self._send(self._connection, pending)
        else:
            self._unsent.append(pending)
            if self._connecting is None:
                self._connect()
        return pending.answer

    def close(self) -> None:
        """
        See L{IPeer.close}.
        """
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.abort()

    def _connect(self) -> None:
        factory = Factory.forProtocol(_PeerConnection)
        factory.noisy = False
        self._connecting = Deferred.fromCoroutine(self._open(factory))
        self._connecting.addCallbacks(self._connected, self._refused)

    async def _open(self, factory: Any) -> _PeerConnection:
        """
        A new connection on which this broker has logged in.
        """
        connection: Any = await self._endpoint.connect(factory)
        connection.gone = self._gone
        if self._login is not None:
            try:
                seconds = await self._login.log_in(partial(self._ask_first, connection))
            except (Exception, CancelledError):
                connection.abort()
                raise
            if seconds:
                connection.ends = self._clock.seconds() + LOGIN_SHARE * seconds
        opened: _PeerConnection = connection
        return opened

    def _ask_first(
        self, connection: _PeerConnection, request: Request, version: int
    ) -> Deferred[Any]:
        pending = _PendingRequest(request, version, LOGIN_SECONDS, Deferred())
        self._send(connection, pending)
        return pending.answer

    def _connected(self, connection: _PeerConnection) -> None:
        self._connecting = None
        self._connection = connection
        unsent, self._unsent = self._unsent, []
        for pending in unsent:
            self._send(connection, pending)

    def _refused(self, failure: Failure) -> None:
        self._connecting = None
        unsent, self._unsent = self._unsent, []
        # The text of a cancellation is an address, in Python's notation.
        is_closed = failure.check(ConnectingCancelledError, CancelledError)  # type: ignore[no-untyped-call]
        why = "the connection was closed" if is_closed else failure.getErrorMessage()
        for pending in unsent:
            pending.answer.errback(PeerUnavailable(why))

    def _send(self, connection: _PeerConnection, pending: _PendingRequest) -> None:
        pending.due = self._clock.callLater(pending.seconds, connection.abort)
        connection.send(pending, self._client_id)

    def _gone(self, connection: _PeerConnection) -> None:
        if self._connection is connection:
            self._connection = None


class _PeerConnection(Protocol):
    """
    One connection to another broker.
    """

    transport: Any
    _why = "the connection was lost"

    def __init__(self) -> None:
        self._frames = FrameBuffer(MOST_BYTES, LEAST_RESPONSE)
        self._waiting: deque[_PendingRequest] = deque()
        self._correlation = 0  # id of the next response
        self.gone: Any = None
        self.ends = inf  # when it is to be replaced, by the clock
        self._retired = False

    def connectionMade(self) -> None:
        """
        Send small requests without delay.
        """
        self.transport.setTcpNoDelay(True)

    def send(self, pending: _PendingRequest, client_id: str) -> None:
        """
        Send a request.
        """
        correlation = (self._correlation + len(self._waiting)) & 0x7FFFFFFF
        key, version = type(pending.request).key, pending.version
        pieces = pending.request.encode(version)
        header = request_header(key, version, correlation, client_id)
        size = len(header) + sum(map(len, pieces))
        self._waiting.append(pending)
        self.transport.writeSequence([size.to_bytes(4, "big"), header, *pieces])

    def dataReceived(self, data: bytes) -> None:
        """
        Responses arrive in the order of their requests.
        """
        try:
            for frame in self._frames.feed(data):
                self._answered(frame)
        except MalformedMessage as error:
            self._why = str(error)
            self.abort()

    def _answered(self, frame: memoryview) -> None:
        if not self._waiting:
            raise MalformedMessage("a response arrived without a request")
        pending = self._waiting[0]
        key, version = type(pending.request).key, pending.version
        correlation, at = read_response_header(key, version, frame)
        if correlation != self._correlation:
            raise MalformedMessage(f"response {correlation} arrived instead of {self._correlation}")
        response, _ = RESPONSES[key].decode_some(version, frame, at)
        self._waiting.popleft()
        self._correlation = (self._correlation + 1) & 0x7FFFFFFF
        _settle(pending)
        pending.answer.callback(response)
        if self._retired and not self._waiting:
            self.abort()

    def retire(self) -> None:
        """
        Close when all requests are answered.
        """
        self._retired = True
        if not self._waiting:
            self.abort()

    def abort(self) -> None:
        """
        Close at once.
        """
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Fail all pending requests.
        """
        self.gone(self)
        waiting, self._waiting = self._waiting, deque()
        for pending in waiting:
            _settle(pending)
            pending.answer.errback(PeerUnavailable(self._why))


def _settle(pending: _PendingRequest) -> None:
    if pending.due is not None and pending.due.active():
        pending.due.cancel()
