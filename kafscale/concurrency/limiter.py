"""
How many requests are under way at once.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Lanes:
    """
    So many may pass together; of those that wait, the urgent go first.

    Writers are urgent: clients wait for a slot of the journal, and however
    many readers there are, they must not wait behind them all.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._urgent: deque[Deferred[None]] = deque()
        self._others: deque[Deferred[None]] = deque()

    def enter(self, urgent: bool) -> Deferred[None]:
        """
        Fires when the caller may pass; it calls L{leave} afterwards. Until
        then it can be cancelled.
        """
        if self._free:
            self._free -= 1
            passed: Deferred[None] = Deferred()
            passed.callback(None)
            return passed
        queue = self._urgent if urgent else self._others
        waiter: Deferred[None] = Deferred(queue.remove)
        queue.append(waiter)
        return waiter

    def leave(self) -> None:
        """
        Let the next one pass.
        """
        queue = self._urgent or self._others
        if queue:
            queue.popleft().callback(None)
        else:
            self._free += 1
