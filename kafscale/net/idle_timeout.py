"""
When a connection has been idle for too long (C{connections.max.idle.ms}).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class IdleTimeout:
    """
    Calls back once a client has been idle for a given time.

    There is one timer, which computes the remaining time when it fires:
    activity costs no more than reading the clock.
    """

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        excused: Callable[[], bool],
        idle: Callable[[], None],
    ) -> None:
        """
        @param clock: Runs the timer.
        @param seconds: The time; 0: no limit.
        @param excused: Returns whether the client waits for the broker, which
            is not idleness.
        @param idle: Called once, when the time is over.
        """
        self._clock = clock
        self._seconds = seconds
        self._excused = excused
        self._idle = idle
        self._active = clock.seconds()
        self._call: IDelayedCall | None = None
        if seconds:
            self._call = clock.callLater(seconds, self._check)

    def active(self) -> None:
        """
        The client sent a request or got a response: begin the time anew.
        """
        self._active = self._clock.seconds()

    def stop(self) -> None:
        """
        Stop the timer.
        """
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _check(self) -> None:
        now = self._clock.seconds()
        if self._excused():
            self._active = now
        rest = self._active + self._seconds - now
        if rest > 0:
            self._call = self._clock.callLater(rest, self._check)
        else:
            self._idle()
