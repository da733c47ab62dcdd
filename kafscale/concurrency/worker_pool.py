"""
Work that is done a few pieces at a time, for as long as there is any.

The owner of a pool knows what is to be done next, and in which order; the pool
knows how much of it may be under way at once. Everything runs on the reactor's
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger


class WorkerPool:
    """
    Takes one piece of work after the other, and has at most C{limit} of them
    under way at once.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        limit: int,
        take: Callable[[], Coroutine[Any, Any, object] | None],
    ) -> None:
        """
        @param limit: How many pieces of work may be under way at once.
        @param take: Returns the next piece of work, or None if there is none
            now. The pool starts it before it takes another one. The work deals
            with its own errors: what it raises is logged with its traceback,
            and the pool goes on.
        """
        self._clock = clock
        self._limit = limit
        self._take = take
        self._under_way = 0
        self._filling = False
        self._resuming: IDelayedCall | None = None
        self._idle: list[Deferred[None]] = []  # fire when nothing is under way
        self._stopped = False

    @property
    def under_way(self) -> int:
        """
        How many pieces of work are under way.
        """
        return self._under_way

    @property
    def paused(self) -> bool:
        """
        Whether the pool waits for the end of a L{pause}.
        """
        return self._resuming is not None

    @property
    def stopped(self) -> bool:
        """
        Whether the pool takes no more work, for good.
        """
        return self._stopped

    def fill(self) -> None:
        """
        Take work until C{limit} pieces are under way or there is no more.
        Called when there may be more of it; the pool itself calls it whenever
        a piece ends.
        """
        if self._filling:
            return  # called by work that is just being started: the loop below goes on
        self._filling = True
        try:
            while self._has_room() and (work := self._take()) is not None:
                self._under_way += 1
                Deferred.fromCoroutine(self._do(work))
        finally:
            self._filling = False

    def _has_room(self) -> bool:
        return self._under_way < self._limit and not self.paused and not self._stopped

    async def _do(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception:
            self._log.failure("background work failed, and is not repeated")
        self._under_way -= 1
        self.fill()
        if not self._under_way:
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)

    def pause(self, seconds: float) -> None:
        """
        Take no work for so long. What is under way goes on. A pool that is
        paused already resumes when it would have.
        """
        if not self.paused and not self._stopped:
            self._resuming = self._clock.callLater(seconds, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self.fill()

    def abandon(self) -> None:
        """
        Take no more work. What is under way goes on, and is not waited for.
        """
        self._stopped = True
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None

    async def stop(self) -> None:
        """
        Take no more work, and return when nothing is under way.
        """
        self.abandon()
        if self._under_way:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
