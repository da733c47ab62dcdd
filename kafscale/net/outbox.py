"""
Sending responses.

Twisted's transports write in a later turn of the reactor, which costs a small
response as much as everything else that is done for it, and they copy the data.
So responses are passed to the kernel at once where the transport is a plain
socket (L{KernelOutbox}); TLS needs Twisted's buffering (L{TransportOutbox}).
Data that the kernel or the transport has no room for is kept here without a
copy: it may be records that a cache holds anyway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

PORTION = 128 * 1024
"""Bytes per write to a transport; also the size up to which small pieces are joined."""

SEND = 1 << 20
"""Bytes per call of the kernel, also set as Twisted's limit: its default of 128
KiB would make eight calls of a fetch of 1 MiB."""


@implementer(IPullProducer)
class KernelOutbox:
    """
    For a transport whose C{writeSomeData} passes data to the kernel.

    Only when the kernel's buffer is full does the transport itself get data, one
    portion at a time, so that it reports when there is room again.

    @ivar full: Whether data waits for room.
    """

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        """
        @param transport: The connection's.
        @param drained: Called when there is room again.
        """
        self._transport = transport
        self._drained = drained
        self._unsent: deque[bytes | memoryview] = deque()
        self.full = False
        transport.SEND_LIMIT = SEND

    def send(self, pieces: Sequence[bytes]) -> None:
        """
        Send these bytes, in order, after all earlier ones.
        """
        self._unsent.extend(pieces)
        if not self.full:
            self._send_at_once()
            if self._unsent:
                self.full = True
                self._transport.registerProducer(self, False)

    def close(self) -> None:
        """
        Close the connection when everything is sent: the transport waits for
        its producer.
        """
        self._transport.loseConnection()

    def resumeProducing(self) -> None:
        """
        The transport has sent its portion: send on.
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
        The connection is lost: drop unsent data.
        """
        self._unsent.clear()

    def _send_at_once(self) -> None:
        sent = size = 0
        while self._unsent and sent == size:
            portion = _portion(self._unsent, SEND)
            size = len(portion)
            sent = self._transport.writeSomeData(portion)
            if not isinstance(sent, int):
                sent = 0  # The connection is lost; the transport will report it.
            if sent < size:
                self._unsent.appendleft(memoryview(portion)[sent:])


@implementer(IPushProducer)
class TransportOutbox:
    """
    For any other transport: it gets data while it asks for more.

    @ivar full: Whether the transport has no room.
    """

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        """
        @param transport: The connection's.
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
        See L{KernelOutbox.close}. Unsent data is passed on first: a transport in
        between, as TLS, may lose the end if its producer unregisters last. TLS is
        closed when the client has said so, too, and that has to be read.
        """
        self._transport.unregisterProducer()
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._transport.resumeProducing()
        self._transport.loseConnection()

    def pauseProducing(self) -> None:
        """
        The transport has no room for more.
        """
        self.full = True

    def resumeProducing(self) -> None:
        """
        The transport has room again: send on.
        """
        self.full = False
        self._send_on()
        self._drained()

    def stopProducing(self) -> None:
        """
        The connection is lost: drop unsent data.
        """
        self._unsent.clear()

    def _send_on(self) -> None:
        while self._unsent and not self.full:
            self._transport.write(bytes(_portion(self._unsent, PORTION)))


Outbox: TypeAlias = KernelOutbox | TransportOutbox


def outbox_of(transport: Any, drained: Callable[[], None]) -> Outbox:
    """
    The outbox that fits the transport.

    @param drained: See L{KernelOutbox.__init__}.
    """
    # Looked up on the class: TLS's transport delegates the attribute to the
    # transport below, which would bypass the encryption.
    direct = hasattr(type(transport), "writeSomeData")
    return (KernelOutbox if direct else TransportOutbox)(transport, drained)


def _portion(unsent: deque[bytes | memoryview], most: int) -> bytes | memoryview:
    """
    Take the next data, up to C{most} bytes: small pieces joined, or a large
    piece, or the beginning of one, alone.
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
