"""
Timers that need not be exact, and are cheap when there are many.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

Call: TypeAlias = Callable[[], None]

TICK = 0.025
"""Seconds in one tick."""


class CoarseTimers:
    """
    Delayed calls, of which all that are due in the same tick are made together
    at its end: never early, and up to one tick late.

    Hundreds of consumers whose long polls end one by one would wake the process
    twice each: for the answer and for the next request. If their polls end
    together, their next requests come together, too.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, tick: float = TICK) -> None:
        """
        @param tick: Seconds in one tick.
        """
        self._clock = clock
        self._tick = tick
        self._ticks: dict[int, tuple[IDelayedCall, dict[Call, None]]] = {}

    def call_later(self, seconds: float, call: Call) -> int:
        """
        Make a call after so many seconds, and less than a tick more. An
        exception that it raises is logged, and does not hold up the others.

        @return: The number of the tick, for L{cancel}.
        """
        now = self._clock.seconds()
        number = math.ceil((now + seconds) / self._tick)
        tick = self._ticks.get(number)
        if tick is None:
            wait = max(0.0, number * self._tick - now)
            tick = self._ticks[number] = self._clock.callLater(wait, self._over, number), {}
        tick[1][call] = None
        return number

    def cancel(self, number: int, call: Call) -> None:
        """
        Cancel a call that was not made yet.

        @param number: What L{call_later} returned for it.
        @raise KeyError: the call was made or cancelled already.
        """
        timer, calls = self._ticks[number]
        del calls[call]
        if not calls and timer.active():
            timer.cancel()
            del self._ticks[number]

    def _over(self, number: int) -> None:
        _, calls = self._ticks[number]
        while calls:  # a call may cancel another, or add one
            call = next(iter(calls))
            del calls[call]
            try:
                call()
            except Exception:
                self._log.failure("a call of a tick failed")
        del self._ticks[number]
