"""
The time of a simulation, and the clocks of its brokers.

Only calls in the L{Schedule} happen, in the order of their times; calls with
the same time happen in the order in which they were added.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

BEGIN = 1_700_000_000.0
"""When every simulation begins, in seconds since 1970."""


TOLERANCE = 1e-5
"""Seconds that are lost where clocks with different rates are converted."""


class Timer(Protocol):
    """
    A clock to which delayed calls belong.
    """

    def seconds(self) -> float:
        """
        Return the time of this clock.
        """

    def put(self, call: Call) -> None:
        """
        Run the call at its time, which may have changed.
        """


@implementer(IDelayedCall)
class Call:
    """
    A delayed call.
    """

    __slots__ = ("_arguments", "_done", "_function", "_named", "_timer", "time")

    def __init__(
        self,
        time: float,
        timer: Timer,
        function: Callable[..., Any],
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> None:
        self.time = time
        self._timer = timer
        self._function: Callable[..., Any] | None = function
        self._arguments = arguments
        self._named = named or {}
        self._done = False

    def run(self) -> None:
        """
        Run the call: its time has come.
        """
        function, self._function, self._done = self._function, None, True
        assert function is not None
        function(*self._arguments, **self._named)

    def getTime(self) -> float:  # noqa: N802 - Twisted's name
        """
        Return the time of the call.
        """
        return self.time

    def cancel(self) -> None:
        """
        Do not do it.
        """
        self._check()
        self._function = None
        self._arguments = ()

    def reset(self, seconds: float) -> None:
        """
        Do it so many seconds from now.
        """
        self._check()
        self.time = self._timer.seconds() + seconds
        self._timer.put(self)

    def delay(self, seconds: float) -> None:
        """
        Do it so much later.
        """
        self._check()
        self.time += seconds
        self._timer.put(self)

    def active(self) -> bool:
        """
        Whether it is still to be done.
        """
        return self._function is not None

    def _check(self) -> None:
        if self._function is None:
            raise AlreadyCalled if self._done else AlreadyCancelled


class Queue:
    """
    Calls by their time.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Call]] = []
        self._number = 0

    def put(self, call: Call) -> None:
        """
        Add one.
        """
        self._number += 1
        heappush(self._heap, (call.time, self._number, call))

    def first(self) -> Call | None:
        """
        The next one, which stays.
        """
        heap = self._heap
        while heap:
            time, _, call = heap[0]
            if call.active() and call.time == time:
                return call
            heappop(heap)
        return None

    def pop(self) -> Call:
        """
        Remove and return the next call, which L{first} returns.
        """
        return heappop(self._heap)[2]

    def calls(self) -> list[Call]:
        """
        All that are to be done.
        """
        return [call for time, _, call in sorted(self._heap) if call.active()]


class Schedule:
    """
    The calls that are going to happen.

    @ivar now: Seconds since 1970.
    @ivar steps: How much has happened.
    """

    def __init__(self) -> None:
        self.now = BEGIN
        self.steps = 0
        self._queue = Queue()
        self._halted = False

    def after(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> Call:
        """
        Call a function so many seconds from now.
        """
        call = Call(self.now + max(0.0, seconds), self, function, arguments)
        self._queue.put(call)
        return call

    def seconds(self) -> float:
        """
        See L{Timer.seconds}.
        """
        return self.now

    def put(self, call: Call) -> None:
        """
        See L{Timer.put}.
        """
        self._queue.put(call)

    def sleep(self, seconds: float) -> Deferred[None]:
        """
        Fires so many seconds from now.
        """
        done: Deferred[None] = Deferred()
        self.after(seconds, _fire, done)
        return done

    def run(self, until: float) -> None:
        """
        Let everything happen up to that time.
        """
        queue = self._queue
        while not self._halted:
            call = queue.first()
            if call is None or call.time > until:
                break
            queue.pop()
            self.now = max(self.now, call.time)
            self.steps += 1
            call.run()
        if not self._halted:
            self.now = max(self.now, until)

    def halt(self) -> None:
        """
        Nothing more happens.
        """
        self._halted = True


def _fire(done: Deferred[None]) -> None:
    if not done.called:
        done.callback(None)


@implementer(IReactorTime)
class ProcessClock:
    """
    Time as one process has it: its clock may be wrong, run fast or slow, and
    jump. And it is the process's only way to be run: while that is paused,
    timers that are due and whatever is delivered wait; once it is dead nothing
    ever comes.

    @ivar rate: Seconds of its own in a true second.
    """

    def __init__(self, schedule: Schedule, rate: float = 1.0, offset: float = 0.0) -> None:
        self._schedule = schedule
        self.rate = rate
        self._since = schedule.now
        self._base = schedule.now + offset
        self._queue = Queue()
        self._armed: Call | None = None
        self._inbox: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._running = False
        self.paused = False
        self.dead = False

    # -- as the process knows it ---------------------------------------------

    def seconds(self) -> float:
        """
        Return the time of this clock, which may be wrong.
        """
        return self._base + (self._schedule.now - self._since) * self.rate

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Call:
        """
        See L{IReactorTime.callLater}.
        """
        call = Call(self.seconds() + delay, self, callable, args, kwargs)
        self.put(call)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:  # noqa: N802 - Twisted's name
        """
        See L{IReactorTime.getDelayedCalls}.
        """
        return self._queue.calls()

    def put(self, call: Call) -> None:
        """
        See L{Timer.put}.
        """
        self._queue.put(call)
        self._arm()

    # -- as the simulation knows it ------------------------------------------

    def deliver(self, function: Callable[..., Any], *arguments: Any) -> None:
        """
        Something comes from outside: now, or when the process goes on.
        """
        if self.dead:
            return
        if self.paused or self._inbox or self._running:
            self._inbox.append((function, arguments))
            self._arm()
        else:
            self._running = True
            try:
                function(*arguments)
            finally:
                self._running = False

    def pause(self) -> None:
        """
        Nothing of it runs.
        """
        self.paused = True
        self._disarm()

    def go_on(self) -> None:
        """
        It does not know that it was paused: all that is due happens now,
        timers first.
        """
        self.paused = False
        self._arm()

    def die(self) -> None:
        """
        Never run anything again.
        """
        self.dead = True
        self._disarm()
        self._inbox.clear()

    def drift(self, rate: float, jump: float = 0.0) -> None:
        """
        From now on it runs so fast, after a jump.
        """
        self._base = self.seconds() + jump
        self._since = self._schedule.now
        self.rate = rate
        self._arm()

    def _disarm(self) -> None:
        if self._armed is not None and self._armed.active():
            self._armed.cancel()
        self._armed = None

    def _arm(self) -> None:
        """
        Have it run when something is due.
        """
        if self.paused or self.dead:
            return
        if self._inbox:
            wait = 0.0
        else:
            first = self._queue.first()
            if first is None:
                self._disarm()
                return
            wait = max(0.0, (first.time - self.seconds()) / self.rate)
        at = self._schedule.now + wait
        if self._armed is not None and self._armed.active():
            if self._armed.time <= at:
                return  # it runs, finds nothing to do perhaps, and arms again
            self._armed.cancel()
        self._armed = self._schedule.after(wait, self._run)

    def _run(self) -> None:
        self._running = True
        try:
            # Calls added meanwhile wait, even if they are due: as in a reactor.
            now = self.seconds() + TOLERANCE
            due = []
            while (call := self._queue.first()) is not None and call.time <= now:
                due.append(self._queue.pop())
            for call in due:
                if self._stands():
                    self._queue.put(call)  # paused or dead in the middle: it stays
                elif call.active():
                    call.run()
            for _ in range(len(self._inbox)):
                if self._stands():
                    break
                function, arguments = self._inbox.popleft()
                function(*arguments)
        finally:
            self._running = False
            self._arm()

    def _stands(self) -> bool:
        return self.paused or self.dead
