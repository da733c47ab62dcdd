"""
How long the first batch of a slot waits for company.

Each slot costs the object store one request, which on S3 has a price, and
producers wait with it. So the time between two slots is what is kept: who
comes when nothing was sent for a while waits for a moment only, just long
enough for those who came together with him; who comes right behind a slot
waits until its time is over. Then there are at most so many requests a second
as the interval allows, and only a full slot, which is worth its price, goes
before its time.
"""

from __future__ import annotations

IDLE = 0.01
"""Seconds that it waits when no slot was sent for a while."""


class Linger:
    """
    Says how long a slot waits, by when the one before it was closed.

    @ivar longest: Seconds from one slot to the next, unless they are full. 0:
        none ever waits.
    """

    __slots__ = ("_closed", "longest", "shortest")

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self.shortest = min(IDLE, longest)
        self._closed = float("-inf")

    def wait(self, now: float) -> float:
        """
        Seconds that a slot waits whose first batch comes now.
        """
        left = self._closed + self.longest - now
        # A clock that was set back makes nobody wait for longer than ever.
        return min(max(left, self.shortest), self.longest)

    def closed(self, now: float) -> None:
        """
        A slot was closed.
        """
        self._closed = now
