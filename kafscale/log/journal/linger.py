"""
How long the first batch of a slot waits for others.

Each slot costs the object store one request, which on S3 has a price, and
producers wait for it. So there is a minimum time from one slot to the next. A
batch that arrives after a pause waits only for a moment, just long enough for
batches that were sent together with it. A batch that arrives right after a slot
waits until the interval is over. So there are at most as many requests in a
second as the interval allows, with two exceptions. A slot that is large enough
for a request of its own is sent earlier. And a producer that waits for each
answer before it sends more waits in vain for others if it is alone: for it a
wait lasts no longer than the store takes to answer.

It is alone if nothing else is under way when its batches come, and nothing came
after them, into this slot and into the one before, while they waited.
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
    @ivar alone: Whether the last slot waited in vain.
    """

    __slots__ = ("_answered", "_closed", "alone", "longest", "shortest")

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self.shortest = min(IDLE, longest)
        self.alone = False
        self._closed = float("-inf")
        self._answered = longest

    def wait(self, now: float) -> float:
        """
        Return how many seconds a slot waits whose first batch comes now.
        """
        return max(self.left(self._closed + self.longest, now), self.shortest)

    def left(self, due: float, now: float) -> float:
        """
        Return how many seconds are left. If the clock was set back, no slot waits longer
        than ever.
        """
        return min(max(due - now, 0.0), self.longest)

    def wait_alone(self, wait: float) -> float:
        """
        Return how much of a wait must be over before a slot is sent that waits in vain.
        """
        return min(wait, self._answered) if self.alone else wait

    def answered(self, seconds: float) -> None:
        """
        Note how long the store took to store a slot.
        """
        self._answered = max(seconds, 0.0)  # the clock may have been set back

    def closed(self, now: float) -> None:
        """
        Note that a slot was closed.
        """
        self._closed = now
