"""
The memory that requests hold before they are under way.

A client may announce a frame of 100 MiB and send it over hours, and ten
thousand clients may do so at once. A connection keeps the bytes that arrived,
so an announcement costs nothing; and all connections together are bounded by a
limit. The rules, and why no connection waits for ever:

  - Below the limit every connection is read.
  - Once the limit is *spent*, reads are small. A connection that holds less
    than an equal part of the limit is still read: a Metadata request or a fetch
    gets through, however many large requests are half received.
  - Of the connections that hold more, one at a time has the *turn*: it is read
    until its frame is complete, however large. Complete frames are served and
    released, so the others follow, one by one. A connection that has the turn
    and does not complete its frame in time is closed: otherwise one stalled
    client would stall all.
  - The limit is no longer spent when half of it is free again.

So at most about twice the limit, and one frame of the largest size, is held.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

LIMIT = 64 * 1024 * 1024
LEAST_PART = 4096
TURN_SECONDS = 5.0

# Bytes per read. Large reads cost less CPU per byte.
READ = 256 * 1024
LEAST_READ = 4096


class RequestHolder(Protocol):
    """
    A connection, as L{RequestMemory} sees it.
    """

    def memory_changed(self) -> None:
        """
        Ask again whether to read, and how much (L{RequestMemory.may_read},
        L{RequestMemory.read_size}).
        """

    def turn_ended(self) -> None:
        """
        The turn ended before the frame was complete: close the connection.
        """


class RequestMemory:
    """
    The bytes that all connections of a broker hold, and which of them are read.
    """

    def __init__(
        self, clock: IReactorTime, limit: int = LIMIT, turn_seconds: float = TURN_SECONDS
    ) -> None:
        """
        @param clock: Times the turns.
        @param limit: In bytes, for all connections together.
        @param turn_seconds: How long a turn may last.
        """
        self._clock = clock
        self._limit = limit
        self._turn_seconds = turn_seconds
        self._held: dict[RequestHolder, tuple[int, int]] = {}  # partial, waiting
        self._total = 0
        self._spent = False
        self._queue: dict[RequestHolder, None] = {}  # first come, first served
        self._turn: RequestHolder | None = None
        self._turn_end: IDelayedCall | None = None

    @property
    def total(self) -> int:
        """
        Bytes held by all connections.
        """
        return self._total

    @property
    def spent(self) -> bool:
        """
        Whether the limit is spent.
        """
        return self._spent

    def join(self, holder: RequestHolder) -> None:
        """
        Add a connection, which holds nothing yet.
        """
        self._held[holder] = (0, 0)

    def leave(self, holder: RequestHolder) -> None:
        """
        Remove a connection, and release what it holds.
        """
        self.hold(holder, 0, 0)
        del self._held[holder]
        self._queue.pop(holder, None)

    def hold(self, holder: RequestHolder, partial: int, waiting: int) -> None:
        """
        Set what a connection holds.

        @param partial: Bytes of its incomplete frame.
        @param waiting: Bytes of its complete frames that are not under way.
        """
        before, waited = self._held[holder]
        if before == partial and waited == waiting:
            return
        self._held[holder] = (partial, waiting)
        self._total += partial + waiting - before - waited
        if holder is self._turn and partial < before:
            self._next_turn()  # its frame is complete
        if self._spent != (self._total > (self._limit // 2 if self._spent else self._limit)):
            self._spent = not self._spent
            self._queue.clear()
            if not self._spent and self._turn is not None:
                self._next_turn()
            for each in list(self._held):
                each.memory_changed()

    def may_read(self, holder: RequestHolder) -> bool:
        """
        Whether a connection may be read. If not, its C{memory_changed} is
        called when that may have changed.
        """
        if not self._spent:
            return True
        part = max(LEAST_PART, self._limit // len(self._held))
        partial, waiting = self._held[holder]
        if partial + waiting < part or holder is self._turn:
            return True
        if waiting:
            return False  # it asks again when these are under way
        if self._turn is None:
            self._begin_turn(holder)
            return True
        self._queue[holder] = None
        return False

    def read_size(self, holder: RequestHolder) -> int:
        """
        How many bytes a connection may read at once. While the limit is spent,
        all connections together read at most a quarter of it.
        """
        if not self._spent or holder is self._turn:
            return READ
        return min(READ, max(LEAST_READ, self._limit // (4 * len(self._held))))

    def _begin_turn(self, holder: RequestHolder) -> None:
        self._queue.pop(holder, None)
        self._turn = holder
        self._turn_end = self._clock.callLater(self._turn_seconds, self._time_up)

    def _next_turn(self) -> None:
        if self._turn_end is not None and self._turn_end.active():
            self._turn_end.cancel()
        self._turn = self._turn_end = None
        if self._queue:
            holder = next(iter(self._queue))
            self._begin_turn(holder)
            holder.memory_changed()

    def _time_up(self) -> None:
        assert self._turn is not None
        self._turn.turn_ended()
