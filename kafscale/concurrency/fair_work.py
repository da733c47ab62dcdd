"""
Long work for many owners, of which each gets its turn.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from kafscale.concurrency.work_queue import TURN, WorkQueue
from kafscale.wire.steps import Steps

T = TypeVar("T")


class FairWork:
    """
    Does a few pieces of work at a time. Of those that wait, the owners' oldest
    are begun in turns, so that an owner with much work holds no other up.
    """

    def __init__(
        self,
        clock: IReactorTime,
        run_blocking: Callable[[Callable[[], Any]], Deferred[Any]],
        limit: int,
    ) -> None:
        """
        @param run_blocking: See L{WorkQueue}.
        @param limit: How many pieces of work may be under way at once.
        """
        self._clock = clock
        self._idle = [WorkQueue(clock, run_blocking) for _ in range(limit)]
        self._waiting: OrderedDict[object, deque[tuple[Steps[Any], Deferred[Any]]]] = OrderedDict()
        self._beginning = False

    def run(self, owner: object, work: Steps[T]) -> Deferred[T]:
        """
        Do this work after all earlier work of its owner has begun. If there is
        room and no other work waits, short work is done when this returns.

        @param work: See L{WorkQueue.run}.
        @return: Fires with the result of the work, or with what it raised.
        """
        done: Deferred[T] = Deferred()
        self._waiting.setdefault(owner, deque()).append((work, done))
        self._begin()
        return done

    def _begin(self) -> None:
        if not self._beginning:  # else it goes on below, or in the next turn
            self._beginning = True
            self._begin_some()

    def _begin_some(self) -> None:
        """
        Begin what there is room for, for as long as a turn lasts.
        """
        until = self._clock.seconds() + TURN
        while self._idle and self._waiting:
            if self._clock.seconds() >= until:
                self._clock.callLater(0, self._begin_some)
                return
            owner, queue = self._waiting.popitem(last=False)
            work, done = queue.popleft()
            if queue:
                self._waiting[owner] = queue  # as the last
            worker = self._idle.pop()
            worker.run(work).addBoth(self._ended, worker, done)
        self._beginning = False

    def _ended(self, result: Any, worker: WorkQueue, done: Deferred[Any]) -> None:
        self._idle.append(worker)
        self._begin()
        done.callback(result)
