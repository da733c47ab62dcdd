"""
Answers on their way out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

PORTION = 128 * 1024
"""What a transport is given at a time, in bytes, and how far small pieces are joined."""

SEND = 1 << 20
"""What the kernel is offered at a time. It is Twisted's limit, too: its own 128
KiB make a fetch of 1 MiB eight calls."""


@implementer(IPullProducer)
class Outbox:
    """
    Sends what the kernel has room for at once, and keeps the rest.

    Twisted's transports write when the reactor comes round to them, which costs
    a small answer as much as all else that is done for it; and they copy what
    they are given. So a transport is given something only when the kernel is
    full, to hear when it is not: a portion of what is left. What is kept here is
    not copied: it may be records that a cache holds anyway.

    @ivar full: Whether something waits for room.
    """

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        """
        @param transport: Takes bytes, and pulls more from a producer.
        @param drained: Called when there is room again.
        """
        self._transport = transport
        self._drained = drained
        self._unsent: deque[bytes | memoryview] = deque()
        self.full = False
        # Of the class: TLS's transport passes the name on to the one below,
        # around its encryption.
        self._at_once = hasattr(type(transport), "writeSomeData")
        transport.SEND_LIMIT = SEND

    def send(self, pieces: Sequence[bytes]) -> None:
        """
        Send these after all that was sent before.
        """
        self._unsent.extend(pieces)
        if self.full:
            return
        if self._at_once:
            self._send_at_once()
        else:
            self._transport.write(bytes(self._portion(PORTION)))
        if self._unsent:
            self.full = True
            self._transport.registerProducer(self, False)

    def close(self) -> None:
        """
        Close the connection when all is sent: a transport that has a producer
        waits for it.
        """
        self._transport.loseConnection()

    def resumeProducing(self) -> None:
        """
        The transport has sent what it had.
        """
        if self._at_once:
            self._send_at_once()
        if self._unsent:
            self._transport.write(bytes(self._portion(PORTION)))
        else:
            self.full = False
            self._transport.unregisterProducer()
            self._drained()

    def stopProducing(self) -> None:
        """
        The connection is lost.
        """
        self._unsent.clear()

    def _send_at_once(self) -> None:
        sent = size = 0
        while self._unsent and sent == size:
            portion = self._portion(SEND)
            size = len(portion)
            sent = self._transport.writeSomeData(portion)
            if not isinstance(sent, int):
                sent = 0  # The connection is lost: the transport will find out.
            if sent < size:
                self._unsent.appendleft(memoryview(portion)[sent:])

    def _portion(self, most: int) -> bytes | memoryview:
        """
        What is next, up to C{most} bytes: small pieces together, or a large
        one, or the beginning of one, alone.
        """
        unsent = self._unsent
        first = unsent.popleft()
        size = len(first)
        if size > most:
            unsent.appendleft(memoryview(first)[most:])
            return memoryview(first)[:most]
        if not unsent or size + len(unsent[0]) > PORTION:
            return first
        portion = [first]
        while unsent and size + len(unsent[0]) <= PORTION:
            portion.append(unsent.popleft())
            size += len(portion[-1])
        return b"".join(portion)
