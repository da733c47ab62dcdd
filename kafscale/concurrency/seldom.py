"""
Which of many like events are worth a line of the log.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

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

        @param source: For example the address of a client. All IPv6 addresses of a /64 are
            one source: whoever has one of them has all.
        @return: None if the event does not pass; otherwise how many events of
            this source did not pass since the last one that did.
        """
        source = _owner_of(source)
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


def _owner_of(source: str) -> str:
    try:
        address = IPv6Address(source)
    except ValueError:
        return source
    return source if address.ipv4_mapped else f"{int(address) >> 64:x}::/64"
