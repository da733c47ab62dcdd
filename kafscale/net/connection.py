"""
A client's connection: frames in, answers out, in the same order.

Requests that may overlap (produces) are under way together; any other waits
until those before it are answered, and holds up those behind it. That is what
Apache's broker does, and what clients count on: a ListOffsets after a Produce
sees what was produced.

A client that asks for more than the broker can do is slowed, by not reading
from it, for each of these reasons alone:

  - C{LIMIT_OWED} requests came that are not answered (a store that takes a while
    is asked for much at a time, or a producer of small requests would wait for
    it), or whole frames of more than C{LIMIT_WAITING} bytes wait for those before
    them;
  - it does not take its answers: one waits for room in the kernel;
  - the broker has no room for more records (`IPressure`), when it produces;
  - all connections together hold too much of half-received requests (`Memory`).

None of these needs this connection to read in order to end, so none lasts for
ever. While a single long poll is under way the connection does read, and
learns when the client goes away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.interfaces import Serving
from kafscale.net.dispatch import Pieces, Refused
from kafscale.net.idle import Idle
from kafscale.net.memory import READ
from kafscale.net.outbox import Outbox, outbox_of
from kafscale.net.request_memo import Caller
from kafscale.net.surroundings import Surroundings
from kafscale.wire.frames import FrameBuffer, MalformedFrame
from kafscale.wire.messages import FetchRequest

LIMIT_OWED: Final = 1000
LIMIT_WAITING: Final = 1024 * 1024

# A frame's beginning of fewer bytes is copied by FrameBuffer; a longer one is a
# view that keeps alive all that came with it.
SMALL_REST = 4096

# What a frame that waits costs beside its bytes.
FRAME_OVERHEAD = 256

# So many requests under way are everybody's; what each beyond them takes
# counts as memory, of which all connections together have so much.
OWED_FREE = 100
OWED_OVERHEAD = 4096


@attrs.define(eq=False)
class _Answer:
    """
    An answer that is owed.

    @ivar pieces: Its bytes; None if there are none to send.
    @ivar done: Whether it is known.
    @ivar refused: Whether the connection is closed in its place.
    """

    serving: Serving | None
    under_way: Deferred[Any] | None = None
    pieces: Pieces = None
    done: bool = False
    refused: bool = False


class Connection(Protocol):
    """
    One client's connection, from accept to close.
    """

    _log = Logger()

    transport: Any  # What TCP's or TLS's can do is spread over several interfaces.
    _caller: Caller
    _outbox: Outbox
    _idle: Idle

    def __init__(self, surroundings: Surroundings, gone: Callable[[Connection], None]) -> None:
        """
        @param gone: Called when the connection is lost.
        """
        self._dispatch = surroundings.dispatch
        self._pressure = surroundings.pressure
        self._memory = surroundings.memory
        self._clock = surroundings.clock
        self._idle_seconds = surroundings.idle_seconds
        self._gone = gone
        self._frames = FrameBuffer(surroundings.max_request_bytes)
        self._partial = 0  # bytes kept alive by a frame that is not whole yet
        self._waiting: deque[memoryview] = deque()  # whole frames whose time has not come
        self._waiting_bytes = 0
        self._owed: deque[_Answer] = deque()  # under way, in the order of their requests
        self._relief: Deferred[None] | None = None  # waited for while there is pressure
        self._reading = True
        self._proceeding = False
        self._finishing = False  # no new request is begun
        self._closed = False  # nothing is sent any more
        self._lost = False
        self._host = ""

    # ----------------------------------------------------------------------
    # What the transport tells
    # ----------------------------------------------------------------------

    def connectionMade(self) -> None:
        """
        A client is there.
        """
        self._host = getattr(self.transport.getPeer(), "host", "")
        self._caller = Caller(self._host, self)
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.bufferSize = READ
        self._outbox = outbox_of(self.transport, self._drained)
        self._idle = Idle(self._clock, self._idle_seconds, self._waits_for_us, self._is_idle)
        self._memory.join(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Some bytes came.
        """
        if self._finishing or self._closed:
            return
        held = self._frames.held
        try:
            frames = self._frames.feed(data)
        except MalformedFrame as error:
            self._log_closing(str(error))
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
        The client went away, or was closed. What it asked for is still done;
        but a fetch, which changes nothing, is given up.
        """
        self._lost = self._closed = True
        self._forget()
        self._idle.stop()
        self._memory.leave(self)
        if self._relief is not None:
            self._relief.cancel()
        self.abandon()
        self._gone(self)
        # They refer to us: without them we are freed at once.
        del self._outbox, self._idle, self._caller

    # ----------------------------------------------------------------------
    # What the factory tells
    # ----------------------------------------------------------------------

    def finish(self) -> None:
        """
        Answer what is under way, begin nothing more, then close.
        """
        self._finishing = True
        self._waiting.clear()
        self._waiting_bytes = 0
        self._account()
        if not self._owed:
            self._close()

    def abandon(self) -> None:
        """
        Give up the fetches that are under way: they may wait long, and
        nothing depends on them.
        """
        for answer in list(self._owed):
            if answer.serving is not None and answer.serving.request is FetchRequest:
                answer.refused = True
                if answer.under_way is not None:
                    answer.under_way.cancel()

    def abort(self) -> None:
        """
        Close at once, with answers unsent.
        """
        self._closed = True
        if not self._lost:
            self.transport.abortConnection()

    # ----------------------------------------------------------------------
    # Requests and answers
    # ----------------------------------------------------------------------

    def _proceed(self) -> None:
        """
        Begin what may begin of the requests that wait.
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
        Whether the first request that waits may be under way now.
        """
        overlaps = serving is not None and serving.overlaps
        if self._owed and (not overlaps or self._owed[-1].serving is not serving):
            return False
        if len(self._owed) >= LIMIT_OWED or self._relief is not None:
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
        answer = _Answer(serving)
        self._owed.append(answer)
        try:
            found = self._dispatch.answer(frame, self._caller)
        except Exception:
            self._failed(Failure(), answer)  # type: ignore[no-untyped-call]
            return
        if isinstance(found, Deferred):
            found.addCallbacks(self._answered, self._failed, (answer,), {}, (answer,))
            answer.under_way = found
        else:
            self._answered(found, answer)

    def _answered(self, pieces: Pieces, answer: _Answer) -> None:
        answer.pieces = pieces
        answer.done = True
        if self._owed and self._owed[0] is answer:
            self._settle()

    def _failed(self, failure: Failure, answer: _Answer) -> None:
        """
        There is no answer: the connection closes in its place.
        """
        if not self._lost and not answer.refused:
            if isinstance(failure.value, Refused | CancelledError):
                self._log_closing(str(failure.value) or "a request was given up")
            else:
                self._log.failure("A request from {host} has no answer", failure, host=self._host)
        answer.refused = True
        self._answered(None, answer)

    def _settle(self) -> None:
        """
        Send the answers that are next.
        """
        owed = self._owed
        while owed and owed[0].done and not self._closed:
            answer = owed.popleft()
            if answer.refused:
                self._close()
            elif answer.pieces is not None:
                self._outbox.send(answer.pieces)
        if self._closed:
            return
        self._idle.active()
        if self._finishing and not owed:
            self._close()
        else:
            self._proceed()

    # ----------------------------------------------------------------------
    # Flow
    # ----------------------------------------------------------------------

    def memory_changed(self) -> None:
        """
        There is more, or less, memory for requests than before.
        """
        self._adjust_reading()

    def turn_ended(self) -> None:
        """
        A large request took too long to come while memory is short.
        """
        self._log_closing("memory for requests is short, and one did not come in time")
        self.abort()

    def _drained(self) -> None:
        """
        The client takes its answers.
        """
        self._idle.active()
        self._proceed()

    def _account(self) -> None:
        """
        Say how much memory the requests take that are not under way.
        """
        if not self._lost:
            waiting = self._waiting_bytes
            if len(self._owed) > OWED_FREE:
                waiting += (len(self._owed) - OWED_FREE) * OWED_OVERHEAD
            self._memory.hold(self, self._partial, waiting)
            self._adjust_reading()

    def _spare_chunk(self, size: int) -> None:
        """
        Copy the frames that wait, if they are a small part of a chunk that
        they would keep alive.
        """
        if self._waiting and self._waiting_bytes < size // 2:
            self._waiting = deque(memoryview(bytes(frame)) for frame in self._waiting)

    def _adjust_reading(self) -> None:
        """
        Read, unless there is a reason not to.
        """
        if self._closed:
            return
        reading = not (
            self._outbox.full
            or self._finishing
            or self._relief is not None
            or len(self._owed) + len(self._waiting) >= LIMIT_OWED
            or self._waiting_bytes > LIMIT_WAITING
            or not self._memory.may_read(self)
        )
        self.transport.bufferSize = self._memory.read_size(self)
        if reading != self._reading:
            self._reading = reading
            if reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _waits_for_us(self) -> bool:
        """
        Whether the client waits for an answer, or to be read from. One that
        sends a frame bit by bit does not, nor one that takes no answers.
        """
        if self._closed or self._owed or self._relief is not None:
            return not self._closed
        return not (self._reading or self._outbox.full)

    def _is_idle(self) -> None:
        self._log.debug("Connection from {host} was idle: closed", host=self._host)
        self.abort()

    def _log_closing(self, reason: str) -> None:
        self._log.warn("Connection from {host} is closed: {reason}", host=self._host, reason=reason)

    def _close(self) -> None:
        """
        Close as soon as all that was answered is sent.
        """
        if self._closed:
            return
        self._closed = True
        self._forget()
        self._memory.hold(self, 0, 0)
        self._outbox.close()

    def _forget(self) -> None:
        """
        Let go of what came and is not under way.
        """
        self._waiting.clear()
        self._waiting_bytes = self._partial = 0
        self._frames = FrameBuffer(0)
