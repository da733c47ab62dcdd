"""
Measures the turns of the reactor.

All connections wait while one turn lasts. So work that may be long is done in pieces, or
in threads, and a turn should take a few milliseconds of CPU time at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafscale.counts import LONG_TURN, TurnCounts


def count_turns(reactor: Any, thread_time: Callable[[], float], counts: TurnCounts) -> None:
    """
    Count each turn from now on: the delayed calls that are due, and then the connections
    that have something to read or write. Waiting takes no CPU time, so what passes from the
    end of one iteration to the end of the next is the turn. Must be called in the
    reactor's thread.

    @param reactor: Twisted's, whose main loop calls C{doIteration} in each turn. Twisted
        has no other hook there.
    @param thread_time: The CPU time of this thread, in seconds.
    """
    iterate = reactor.doIteration
    ended = thread_time()

    def iterate_and_count(delay: float | None) -> None:
        nonlocal ended
        iterate(delay)
        now = thread_time()
        took = now - ended
        ended = now
        if took > counts.longest:
            counts.longest = took
        if took > LONG_TURN:
            counts.long += 1

    reactor.doIteration = iterate_and_count
