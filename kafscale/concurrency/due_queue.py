"""
Items that become due, each at its own time, with one timer for all of them.

Items that are not due cost no CPU, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")

LONGEST = 60.0
"""Seconds that the timer waits at most: the time may be set meanwhile."""

STALE = 1000
"""How many entries of the heap may be out of date, beyond one for each item."""


class DueQueue(Generic[T]):
    """
    A set of items, each with the one time at which it is due.
    """

    def __init__(
        self, clock: IReactorTime, now: Callable[[], float], reached: Callable[[T], None]
    ) -> None:
        """
        @param clock: For the timer.
        @param now: The time by which items become due, in seconds. It may be
            set, as the time of day is.
        @param reached: Called with each item that is due, after it has left
            the queue. Never called by L{put}.
        """
        self._clock = clock
        self._now = now
        self._reached = reached
        self._due: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []  # some may be out of date
        self._numbers = count()
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def __contains__(self, item: T) -> bool:
        return item in self._due

    def put(self, item: T, due: float) -> None:
        """
        Add the item, or change the time at which it is due.

        @param due: In seconds, as C{now} counts them.
        """
        if self._stopped or self._due.get(item) == due:
            return
        self._due[item] = due
        heappush(self._heap, (due, next(self._numbers), item))
        self._tidy()
        self._set_timer()

    def sooner(self, item: T, due: float) -> None:
        """
        Add the item, or make it due earlier; an earlier time stays.
        """
        if item not in self._due or due < self._due[item]:
            self.put(item, due)

    def remove(self, item: T) -> None:
        """
        Remove the item, if it is there.
        """
        self._due.pop(item, None)
        self._tidy()

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._due) + STALE:
            self._heap = [(due, next(self._numbers), each) for each, due in self._due.items()]
            heapify(self._heap)

    def stop(self) -> None:
        """
        Remove all items, and take no more.
        """
        self._stopped = True
        self._due.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if not self._heap:
            return
        delay = min(max(0.0, self._heap[0][0] - self._now()), LONGEST)
        if self._timer is not None:
            if self._timer.getTime() <= self._clock.seconds() + delay:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(delay, self._time_up)

    def _time_up(self) -> None:
        self._timer = None
        now = self._now()
        # Items that are added while others are reached wait for the next timer.
        reached = []
        while self._heap and self._heap[0][0] <= now:
            due, _, item = heappop(self._heap)
            if self._due.get(item) == due:
                del self._due[item]
                reached.append(item)
        for item in reached:
            self._reached(item)
        self._set_timer()
