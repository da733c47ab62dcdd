"""
A client's connection: frames in, responses out, in the same order.

Requests that may overlap (Produce) are under way together. Any other request
waits until the requests before it are answered, and holds up those behind it,
as on Apache Kafka's broker; clients depend on it: a ListOffsets after a Produce
sees the records of that Produce.

A client that asks for more than the broker can do is slowed down: the broker
stops reading from its connection. Each of these reasons suffices:

  - C{LIMIT_OWED} requests are not answered yet (on a slow store many small
    requests of one producer are under way, or the store's latency would bound
    its rate), or complete frames of more than C{LIMIT_WAITING} bytes wait for
    the requests before them;
  - the client does not read its responses: the kernel's send buffer is full;
  - a Produce is next, and the broker has no room for more records
    (L{IPressure});
  - all connections together hold too much of requests that are not under way
    (L{RequestMemory});
  - the client has exceeded a quota, and was told for how long it is slowed down:
    the connection is I{muted} for that time, in which no request begins. It is
    read while it holds nothing, so that a client that goes away is noticed; of
    one that has sent more, the kernel is asked now and then.

None of these conditions needs this connection to be read in order to end, so
none lasts for ever. While a single long poll is under way the connection is
read, so the broker learns when the client goes away.

The module is long because the order of requests, what is owed, and each reason to
stop reading are one state, which every frame and every answer passes through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import attrs
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.concurrency.seldom import Seldom
from kafscale.interfaces import (
    ANONYMOUS,
    Answer,
    IPressure,
    ISession,
    ISessions,
    ISettlement,
    Refused,
    Serving,
    Unsettled,
)
from kafscale.net import guard
from kafscale.net.dispatch import Call, Dispatch
from kafscale.net.idle_timeout import IdleTimeout
from kafscale.net.outbox import Outbox, outbox_of
from kafscale.net.request_memo import RequestMemo
from kafscale.net.request_memory import READ, RequestMemory
from kafscale.net.sockets import is_gone, lowest
from kafscale.wire.frames import MIN_REQUEST, ForeignProtocol, FrameBuffer, MalformedFrame

LIMIT_OWED: Final = 1000
LIMIT_WAITING: Final = 1024 * 1024

# FrameBuffer copies an incomplete frame of fewer bytes than this; of a longer
# one it keeps a view, which keeps the whole received chunk in memory.
SMALL_REST = 4096

# Bytes that a waiting frame is counted as, beside its contents.
FRAME_OVERHEAD = 256

# Each connection may have this many requests under way for free. Each request
# beyond that counts as OWED_OVERHEAD bytes of RequestMemory.
OWED_FREE = 100
OWED_OVERHEAD = 4096

# While a connection is muted it is looked whether the client is gone, after each such
# time.
LOOK_SECONDS = 1.0

# Bytes per read from a connection that was muted once, and may be again: so many it holds
# meanwhile.
SLOWED_READ = 32 * 1024


@attrs.frozen
class ConnectionSettings:
    """
    What all connections to a listener share.

    @ivar sessions: Of the listener.
    @ivar dispatch: Turns requests into responses.
    @ivar pressure: Whether the log has room for more records.
    @ivar memory: The memory that requests hold before they are under way.
    @ivar strangers: The memory that frames hold before the session is open.
    @ivar clock: Times idle connections.
    @ivar max_request_bytes: Largest frame that is accepted, in bytes.
    @ivar idle_seconds: A connection without requests and owed responses is
        closed after this time, in seconds; 0: never.
    @ivar foreign: Which connections of clients with another protocol are logged,
        by their hosts.
    """

    sessions: ISessions
    dispatch: Dispatch
    pressure: IPressure
    memory: RequestMemory
    strangers: RequestMemory
    clock: IReactorTime
    max_request_bytes: int
    idle_seconds: float
    foreign: Seldom


@attrs.define(eq=False)
class _OwedResponse:
    """
    The response to a request that is under way.

    @ivar under_way: The request's Deferred; None if it was answered at once, or waits
        for a settlement.
    @ivar call: What waits for a settlement.
    @ivar pieces: The response's bytes; None if the request gets no response.
    @ivar done: Whether the response is known.
    @ivar refused: Whether the connection is closed in its place.
    """

    serving: Serving | None
    under_way: Deferred[Any] | None = None
    call: Call | None = None
    pieces: Answer = None
    done: bool = False
    refused: bool = False


@implementer(IHandshakeListener)
class Connection(Protocol):
    """
    One client's connection, from accept to close.
    """

    _log = Logger()

    transport: Any  # What TCP's or TLS's can do is spread over several interfaces.
    _session: ISession
    _memo: RequestMemo
    _outbox: Outbox
    _idle: IdleTimeout

    def __init__(self, settings: ConnectionSettings, gone: Callable[[Connection], None]) -> None:
        """
        @param settings: Shared by all connections to the listener.
        @param gone: Called with this connection when it is lost.
        """
        self._sessions = settings.sessions
        self._services = settings.dispatch
        self._dispatch: guard.Door = settings.dispatch
        self._pressure = settings.pressure
        self._memory = self._open_memory = settings.memory
        self._strangers = settings.strangers
        self._clock = settings.clock
        self._idle_seconds = settings.idle_seconds
        self._foreign = settings.foreign
        self._gone = gone
        self._most_bytes = settings.max_request_bytes
        self._frames = FrameBuffer(settings.max_request_bytes)
        self._partial = 0  # bytes kept in memory by an incomplete frame
        self._waiting: deque[memoryview] = deque()  # complete frames, not under way
        self._waiting_bytes = 0
        self._owed: deque[_OwedResponse] = deque()  # in the order of their requests
        # The last settlement that a request waits for, and all those that do.
        self._settlement: ISettlement | None = None
        self._together: list[_OwedResponse] = []
        self._relief: Deferred[None] | None = None  # set while the log has no room
        self._look: IDelayedCall | None = None  # set while the connection is muted
        self._slowed = False  # it was muted at some time
        self._reading = True
        self._proceeding = False
        self._settling = False  # answers are collected, to be sent together
        self._finishing = False  # no new request begins
        self._closed = False  # nothing more is sent
        self._lost = False
        self._host = ""

    # ----------------------------------------------------------------------
    # Events of the transport
    # ----------------------------------------------------------------------

    def connectionMade(self) -> None:
        """
        Set the socket options, and begin to time the connection.
        """
        self._host = getattr(self.transport.getPeer(), "host", "")
        self._session = self._sessions.begin(self._host)
        self._memo = RequestMemo(self._host, self, self._session)
        self._opening: IDelayedCall | None = None
        if not self._session.is_open or self._session.listener.protocol.has_tls:
            self._opening = self._clock.callLater(guard.OPENING_SECONDS, self._not_opened)
        if not self._session.is_open:
            self._memory = self._strangers
            self._frames = FrameBuffer(guard.MOST_BYTES, 0)
            self._dispatch = guard.Guard(
                self._session, self._services, self._memo, self._opened, self.finish
            )
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._lowest = lowest(self.transport)  # TLS does not pass on how much is read
        self._lowest.bufferSize = READ
        self._outbox = outbox_of(self.transport, self._drained)
        self._idle = IdleTimeout(self._clock, self._idle_seconds, self._waits_for_us, self._is_idle)
        self._memory.join(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Split the bytes into frames, and begin the requests that may begin.
        """
        if self._finishing or self._closed:
            return
        held = self._frames.held
        try:
            frames = self._frames.feed(data)
        except MalformedFrame as error:
            self._log_closing(error, seldom=isinstance(error, ForeignProtocol))
            self.finish()
            return
        if frames:
            self._idle.active()
            rest = self._frames.held
            self._partial = rest if rest < SMALL_REST else held + len(data)
            for frame in frames:
                self._waiting.append(frame)
                self._waiting_bytes += len(frame) + FRAME_OVERHEAD
            self._proceed()
            self._spare_chunk(len(data) + held)
        else:
            self._partial += len(data)
            self._account()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Release everything that the connection holds. Requests under way are
        completed, except for fetches, which change nothing: they are cancelled.
        """
        self._lost = self._closed = True
        self._forget()
        self._idle.stop()
        self._memory.leave(self)
        if self._relief is not None:
            self._relief.cancel()
        if self._look is not None:
            self._look.cancel()
        self.abandon()
        self._in_time()
        if reason.check(SSL.Error) is not None:  # type: ignore[no-untyped-call]
            self._log_closing(_handshake_error(reason.value), seldom=True)
        self._session.gone()
        self._gone(self)
        # These refer to the connection: without them it is freed at once.
        del self._outbox, self._idle, self._memo, self._dispatch

    # ----------------------------------------------------------------------
    # Calls of the factory
    # ----------------------------------------------------------------------

    def finish(self) -> None:
        """
        Begin no new request; close when all requests under way are answered.
        """
        self._finishing = True
        self._waiting.clear()
        self._waiting_bytes = 0
        self._account()
        if not self._owed:
            self._close()

    def abandon(self) -> None:
        """
        Cancel the requests under way that may be abandoned (long polls).
        """
        for answer in list(self._owed):
            if answer.serving is not None and answer.serving.abandoned:
                answer.refused = True
                if answer.under_way is not None:
                    answer.under_way.cancel()

    def abort(self) -> None:
        """
        Close at once; responses that are not sent are lost.
        """
        self._closed = True
        if not self._lost:
            self.transport.abortConnection()

    def handshakeCompleted(self) -> None:  # noqa: N802 - Twisted's name
        """
        TLS is established (C{IHandshakeListener}).
        """
        certificate = self.transport.getPeerCertificate()
        subject = None
        if certificate is not None:
            subject = certificate.to_cryptography().subject.public_bytes()
        try:
            self._session.secured(subject)
        except Refused as why:
            self._log_closing(why, seldom=True)
            self.abort()
            return
        if self._session.is_open:
            self._in_time()

    def _in_time(self) -> None:
        """
        The client has done in time what it must do before its first request.
        """
        if self._opening is not None and self._opening.active():
            self._opening.cancel()

    def _not_opened(self) -> None:
        self._log_closing(
            f"it did not authenticate within {guard.OPENING_SECONDS:g} s", seldom=True
        )
        self.abort()

    def _opened(self, door: guard.Door) -> None:
        """
        The session is open: frames are requests, and go to C{door}.
        """
        self._in_time()
        self._memory.leave(self)
        self._memory = self._open_memory
        self._memory.join(self)
        self._dispatch = door
        self._frames.allow(self._most_bytes)
        if any(len(frame) < MIN_REQUEST for frame in self._waiting):
            self._log_closing("what follows its authentication is no request")
            self.finish()

    # ----------------------------------------------------------------------
    # Requests and answers
    # ----------------------------------------------------------------------

    def _proceed(self) -> None:
        """
        Begin the waiting requests that may begin.
        """
        if self._proceeding:
            return
        self._proceeding = True
        while self._waiting and not self._outbox.full and not self._closed:
            serving = self._dispatch.serving(self._waiting[0])
            if not self._may_begin(serving):
                break
            frame = self._waiting.popleft()
            self._waiting_bytes -= len(frame) + FRAME_OVERHEAD
            self._begin(frame, serving)
        self._proceeding = False
        self._account()

    def _may_begin(self, serving: Serving | None) -> bool:
        """
        Whether the first waiting request may begin now.
        """
        overlaps = serving is not None and serving.overlaps
        if self._owed and (not overlaps or self._owed[-1].serving is not serving):
            return False
        if len(self._owed) >= LIMIT_OWED or self._relief is not None or self._memo.throttle_ms:
            return False
        if overlaps and self._pressure.spent():
            self._relief = self._pressure.relieved()
            self._relief.addBoth(self._relieved)
        return self._relief is None

    def _relieved(self, _: object) -> None:
        self._relief = None
        if not self._lost:
            self._proceed()

    def _begin(self, frame: memoryview, serving: Serving | None) -> None:
        answer = _OwedResponse(serving)
        self._owed.append(answer)
        try:
            found = self._dispatch.answer(frame, self._memo)
        except Exception:
            self._failed(Failure(), answer)  # type: ignore[no-untyped-call]
            return
        if isinstance(found, Unsettled):
            assert isinstance(found, Call)
            answer.call = found
            self._let_settle(answer, found)
        else:
            self._let_answer(answer, found)

    def _let_answer(self, answer: _OwedResponse, found: Answer | Deferred[Answer]) -> None:
        if isinstance(found, Deferred):
            found.addCallbacks(self._answered, self._failed, (answer,), {}, (answer,))
            answer.under_way = found
        else:
            self._answered(found, answer)

    def _let_settle(self, answer: _OwedResponse, call: Call) -> None:
        """
        Let a request wait for a settlement, together with those before it that wait for
        the same one.
        """
        settling = call.settling
        assert settling is not None
        settling.end = partial(self._ended, answer)
        settlement = settling.settlement
        if settlement is self._settlement:
            self._together.append(answer)
            return
        self._settlement = settlement
        self._together = together = [answer]
        settlement.wait().addBoth(self._settled, settlement, together)

    def _ended(self, answer: _OwedResponse, failure: Failure) -> None:
        """
        A request does not wait any longer for its settlement.
        """
        self._settled(failure, None, [answer])

    def _settled(
        self,
        outcome: Failure | None,
        settlement: ISettlement | None,
        together: list[_OwedResponse],
    ) -> None:
        """
        A settlement has fired; C{together} are those that wait for it.
        """
        if settlement is self._settlement:
            self._settlement = None
            self._together = []
        self._settling = True
        for answer in together:
            call, answer.call = answer.call, None
            if call is None:
                continue  # its wait has ended before
            try:
                self._let_answer(answer, call.dispatch.settled(call, outcome))
            except Exception:
                self._failed(Failure(), answer)  # type: ignore[no-untyped-call]
        self._settling = False
        self._settle()

    def _answered(self, pieces: Answer, answer: _OwedResponse) -> None:
        answer.pieces = pieces
        answer.done = True
        if self._owed and self._owed[0] is answer and not self._settling:
            self._settle()

    def _failed(self, failure: Failure, answer: _OwedResponse) -> None:
        """
        The request gets no response: close the connection in its place.
        """
        if not self._lost and not answer.refused:
            if isinstance(failure.value, Refused | CancelledError):
                self._log_closing(str(failure.value) or "a request was cancelled")
            else:
                self._log.failure(
                    "a request from {host} failed without a response; closing its connection",
                    failure,
                    host=self._host,
                )
        answer.refused = True
        self._answered(None, answer)

    def _settle(self) -> None:
        """
        Send the responses that are known and next in order.
        """
        owed = self._owed
        pieces: list[bytes] = []
        refused = False
        while owed and owed[0].done and not refused:
            answer = owed.popleft()
            refused = answer.refused
            if answer.pieces is not None:
                pieces += answer.pieces
        if pieces and not self._closed:
            self._outbox.send(pieces)
        if refused:
            self._close()
        if self._closed:
            return
        self._idle.active()
        if self._finishing and not owed:
            self._close()
        elif self._memo.throttle_ms and not owed and self._look is None:
            self._mute(self._clock.seconds() + self._memo.throttle_ms / 1000)
        else:
            self._proceed()

    # ----------------------------------------------------------------------
    # Flow
    # ----------------------------------------------------------------------

    def _mute(self, until: float) -> None:
        """
        Begin no request until then.
        """
        self._look = None
        left = until - self._clock.seconds()
        if left <= 0:
            self._memo.throttle_ms = 0
            self._proceed()
        elif not self._reading and is_gone(self.transport):
            self.abort()
        else:
            self._slowed = True
            self._look = self._clock.callLater(min(left, LOOK_SECONDS), self._mute, until)
            self._account()

    def memory_changed(self) -> None:
        """
        See L{RequestHolder.memory_changed}.
        """
        self._adjust_reading()

    def turn_ended(self) -> None:
        """
        See L{RequestHolder.turn_ended}.
        """
        self._log_closing("memory for requests is short, and its request did not arrive in time")
        self.abort()

    def _drained(self) -> None:
        """
        The kernel has room for responses again.
        """
        self._idle.active()
        self._proceed()

    def _account(self) -> None:
        """
        Report the memory held by requests that are not under way.
        """
        if not self._lost:
            waiting = self._waiting_bytes
            if len(self._owed) > OWED_FREE:
                waiting += (len(self._owed) - OWED_FREE) * OWED_OVERHEAD
            if self._memo.throttle_ms:
                # It does not complete its frame now: others have their turn.
                self._memory.hold(self, 0, self._partial + waiting)
            else:
                self._memory.hold(self, self._partial, waiting)
            self._adjust_reading()

    def _spare_chunk(self, size: int) -> None:
        """
        Copy the waiting frames if they are a small part of the received chunk,
        which they would keep in memory.
        """
        if self._waiting and self._waiting_bytes < size // 2:
            self._waiting = deque(memoryview(bytes(frame)) for frame in self._waiting)

    def _adjust_reading(self) -> None:
        """
        Pause or resume reading, as the module's docstring has it.
        """
        if self._closed:
            return
        reading = not (
            self._outbox.full
            or self._finishing
            or self._relief is not None
            or len(self._owed) + len(self._waiting) >= LIMIT_OWED
            or self._waiting_bytes > (0 if self._slowed else LIMIT_WAITING)
            or (self._memo.throttle_ms and self._partial)
            or not self._memory.may_read(self)
        )
        most = self._memory.read_size(self)
        self._lowest.bufferSize = min(most, SLOWED_READ) if self._slowed else most
        if reading != self._reading:
            self._reading = reading
            if reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _waits_for_us(self) -> bool:
        """
        Whether the client waits for the broker: for a response, or to be read
        from. A client that sends a frame in small pieces does not, nor one that
        does not read its responses.
        """
        if self._closed or self._owed or self._relief is not None or self._memo.throttle_ms:
            return not self._closed
        return not (self._reading or self._outbox.full)

    def _is_idle(self) -> None:
        self._log.debug("closing the connection from {host}: it was idle", host=self._host)
        self.abort()

    def _log_closing(self, reason: object, seldom: bool = False) -> None:
        """
        Log why the connection is closed.

        @param seldom: Not if this was done of another connection of the same host just
            now: such clients connect again at once. So it is done for all that have not
            authenticated, also where they need not.
        """
        more: int | None = 0
        if seldom or self._session.principal == ANONYMOUS:
            more = self._foreign.passes(self._host)
        if more is not None:
            self._log.warn(
                "closing the connection from {host}: {reason}",
                host=self._host,
                reason=f"{reason}{f' ({more} more since the last line)' if more else ''}",
            )

    def _close(self) -> None:
        """
        Close when all responses that are known are sent.
        """
        if self._closed:
            return
        self._closed = True
        self._forget()
        self._memory.hold(self, 0, 0)
        self._outbox.close()

    def _forget(self) -> None:
        """
        Drop the requests that are not under way.
        """
        self._waiting.clear()
        self._waiting_bytes = self._partial = 0
        self._frames = FrameBuffer(0)


def _handshake_error(error: Any) -> str:
    """
    What OpenSSL says of a failed handshake, in words.
    """
    reasons = [each[-1] for each in error.args[0]] if error.args else []
    return f"TLS failed: {', '.join(reasons) or 'the client has closed'}"
