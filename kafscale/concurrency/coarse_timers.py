"""
Timers of many that need not be exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

Call: TypeAlias = Callable[[], None]

TICK = 0.025
"""Seconds."""


class Ticks:
    """
    Calls that are due in the same tick are made together, at its end: up to a
    tick late.

    Hundreds of consumers whose long polls end one by one wake the process for
    each of them, twice: for its answer and for its next request. Those whose
    polls end together ask together, too.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, tick: float = TICK) -> None:
        """
        @param tick: In seconds.
        """
        self._clock = clock
        self._tick = tick
        self._ticks: dict[int, tuple[IDelayedCall, dict[Call, None]]] = {}

    def call_later(self, seconds: float, call: Call) -> int:
        """
        Call after so many seconds, or a little later.

        @return: The tick, for L{cancel}.
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
        Do not make a call that was not made yet.
        """
        timer, calls = self._ticks[number]
        del calls[call]
        if not calls and timer.active():
            timer.cancel()
            del self._ticks[number]

    def _over(self, number: int) -> None:
        _, calls = self._ticks[number]
        while calls:  # One call may cancel another.
            call = next(iter(calls))
            del calls[call]
            try:
                call()
            except Exception:
                self._log.failure("a call of a tick failed")
        del self._ticks[number]
