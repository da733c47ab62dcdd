"""
How long a client may do nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Idle:
    """
    Tells when a client did nothing for a time in which it could have.

    There is one timer, that looks when it is over how long it must wait yet:
    doing something costs no more than reading the clock.
    """

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        excused: Callable[[], bool],
        idle: Callable[[], None],
    ) -> None:
        """
        @param seconds: The time; 0 if it never ends.
        @param excused: Whether the client is waiting for the broker.
        @param idle: Called once.
        """
        self._clock = clock
        self._seconds = seconds
        self._excused = excused
        self._idle = idle
        self._active = clock.seconds()
        self._call: IDelayedCall | None = None
        if seconds:
            self._call = clock.callLater(seconds, self._look)

    def active(self) -> None:
        """
        The client did something, or was answered.
        """
        self._active = self._clock.seconds()

    def stop(self) -> None:
        """
        The client is gone.
        """
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _look(self) -> None:
        now = self._clock.seconds()
        if self._excused():
            self._active = now
        rest = self._active + self._seconds - now
        if rest > 0:
            self._call = self._clock.callLater(rest, self._look)
        else:
            self._idle()
