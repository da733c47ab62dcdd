"""
Giving up the wait for an append that is not durable in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")

CHECK_SECONDS = 0.5
"""Seconds between two looks at what waits: a request may wait so much longer than it
asks for."""


class Overdue(Generic[T]):
    """
    Finds out which requests have waited for too long. One timer serves all, and runs
    only while any waits: a timer for each would cost as much as the rest of a small
    request.
    """

    def __init__(self, clock: IReactorTime, give_up: Callable[[Deferred[Any], T], None]) -> None:
        """
        @param clock: The time, in seconds since 1970.
        @param give_up: Called with the Deferred that a request waits for, and the
            request, when it has waited for too long.
        """
        self._clock = clock
        self._give_up = give_up
        self._waiting: dict[Deferred[Any], tuple[float, T]] = {}
        self._check: IDelayedCall | None = None

    def add(self, waiter: Deferred[Any], until: float, request: T) -> None:
        """
        Let a request wait until C{waiter} fires.

        @param until: When it is given up, in seconds since 1970.
        """
        self._waiting[waiter] = until, request
        if self._check is None:
            self._check = self._clock.callLater(CHECK_SECONDS, self._look)
        waiter.addBoth(self._fired, waiter)

    def _fired(self, result: Any, waiter: Deferred[Any]) -> Any:
        self._waiting.pop(waiter, None)
        if not self._waiting and self._check is not None:
            self._check.cancel()
            self._check = None
        return result

    def _look(self) -> None:
        self._check = None
        now = self._clock.seconds()
        for waiter, (until, request) in list(self._waiting.items()):
            if until <= now and self._waiting.pop(waiter, None) is not None:
                self._give_up(waiter, request)
        if self._waiting and self._check is None:
            self._check = self._clock.callLater(CHECK_SECONDS, self._look)
