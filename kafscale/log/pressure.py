"""
The memory that records take, and when producers must wait for some of it.
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

    @ivar size: Bytes of all records in memory.
    """

    def __init__(self, settings: LogSettings, unsettled: Callable[[], int]) -> None:
        """
        @param unsettled: Returns how many bytes are on their way to the object
            store.
        """
        self._max_size = settings.held_bytes
        self._max_unsettled = settings.unsettled_bytes
        self._unsettled = unsettled
        self._held = 0
        self._waiting: list[Deferred[None]] = []
        self.size = 0

    def grew(self, size: int) -> None:
        """
        Count C{size} more bytes of records in memory; fewer if it is negative.
        """
        self.size += size
        if size < 0:
            self.relieve()

    def spent(self) -> bool:
        """
        See L{IPressure.spent}.
        """
        return (
            self.size > self._max_size
            or self._unsettled() + self._held > self._max_unsettled
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
        Let the waiting producers go on if there is room again.
        """
        if self._waiting and not self.spent():
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.called:
                    waiter.callback(None)
