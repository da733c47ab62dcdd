"""
Giving up the wait for appends that are not durable in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from kafscale.interfaces import ISettlement, Settling

S = TypeVar("S", bound=Settling)

CHECK_SECONDS = 0.5
"""Seconds between two looks at what waits: a request may wait so much longer than it
asks for."""


class Overdue(Generic[S]):
    """
    Finds out which requests have waited for too long. One timer serves all, and runs
    only while any waits, and those that wait for one settlement are let go together: a
    timer or a Deferred for each would cost as much as the rest of a small request.
    """

    def __init__(self, clock: IReactorTime, give_up: Callable[[S], None]) -> None:
        """
        @param clock: The time, in seconds since 1970.
        @param give_up: Called with a request that has waited for too long.
        """
        self._clock = clock
        self._give_up = give_up
        self._waiting: dict[ISettlement, list[tuple[float, S]]] = {}
        self._check: IDelayedCall | None = None

    def add(self, request: S, until: float) -> None:
        """
        Let a request wait until its settlement fires.

        @param until: When it is given up, in seconds since 1970.
        """
        settlement = request.settlement
        together = self._waiting.get(settlement)
        if together is not None:
            together.append((until, request))
            return
        self._waiting[settlement] = [(until, request)]
        if self._check is None:
            self._check = self._clock.callLater(CHECK_SECONDS, self._look)
        settlement.wait().addBoth(self._fired, settlement)

    def _fired(self, _: object, settlement: ISettlement) -> None:
        self._waiting.pop(settlement, None)
        self._stop_if_idle()

    def _stop_if_idle(self) -> None:
        if not self._waiting and self._check is not None:
            self._check.cancel()
            self._check = None

    def _look(self) -> None:
        self._check = self._clock.callLater(CHECK_SECONDS, self._look)
        now = self._clock.seconds()
        late = []
        for settlement, together in list(self._waiting.items()):
            waiting = [each for each in together if each[0] > now]
            if len(waiting) < len(together):
                late += [request for until, request in together if until <= now]
            if waiting:
                self._waiting[settlement] = waiting
            else:
                del self._waiting[settlement]
        for request in late:
            self._give_up(request)
        self._stop_if_idle()
