"""
A bound on the bytes that are read from the object store at one time.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, succeed


class Budget:
    """
    Bytes that may be under way together. Who comes when they are spent waits
    for its turn; nobody is overtaken, so nobody waits for ever.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = limit
        self._waiting: deque[tuple[int, Deferred[int]]] = deque()

    def take(self, size: int) -> Deferred[int]:
        """
        Fires when C{size} bytes are free, or all, where the limit is less. The
        result is what was taken, and is to be given back.
        """
        size = min(size, self._limit)
        if size <= self._free and not self._waiting:
            self._free -= size
            return succeed(size)
        turn: Deferred[int] = Deferred(self._leave)
        self._waiting.append((size, turn))
        return turn

    def give(self, size: int) -> None:
        """
        Give back what L{take} gave.
        """
        self._free += size
        self._serve()

    def _leave(self, cancelled: Deferred[int]) -> None:
        self._waiting = deque(each for each in self._waiting if each[1] is not cancelled)
        self._serve()  # it may have been the one that all others waited behind

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, turn = self._waiting.popleft()
            self._free -= size
            turn.callback(size)
