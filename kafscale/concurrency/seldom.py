"""
Which of many like events are worth a line of the log.
"""

from __future__ import annotations

from collections.abc import Callable

MOST_SOURCES = 1000
"""The number of sources that are remembered."""


class Seldom:
    """
    Lets one event of each source pass, and then one in so many seconds.
    """

    def __init__(self, seconds: Callable[[], float], interval: float) -> None:
        """
        @param seconds: The clock.
        @param interval: Seconds between two events of a source that pass.
        """
        self._seconds = seconds
        self._interval = interval
        self._passed: dict[str, float] = {}  # when one last passed, the oldest first
        self._held_back: dict[str, int] = {}  # events since then

    def passes(self, source: str) -> int | None:
        """
        Note an event of a source.

        @return: None if the event does not pass; otherwise how many events of
            this source did not pass since the last one that did.
        """
        now = self._seconds()
        last = self._passed.get(source)
        if last is not None and now - last < self._interval:
            self._held_back[source] = self._held_back.get(source, 0) + 1
            return None
        self._passed.pop(source, None)
        self._passed[source] = now
        if len(self._passed) > MOST_SOURCES:
            oldest = next(iter(self._passed))
            del self._passed[oldest]
            self._held_back.pop(oldest, None)
        return self._held_back.pop(source, 0)
