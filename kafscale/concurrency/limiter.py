"""
A bound on how many requests are under way at once.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class RequestLimiter:
    """
    A semaphore with two queues: urgent requests that wait go before all others.

    Writes to the object store are urgent, because producers wait for the slots
    of the journal. However many reads there are, a write does not wait behind
    them.
    """

    def __init__(self, limit: int) -> None:
        """
        @param limit: How many requests may be under way at once.
        """
        self._free = limit
        self._urgent: deque[Deferred[None]] = deque()
        self._others: deque[Deferred[None]] = deque()

    def acquire(self, urgent: bool) -> Deferred[None]:
        """
        Fires when the request may be sent; L{release} is called when it has
        ended. The Deferred can be cancelled while it waits.
        """
        if self._free:
            self._free -= 1
            acquired: Deferred[None] = Deferred()
            acquired.callback(None)
            return acquired
        queue = self._urgent if urgent else self._others
        waiter: Deferred[None] = Deferred(queue.remove)
        queue.append(waiter)
        return waiter

    def release(self) -> None:
        """
        A request has ended: let the next one begin.
        """
        queue = self._urgent or self._others
        if queue:
            queue.popleft().callback(None)
        else:
            self._free += 1
