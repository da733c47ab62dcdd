"""
Tests of `kafscale.net.outbox`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor  # noqa: TID251 - a real connection
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kafscale.net.outbox import PORTION, SEND, Outbox, TransportOutbox, outbox_of
from tests.harness.certificates import self_signed
from tests.net.fakes import Transport


class OutboxTests(SynchronousTestCase):
    """
    What the kernel has no room for is kept.
    """

    def setUp(self) -> None:
        """
        An outbox that counts how often it is drained.
        """
        self.transport = Transport()
        self.drained = 0
        self.outbox = outbox_of(self.transport, self.count)

    def count(self) -> None:
        """
        There is room again.
        """
        self.drained += 1

    def test_small(self) -> None:
        """
        What is small is sent at once.
        """
        self.outbox.send([b"ab", b"c"])
        self.assertEqual(self.transport.value(), b"abc")
        self.assertFalse(self.outbox.full)
        self.assertIsNone(self.transport.producer)

    def test_large(self) -> None:
        """
        What the kernel does not take goes when it has room, in order; the
        transport is given only what makes it tell of that.
        """
        pieces = [bytes([number]) * (PORTION // 2) for number in range(9)]
        pieces.append(b"x" * (SEND + 5))
        self.transport.room = PORTION + 7
        self.outbox.send(pieces)
        self.outbox.send([b"end"])
        self.assertTrue(self.outbox.full)
        self.assertEqual(len(self.transport.value()), PORTION + 7)
        self.transport.drain(3 * PORTION)
        self.assertEqual(len(self.transport.value()), 4 * PORTION + 7)
        self.assertTrue(self.outbox.full)
        self.assertEqual(self.drained, 0)
        self.transport.drain()
        self.assertEqual(self.transport.value(), b"".join(pieces) + b"end")
        self.assertFalse(self.outbox.full)
        self.assertEqual(self.drained, 1)
        self.assertIsNone(self.transport.producer)

    def test_close(self) -> None:
        """
        To close is to lose the connection when all is sent: a producer is
        waited for.
        """
        self.transport.room = 0
        self.outbox.send([bytes(3 * PORTION), b"end"])
        self.outbox.close()
        self.assertTrue(self.transport.disconnecting)
        self.assertIsNotNone(self.transport.producer)
        self.transport.drain()
        self.assertEqual(len(self.transport.value()), 3 * PORTION + 3)
        self.assertIsNone(self.transport.producer)

    def test_lost(self) -> None:
        """
        When the connection is lost, what was not sent is let go of.
        """
        self.transport.room = 0
        self.outbox.send([bytes(3 * PORTION), b"end"])
        self.outbox.stopProducing()
        self.transport.drain()
        self.assertLess(len(self.transport.value()), 2 * PORTION)

    def test_found_lost(self) -> None:
        """
        A connection that is found lost when something is sent is left to its
        transport.
        """
        self.patch(Transport, "writeSomeData", lambda _, data: ConnectionResetError())
        self.transport.room = 0
        self.outbox.send([b"ab"])
        self.assertTrue(self.outbox.full)
        self.transport.drain()
        self.assertEqual(self.transport.value(), b"ab")


class BehindTests(SynchronousTestCase):
    """
    A transport that is not the kernel's, as TLS's is not.
    """

    def test_room(self) -> None:
        """
        It is given as much as it says that it has room for, and what it
        passes on of the transport below is let alone.
        """

        class Behind(StringTransport):
            """
            As a wrapper that knows what it wraps.
            """

            def __getattr__(self, name: str) -> Any:
                raise AssertionError(name)

            def write(self, data: bytes) -> None:
                """
                Full after more than a little.
                """
                super().write(data)
                if len(data) >= PORTION:
                    assert isinstance(outbox, TransportOutbox)
                    outbox.pauseProducing()

        transport = Behind()
        outbox = outbox_of(transport, lambda: None)
        outbox.send([b"ab", b"c"])
        self.assertEqual(transport.value(), b"abc")
        outbox.send([bytes(PORTION), bytes(PORTION), b"end"])
        self.assertEqual(len(transport.value()), PORTION + 3)
        self.assertTrue(outbox.full)
        outbox.resumeProducing()
        self.assertTrue(outbox.full)
        outbox.resumeProducing()
        self.assertFalse(outbox.full)
        self.assertEqual(transport.value()[3:], bytes(2 * PORTION) + b"end")


class KernelTests(TestCase):
    """
    Over real TCP.
    """

    async def test_slow_reader(self) -> None:
        """
        More bytes than the kernel buffers arrive whole at a slow reader, and the
        connection closes after them.
        """
        await self.assert_arrives([bytes([n % 251]) * (n * 997) for n in range(150)], False)

    async def test_slow_reader_of_tls(self) -> None:
        """
        Nor is anything lost through TLS, however much it is.
        """
        for size in (3, 70_000, 131_073, 181_072, 453_216, 9_000_000):
            await self.assert_arrives([b"x" * size, b"end"], True)

    async def test_full_behind_tls(self) -> None:
        """
        A client of TLS that reads nothing makes it full, with however small
        answers.
        """
        sending, reading = Sending([b"x" * 10_000] * 2000, closes=False), Reading(waits=False)
        await self.connect(sending, reading, True)
        await deferLater(reactor, 0.2)
        self.assertTrue(sending.outbox.full)
        self.assertGreater(sum(map(len, sending.outbox._unsent)), 10_000_000)
        reading.transport.abortConnection()
        await reading.done

    async def assert_arrives(self, pieces: list[bytes], secret: bool) -> None:
        """
        All of it.
        """
        reading = Reading()
        await self.connect(Sending(pieces), reading, secret)
        self.assertTrue(await reading.done == b"".join(pieces))

    async def connect(self, sending: Sending, reading: Reading, secret: bool) -> None:
        """
        With or without TLS.
        """
        server: Any = Factory.forProtocol(lambda: sending)
        client: Any = Factory.forProtocol(lambda: reading)
        if secret:
            certificate = self_signed("localhost")
            trust = trustRootFromCertificates([Certificate(certificate.original)])
            believing = optionsForClientTLS("localhost", trustRoot=trust)
            server = TLSMemoryBIOFactory(certificate.options(), False, server)
            client = TLSMemoryBIOFactory(believing, True, client)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(server)
        self.addCleanup(port.stopListening)
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(client)


class Sending(Protocol):
    """
    Sends it all, one after the other, and closes.
    """

    outbox: Outbox

    def __init__(self, pieces: list[bytes], closes: bool = True) -> None:
        self.pieces = pieces
        self.closes = closes

    def connectionMade(self) -> None:
        """
        Begin.
        """
        self.outbox = outbox_of(self.transport, lambda: None)
        for piece in self.pieces:
            self.outbox.send([piece])
        if self.closes:
            self.outbox.close()


class Reading(Protocol):
    """
    Reads after a while, if at all.
    """

    transport: Any

    def __init__(self, waits: bool = True) -> None:
        self.waits = waits
        self.done: Deferred[bytes] = Deferred()
        self.received = bytearray()

    def connectionMade(self) -> None:
        """
        Wait.
        """
        self.transport.pauseProducing()
        if self.waits:
            reactor.callLater(0.1, self.transport.resumeProducing)

    def dataReceived(self, data: bytes) -> None:
        """
        Some of it.
        """
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        """
        That was all.
        """
        self.done.callback(bytes(self.received))
