"""
The memory that requests take before they are served.

A client may promise a frame of 100 MiB and send it over hours, and ten
thousand clients may do so at once. What a connection keeps is what really
arrived, so promises cost nothing; and all connections together keep only as
much as is agreed here. The rules, and why nobody waits for ever:

  - Below the limit everyone reads.
  - When it is *spent*, reads are small, and who holds less than an equal share
    of the limit still reads: a metadata request or a fetch gets through however
    many large requests stand half received.
  - Of those who hold more, one at a time has the *turn*: it reads until its
    frame is whole, however large. Whole frames are served and let go of, so the
    others follow, one by one. Who has the turn and does not finish in time is
    closed: otherwise one that stalls would stall all.
  - It is over when half of the limit is free again.

So what is held stays below about twice the limit and one frame of the largest
size.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

LIMIT = 64 * 1024 * 1024
LEAST_SHARE = 4096
TURN_SECONDS = 5.0

# Large reads cost less CPU per byte.
READ = 256 * 1024
LEAST_READ = 4096


class Holder(Protocol):
    """
    A connection, as `Memory` sees it.
    """

    def memory_changed(self) -> None:
        """
        Ask anew whether, and how, to read.
        """

    def turn_ended(self) -> None:
        """
        The time to finish a frame is over: close.
        """


class Memory:
    """
    Shared by all connections.
    """

    def __init__(
        self, clock: IReactorTime, limit: int = LIMIT, turn_seconds: float = TURN_SECONDS
    ) -> None:
        """
        @param limit: In bytes.
        @param turn_seconds: How long a turn may last.
        """
        self._clock = clock
        self._limit = limit
        self._turn_seconds = turn_seconds
        self._held: dict[Holder, tuple[int, int]] = {}  # partial, waiting
        self._total = 0
        self._spent = False
        self._queue: dict[Holder, None] = {}  # in the order in which they came
        self._turn: Holder | None = None
        self._turn_end: IDelayedCall | None = None

    @property
    def total(self) -> int:
        """
        The bytes held by all.
        """
        return self._total

    @property
    def spent(self) -> bool:
        """
        Whether more is held than agreed.
        """
        return self._spent

    def join(self, holder: Holder) -> None:
        """
        A connection was made.
        """
        self._held[holder] = (0, 0)

    def leave(self, holder: Holder) -> None:
        """
        A connection was lost, and with it what it held.
        """
        self.hold(holder, 0, 0)
        del self._held[holder]
        self._queue.pop(holder, None)

    def hold(self, holder: Holder, partial: int, waiting: int) -> None:
        """
        Say what a connection holds now.

        @param partial: The bytes of a frame that is not whole yet.
        @param waiting: The bytes of whole frames whose time has not come.
        """
        before, waited = self._held[holder]
        if before == partial and waited == waiting:
            return
        self._held[holder] = (partial, waiting)
        self._total += partial + waiting - before - waited
        if holder is self._turn and partial < before:
            self._next_turn()  # its frame is whole
        if self._spent != (self._total > (self._limit // 2 if self._spent else self._limit)):
            self._spent = not self._spent
            self._queue.clear()
            if not self._spent and self._turn is not None:
                self._next_turn()
            for each in list(self._held):
                each.memory_changed()

    def may_read(self, holder: Holder) -> bool:
        """
        Whether a connection may read on; if not, C{memory_changed} tells when
        to ask again.
        """
        if not self._spent:
            return True
        share = max(LEAST_SHARE, self._limit // len(self._held))
        partial, waiting = self._held[holder]
        if partial + waiting < share or holder is self._turn:
            return True
        if waiting:
            return False  # it asks again as these are served
        if self._turn is None:
            self._begin_turn(holder)
            return True
        self._queue[holder] = None
        return False

    def read_size(self, holder: Holder) -> int:
        """
        How many bytes a connection may read at once: when the limit is spent,
        all together no more than a quarter of it.
        """
        if not self._spent or holder is self._turn:
            return READ
        return min(READ, max(LEAST_READ, self._limit // (4 * len(self._held))))

    def _begin_turn(self, holder: Holder) -> None:
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
