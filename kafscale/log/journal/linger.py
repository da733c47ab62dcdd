"""
How long the first batch of a slot waits for others.

Each slot costs the object store one request, which on S3 has a price, and
producers wait for it. So there is a minimum time from one slot to the next. A
batch that arrives after a pause waits only for a moment, just long enough for
batches that were sent together with it. A batch that arrives right after a slot
waits until the interval is over. So there are at most as many requests in a
second as the interval allows, and only a slot that is large enough for a
request of its own is sent earlier.
"""

from __future__ import annotations

IDLE = 0.01
"""Seconds that a batch waits if no slot was sent for a while."""


class Linger:
    """
    Decides how long a slot waits, from when the one before it was closed.

    @ivar longest: Seconds from one slot to the next, unless they are full; 0 if
        slots do not wait.
    @ivar shortest: Seconds that a slot waits after a pause.
    """

    __slots__ = ("_closed", "longest", "shortest")

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self.shortest = min(IDLE, longest)
        self._closed = float("-inf")

    def wait(self, now: float) -> float:
        """
        Return how many seconds a slot waits whose first batch comes now.
        """
        left = self._closed + self.longest - now
        # If the clock was set back, no slot waits longer than ever.
        return min(max(left, self.shortest), self.longest)

    def closed(self, now: float) -> None:
        """
        Note that a slot was closed.
        """
        self._closed = now
