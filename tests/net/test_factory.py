"""
Tests of `kafscale.net.factory`.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import reactor  # noqa: TID251 - a real connection
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.net.fakes import Broker, fetch, heartbeat, produce


class LimitTests(SynchronousTestCase):
    """
    How many connections there may be.
    """

    def test_limit(self) -> None:
        """
        One too many is closed at once; a single line says so until there is
        room again.
        """
        events: list[object] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        broker = Broker(max_connections=2)
        first = broker.connect()
        broker.connect()
        for _ in range(3):
            self.assertIsNone(broker.listener.buildProtocol(None))
        self.assertEqual(len(events), 1)
        first.go()
        broker.connect()
        self.assertIsNone(broker.listener.buildProtocol(None))
        self.assertEqual(len(events), 2)

    def test_no_limit(self) -> None:
        """
        0 means none.
        """
        broker = Broker(max_connections=0)
        for _ in range(20):
            broker.connect()
        self.assertEqual(broker.factory.connections, 20)


class StopTests(SynchronousTestCase):
    """
    The end, in its order.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        self.broker = Broker(connections_max_idle_ms=0)
        self.client = self.broker.connect()

    def test_no_connection(self) -> None:
        """
        With no connection it is over at once.
        """
        self.client.go()
        self.successResultOf(self.broker.factory.stop(5))
        self.assertEqual(self.broker.clock.getDelayedCalls(), [])

    def test_idle(self) -> None:
        """
        A connection that owes nothing is closed at once; no new one is made.
        """
        stopped = self.broker.factory.stop(5)
        self.assertTrue(self.client.transport.disconnecting)
        self.assertIsNone(self.broker.listener.buildProtocol(None))
        self.assertNoResult(stopped)
        self.client.go()
        self.successResultOf(stopped)
        self.assertEqual(self.broker.clock.getDelayedCalls(), [])

    def test_in_flight(self) -> None:
        """
        What is under way is answered; what waits is not begun; nothing more
        is read.
        """
        self.client.send(produce(1), produce(2), heartbeat(3))
        stopped = self.broker.factory.stop(5)
        self.assertTrue(self.client.transport.paused)
        self.broker.finish(1)
        self.assertFalse(self.client.transport.disconnecting)
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [1, 2])
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual(len(self.broker.begun), 2)
        self.client.go()
        self.successResultOf(stopped)

    def test_long_poll(self) -> None:
        """
        A fetch that waits for records is given up after a second.
        """
        self.client.send(fetch(1))
        self.broker.factory.stop(5)
        self.broker.clock.advance(0.9)
        self.assertFalse(self.client.transport.disconnecting)
        self.broker.clock.advance(0.1)
        self.assertTrue(self.client.transport.disconnecting)

    def test_bound(self) -> None:
        """
        What is not answered in time is not waited for.
        """
        self.client.send(produce(1))
        stopped = self.broker.factory.stop(5)
        self.broker.clock.advance(4.9)
        self.assertFalse(self.client.transport.aborted)
        self.broker.clock.advance(0.1)
        self.assertTrue(self.client.transport.aborted)
        self.client.go()
        self.successResultOf(stopped)

    def test_twice(self) -> None:
        """
        A second call of stop is answered, too.
        """
        first, second = self.broker.factory.stop(5), self.broker.factory.stop(5)
        self.client.go()
        self.successResultOf(first)
        self.successResultOf(second)


class Reader(Protocol):
    """
    Gathers what it is sent.
    """

    def __init__(self) -> None:
        self.received = b""
        self.expected = 0
        self.complete: Deferred[None] = Deferred()
        self.closed: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """
        Some bytes came.
        """
        self.received += data
        if len(self.received) >= self.expected and not self.complete.called:
            self.complete.callback(None)

    def connectionLost(self, reason: object = None) -> None:
        """
        The broker closed.
        """
        self.closed.callback(None)


class SocketTests(TestCase):
    """
    Over a real connection: the transport's own flow control.
    """

    async def test_large_answers_and_close(self) -> None:
        """
        Answers larger than a transport takes at once arrive whole, while the
        client reads slowly too; then the broker closes in good order.
        """
        broker = Broker()
        broker.service.at_once = True
        broker.service.records = bytes(5_000_000)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(broker.listener)
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        reader: Any = await endpoint.connect(Factory.forProtocol(Reader))
        reader.transport.write(fetch(1) + fetch(2) + produce(3) + heartbeat(4) + fetch(5))
        reader.transport.pauseProducing()
        reactor.callLater(0.05, reader.transport.resumeProducing)
        reader.expected = 3 * 5_000_000
        await reader.complete
        stopped = broker.factory.stop(5)
        await reader.closed
        await stopped
        self.assertEqual(broker.factory.connections, 0)
        self.assertEqual(len(broker.begun), 5)
