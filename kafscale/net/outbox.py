"""
Answers on their way out.

Twisted's transports write when the reactor comes round to them, which costs a
small answer as much as all else that is done for it; and they copy what they
are given. So answers go to the kernel at once, where nothing lies between
(`KernelOutbox`); through TLS they go as Twisted has it (`TransportOutbox`).
Either way what there is no room for is kept here, and not copied: it may be
records that a cache holds anyway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

PORTION = 128 * 1024
"""What a transport is given at a time, in bytes, and how far small pieces are joined."""

SEND = 1 << 20
"""What the kernel is offered at a time. It is Twisted's limit, too: its own 128
KiB make a fetch of 1 MiB eight calls."""


@implementer(IPullProducer)
class KernelOutbox:
    """
    For a transport whose C{writeSomeData} is the kernel's.

    The transport is given something only when the kernel is full, to hear when
    it is not: a portion of what is left.

    @ivar full: Whether something waits for room.
    """

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        """
        @param drained: Called when there is room again.
        """
        self._transport = transport
        self._drained = drained
        self._unsent: deque[bytes | memoryview] = deque()
        self.full = False
        transport.SEND_LIMIT = SEND

    def send(self, pieces: Sequence[bytes]) -> None:
        """
        Send these after all that was sent before.
        """
        self._unsent.extend(pieces)
        if not self.full:
            self._send_at_once()
            if self._unsent:
                self.full = True
                self._transport.registerProducer(self, False)

    def close(self) -> None:
        """
        Close the connection when all is sent: the transport waits for its
        producer.
        """
        self._transport.loseConnection()

    def resumeProducing(self) -> None:
        """
        The transport has sent what it had.
        """
        self._send_at_once()
        if self._unsent:
            self._transport.write(bytes(_portion(self._unsent, PORTION)))
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
            portion = _portion(self._unsent, SEND)
            size = len(portion)
            sent = self._transport.writeSomeData(portion)
            if not isinstance(sent, int):
                sent = 0  # The connection is lost: the transport will find out.
            if sent < size:
                self._unsent.appendleft(memoryview(portion)[sent:])


@implementer(IPushProducer)
class TransportOutbox:
    """
    For any other transport: it is given what it says that it has room for.

    @ivar full: Whether the transport has no room.
    """

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        """
        @param drained: Called when there is room again.
        """
        self._transport = transport
        self._drained = drained
        self._unsent: deque[bytes | memoryview] = deque()
        self.full = False
        transport.registerProducer(self, True)

    def send(self, pieces: Sequence[bytes]) -> None:
        """
        See L{KernelOutbox.send}.
        """
        self._unsent.extend(pieces)
        self._send_on()

    def close(self) -> None:
        """
        See L{KernelOutbox.close}. What is left is handed over: a transport
        between us and the kernel may lose the end if its producer goes last.
        """
        self._transport.unregisterProducer()
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._transport.loseConnection()

    def pauseProducing(self) -> None:
        """
        The transport has no room for more.
        """
        self.full = True

    def resumeProducing(self) -> None:
        """
        It has sent what it had.
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
        while self._unsent and not self.full:
            self._transport.write(bytes(_portion(self._unsent, PORTION)))


Outbox: TypeAlias = KernelOutbox | TransportOutbox


def outbox_of(transport: Any, drained: Callable[[], None]) -> Outbox:
    """
    The one that fits.
    """
    # Of the class: TLS's transport passes the name on to the one below, around
    # its encryption.
    direct = hasattr(type(transport), "writeSomeData")
    return (KernelOutbox if direct else TransportOutbox)(transport, drained)


def _portion(unsent: deque[bytes | memoryview], most: int) -> bytes | memoryview:
    """
    Take what is next, up to C{most} bytes: small pieces together, or a large
    one, or the beginning of one, alone.
    """
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
