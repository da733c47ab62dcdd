"""
A background task that is asked for often and runs once at a time.

A chore is in one of four states::

    =======  =============================  ===================================
    State    A kick                         Left when
    =======  =============================  ===================================
    idle     starts a run, before it        it is kicked
             returns
    running  has the chore run once more    the run ends: to idle, or, after a
             after this run, however many   kick, to a new run; or the run
             kicks there are                fails and is to be retried: to
                                            waiting
    waiting  changes nothing: the retry     the seconds before the retry are
             serves it                      over: to running
    stopped  changes nothing                never
    =======  =============================  ===================================

So a run that begins after a kick sees everything that was there at the kick,
and a store that fails is not asked more often because there is more to do.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from kafscale.concurrency.worker_pool import WorkerPool


class Chore:
    """
    Runs a coroutine function when it is kicked, and at an interval if it has
    one.
    """

    def __init__(
        self,
        clock: IReactorTime,
        work: Callable[[], Coroutine[Any, Any, object]],
        failed: Callable[[Failure], float | None],
        interval: float | None = None,
    ) -> None:
        """
        @param work: One run. What it does before its first C{await} is done
            before L{kick} returns, if the chore was idle.
        @param failed: Called with the failure of a run, to log it. Returns
            after how many seconds the chore is run again; None if it is not
            retried, but runs when it is kicked or its interval is over. Not
            called when the chore is stopped.
        @param interval: Seconds from the end of a run to the next one, from
            L{start} on.
        """
        self._clock = clock
        self._work = work
        self._failed = failed
        self._interval = interval
        self._wanted = False  # kicked since the last run began
        self._kick_due: IDelayedCall | None = None
        self._sleeping: Deferred[None] | None = None
        self._pool = WorkerPool(clock, 1, self._take)

    @property
    def running(self) -> bool:
        """
        Whether a run is under way.
        """
        return self._pool.under_way > 0

    @property
    def stopped(self) -> bool:
        """
        Whether the chore starts no more runs. A long run looks at it between
        its steps, and ends early.
        """
        return self._pool.stopped

    # -- being run --------------------------------------------------------------

    def start(self) -> None:
        """
        Run when the interval is over, and from then on at each interval.
        Called again, it changes nothing.
        """
        assert self._interval is not None
        if self._kick_due is None and not self.running:
            self.kick_after(self._interval)

    def kick(self) -> None:
        """
        Run now: see the table at the head of this module.
        """
        self._wanted = True
        self._pool.fill()

    def kick_after(self, seconds: float) -> None:
        """
        Kick in so many seconds, or earlier if an earlier kick is due already.
        A run that begins before then takes the place of this kick.
        """
        if self.stopped:
            return
        if self._kick_due is not None:
            if self._kick_due.getTime() <= self._clock.seconds() + seconds:
                return
            self._kick_due.cancel()
        self._kick_due = self._clock.callLater(seconds, self._kick_now)

    def _kick_now(self) -> None:
        self._kick_due = None
        self.kick()

    def _cancel_kick(self) -> None:
        if self._kick_due is not None:
            self._kick_due.cancel()
            self._kick_due = None

    def _take(self) -> Coroutine[Any, Any, object] | None:
        if not self._wanted:
            return None
        self._wanted = False
        self._cancel_kick()
        return self._run()

    async def _run(self) -> None:
        await Deferred.fromCoroutine(self._work()).addErrback(self._retry_later)
        if self._interval is not None:
            self.kick_after(self._interval)

    def _retry_later(self, failure: Failure) -> None:
        if self.stopped:
            return
        seconds = self._failed(failure)
        if seconds is not None:
            self._wanted = True
            self._pool.pause(seconds)

    # -- within a run -----------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """
        Wait within a run; return at once when the chore is stopped.
        """
        if self.stopped:
            return
        self._sleeping = deferLater(self._clock, seconds)
        with suppress(CancelledError):
            await self._sleeping
        self._sleeping = None

    # -- ending -----------------------------------------------------------------

    def abandon(self) -> None:
        """
        Start no more runs. A run that is under way goes on, and is not waited
        for; what it raises is dropped. May be called by the run itself.
        """
        self._pool.abandon()
        self._cancel_kick()
        if self._sleeping is not None:
            self._sleeping.cancel()

    async def stop(self) -> None:
        """
        Start no more runs, and return when none is under way.
        """
        self.abandon()
        await self._pool.stop()
