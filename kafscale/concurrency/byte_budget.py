"""
A bound on the bytes that are in memory at one time.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, succeed


class ByteBudget:
    """
    A semaphore that counts bytes. First come, first served: a small request
    does not overtake a large one, so every request gets its bytes.
    """

    def __init__(self, limit: int) -> None:
        """
        @param limit: In bytes.
        """
        self._limit = limit
        self._free = limit
        self._waiting: deque[tuple[int, Deferred[int]]] = deque()

    def acquire(self, size: int) -> Deferred[int]:
        """
        Fires when C{size} bytes are free, with that number; if the limit is
        less, when all are free, with the limit. The number is to be given back
        to L{release}. The Deferred can be cancelled while it waits.
        """
        size = min(size, self._limit)
        if size <= self._free and not self._waiting:
            self._free -= size
            return succeed(size)
        waiter: Deferred[int] = Deferred(self._leave)
        self._waiting.append((size, waiter))
        return waiter

    def release(self, size: int) -> None:
        """
        Give back as many bytes as L{acquire} gave.
        """
        self._free += size
        self._serve()

    def _leave(self, cancelled: Deferred[int]) -> None:
        self._waiting = deque(each for each in self._waiting if each[1] is not cancelled)
        self._serve()  # all others may have waited behind this one

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, waiter = self._waiting.popleft()
            self._free -= size
            waiter.callback(size)
