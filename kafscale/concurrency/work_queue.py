"""
Work that is too long for one turn of the reactor.

A thread would not do. While two threads want the interpreter, the reactor
waits for milliseconds each time it has released it for a system call. So the
work is cut into short turns on the reactor's thread, and only what does not
need the interpreter, such as compression, runs in another thread.

C{twisted.internet.task.Cooperator} would run all work interleaved; here one
piece at a time is in memory, short work is done at once, and a result comes
back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kafscale.wire.steps import Steps

T = TypeVar("T")

TURN = 0.002
"""Seconds that a turn lasts."""


class WorkQueue:
    """
    Does one piece of work at a time, first come, first served. So the memory
    that the work takes is bounded.
    """

    def __init__(
        self,
        clock: IReactorTime,
        run_blocking: Callable[[Callable[[], Any]], Deferred[Any]],
    ) -> None:
        """
        @param run_blocking: Calls a function in a thread where it may block;
            fires with what it returns.
        """
        self._clock = clock
        self._run_blocking = run_blocking
        self._waiting: deque[tuple[Steps[Any], Deferred[Any]]] = deque()

    def run(self, work: Steps[T]) -> Deferred[T]:
        """
        Do this work when all earlier work is done. If there is none, the first
        turn is now, and short work is done when this returns.

        @param work: A generator that returns the result. It yields None where
            a turn may end, and a function that is to be called in a thread to
            get its result sent, or its exception thrown, in.
        @return: Fires with the result of the work, or with what it raised. To
            cancel it ends the work where it stands.
        """
        done: Deferred[T] = Deferred()
        self._waiting.append((work, done))
        if len(self._waiting) == 1:
            self._turn()
        return done

    def _turn(self, sent: object = None) -> None:
        """
        @param sent: The result of the function that the work has yielded, or
            its C{Failure}.
        """
        work, done = self._waiting[0]
        until = self._clock.seconds() + TURN
        result: object = None
        try:
            if done.called:
                work.close()  # it was cancelled
            else:
                failed = isinstance(sent, Failure)
                wanted = work.throw(sent.value) if failed else work.send(sent)  # type: ignore[attr-defined]
                while wanted is None:
                    if self._clock.seconds() >= until:
                        self._clock.callLater(0, self._turn)
                        return
                    wanted = next(work)
                self._run_blocking(wanted).addBoth(self._turn)
                return
        except StopIteration as end:
            result = end.value
        except Exception:
            result = Failure()  # type: ignore[no-untyped-call]
        self._waiting.popleft()
        if self._waiting:
            self._clock.callLater(0, self._turn)
        if not done.called:
            done.callback(result)
