"""
Long work between which everybody else gets their turn.

A thread would not do: while two want the interpreter, each time the reactor
has let go of it, for a system call, it waits for milliseconds. So the work is
cut into short turns on the reactor's thread; what takes long without the
interpreter, to compress say, is done in another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kafscale.wire.message_sets import Steps

T = TypeVar("T")

#: How long a turn lasts, in seconds.
TURN = 0.002


class Turns:
    """
    Does one piece of work at a time, in the order in which they come: so the
    memory that it takes is bounded, and who comes first is done first.
    """

    def __init__(
        self,
        clock: IReactorTime,
        run_blocking: Callable[[Callable[[], Any]], Deferred[Any]],
    ) -> None:
        """
        @param run_blocking: Calls a function where it may take long.
        """
        self._clock = clock
        self._run_blocking = run_blocking
        self._waiting: deque[tuple[Steps[Any], Deferred[Any]]] = deque()

    def run(self, work: Steps[T]) -> Deferred[T]:
        """
        Fires with the result. If nothing else is under way the first turn is
        now, and short work is done when this returns. What is cancelled is not
        begun, or not gone on with.
        """
        done: Deferred[T] = Deferred()
        self._waiting.append((work, done))
        if len(self._waiting) == 1:
            self._turn()
        return done

    def _turn(self, sent: object = None) -> None:
        """
        @param sent: What a step has wanted, or how that failed.
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
