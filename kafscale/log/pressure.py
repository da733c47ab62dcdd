"""
How much records have in memory, and when that is too much.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from kafscale.interfaces import IPressure
from kafscale.log.settings import LogSettings


@implementer(IPressure)
class Pressure:
    """
    See L{IPressure}.

    @ivar size: Of all records in memory, in bytes.
    """

    def __init__(self, settings: LogSettings, unsettled: Callable[[], int]) -> None:
        """
        @param unsettled: How many bytes are under way to the store.
        """
        self._settings = settings
        self._unsettled = unsettled
        self._held = 0
        self._waiting: list[Deferred[None]] = []
        self.size = 0

    def grew(self, size: int) -> None:
        """
        So many bytes more are in memory (or less, below 0).
        """
        self.size += size
        if size < 0:
            self.relieve()

    def spent(self) -> bool:
        """
        See L{IPressure.spent}.
        """
        settings = self._settings
        return (
            self.size > settings.held_bytes
            or self._unsettled() + self._held > settings.unsettled_bytes
        )

    def relieved(self) -> Deferred[None]:
        """
        See L{IPressure.relieved}.
        """
        if not self.spent():
            return succeed(None)
        self._waiting.append(waiter := Deferred[None]())
        return waiter

    def hold(self, size: int) -> None:
        """
        See L{IPressure.hold}.
        """
        self._held += size
        if size < 0:
            self.relieve()

    def relieve(self) -> None:
        """
        There may be room again: whoever waited for it is told.
        """
        if self._waiting and not self.spent():
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.called:
                    waiter.callback(None)
