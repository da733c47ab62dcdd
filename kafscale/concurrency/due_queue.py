"""
What is to be looked at, and when: one timer for all of it.

Nothing is done for what is not due, however much of it there is.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")

LONGEST = 60.0
"""Seconds after which the time is looked at again: it may have been set."""

STALE = 1000
"""So many entries more than there are items may be in the heap."""


class Agenda(Generic[T]):
    """
    Items, each with the one time at which it is due.
    """

    def __init__(
        self, clock: IReactorTime, now: Callable[[], float], reached: Callable[[T], None]
    ) -> None:
        """
        @param now: The time in seconds, in which items are due.
        @param reached: Called with each item that is due; it is not on the
            agenda any more then.
        """
        self._clock = clock
        self._now = now
        self._reached = reached
        self._due: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []  # may have entries that hold no more
        self._numbers = count()
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def __contains__(self, item: T) -> bool:
        return item in self._due

    def put(self, item: T, due: float) -> None:
        """
        The item is due then, and at no other time.
        """
        if self._stopped or self._due.get(item) == due:
            return
        self._due[item] = due
        heappush(self._heap, (due, next(self._numbers), item))
        self._tidy()
        self._set_timer()

    def sooner(self, item: T, due: float) -> None:
        """
        The item is due then, unless it is due before.
        """
        if item not in self._due or due < self._due[item]:
            self.put(item, due)

    def remove(self, item: T) -> None:
        """
        The item is not due at all; it need not be there.
        """
        self._due.pop(item, None)
        self._tidy()

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._due) + STALE:
            self._heap = [(due, next(self._numbers), each) for each, due in self._due.items()]
            heapify(self._heap)

    def stop(self) -> None:
        """
        Nothing is due any more.
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
        # What is put while others are reached comes with the next timer.
        reached = []
        while self._heap and self._heap[0][0] <= now:
            due, _, item = heappop(self._heap)
            if self._due.get(item) == due:
                del self._due[item]
                reached.append(item)
        for item in reached:
            self._reached(item)
        self._set_timer()
