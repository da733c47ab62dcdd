"""
Answers on their way out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

PORTION = 256 * 1024
"""What a transport is given at a time, in bytes, if it is not one large piece."""

SEND = 1 << 20
"""How much of it goes to the kernel in one call. Twisted's own 128 KiB make a
fetch of 1 MiB eight turns of the reactor."""


@implementer(IPushProducer)
class Outbox:
    """
    Gives a transport as much as it has room for, and keeps the rest.

    A transport copies what it is given. What is kept here is not copied: it
    may be records that a cache holds anyway.

    @ivar full: Whether the transport has no room.
    """

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        """
        @param transport: Takes bytes, and tells a producer when it is full.
        @param drained: Called when there is room again.
        """
        self._transport = transport
        self._drained = drained
        self._unsent: deque[bytes] = deque()
        self.full = False
        transport.SEND_LIMIT = SEND
        transport.registerProducer(self, True)

    def send(self, pieces: Sequence[bytes]) -> None:
        """
        Send these after all that was sent before.
        """
        self._unsent.extend(pieces)
        self._send_on()

    def close(self) -> None:
        """
        Close the connection when all is sent.
        """
        # A transport that has a producer waits for it before it closes.
        self._transport.unregisterProducer()
        if self._unsent:
            self._transport.writeSequence(list(self._unsent))
            self._unsent.clear()
        self._transport.loseConnection()

    def pauseProducing(self) -> None:
        """
        The transport has no room for more.
        """
        self.full = True

    def resumeProducing(self) -> None:
        """
        The transport has sent what it had.
        """
        self.full = False
        self._send_on()
        self._drained()

    def stopProducing(self) -> None:
        """
        The connection is lost.
        """
        self._unsent.clear()

    def _send_on(self) -> None:
        unsent = self._unsent
        while unsent and not self.full:
            portion = [unsent.popleft()]
            size = len(portion[0])
            while unsent and size < PORTION:
                size += len(unsent[0])
                portion.append(unsent.popleft())
            self._transport.writeSequence(portion)
