"""
Tests of `kafscale.net.factory`.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import reactor  # noqa: TID251 - a real connection
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kafscale.net import factory
from kafscale.net.connection import Connection
from tests.net.fakes import (
    PLAIN_SESSIONS,
    Broker,
    Client,
    Transport,
    fetch,
    heartbeat,
    produce,
)


class LimitTests(SynchronousTestCase):
    """
    How many connections there may be.
    """

    def assert_closed(self, transport: Transport | None) -> None:
        """
        The connection of a client was closed at once.
        """
        assert transport is not None
        self.assertTrue(transport.aborted)

    def test_per_address(self) -> None:
        """
        An address has a limit, and some have their own; 0 means none. What is closed
        makes room.
        """
        broker = Broker(
            max_connections_per_ip=2,
            max_connections_per_ip_overrides=(("10.0.0.1", 3), ("10.0.0.2", 0)),
        )
        for host, most in (("10.0.0.9", 2), ("10.0.0.1", 3), ("10.0.0.8", 2)):
            for _ in range(most):
                self.assertIsNone(broker.refused(host))
            self.assert_closed(broker.refused(host))
        self.assertEqual([broker.refused("10.0.0.2") for _ in range(9)], [None] * 9)
        self.assertEqual((broker.factory.connections, broker.factory.rejected), (16, 3))
        connection = broker.listener.buildProtocol(IPv4Address("TCP", "10.0.0.7", 1))
        client = Client(cast(Connection, connection))
        self.assertIsNone(broker.refused("10.0.0.7"))
        self.assert_closed(broker.refused("10.0.0.7"))
        client.go()
        self.assertIsNone(broker.refused("10.0.0.7"))
        # So a listener on [::] sees it.
        self.assert_closed(broker.refused("::ffff:10.0.0.7"))

    def test_per_listener(self) -> None:
        """
        The connections to a listener have a limit of their own.
        """
        broker = Broker()
        other = broker.factory.listener(PLAIN_SESSIONS, 1)
        self.assertIsNone(broker.refused(listener=other))
        self.assert_closed(broker.refused(listener=other))
        self.assertIsNone(broker.refused())

    def test_quota(self) -> None:
        """
        What is above the quota of an address is held, unread, and then closed; a stop
        does not wait for it.
        """
        broker = Broker()
        broker.quotas.change((("ip", "10.0.0.1"),), {"connection_creation_rate": 2.0})
        self.assertEqual([broker.refused("10.0.0.1") for _ in range(20)], [None] * 20)
        self.assertIsNone(broker.refused("10.0.0.2"))
        held = broker.refused("10.0.0.1")
        assert held is not None
        self.assertEqual((held.paused, held.aborted), (True, False))
        broker.clock.advance(0.4)
        self.assertFalse(held.aborted)
        broker.clock.advance(0.2)
        self.assertTrue(held.aborted)
        self.assertIsNone(broker.refused("10.0.0.1"))
        last = broker.refused("10.0.0.1")
        assert last is not None
        broker.factory.stop(5)
        self.assertTrue(last.aborted)

    def test_held(self) -> None:
        """
        So many are held at once; further ones are closed. One that goes makes room.
        """
        self.patch(factory, "MOST_HELD", 1)
        broker = Broker()
        broker.quotas.change((("ip", None),), {"connection_creation_rate": 0.1})
        self.assertIsNone(broker.refused("10.0.0.1"))
        address = IPv4Address("TCP", "10.0.0.1", 1)
        held = broker.listener.buildProtocol(address)
        held.makeConnection(Transport())
        self.assert_closed(broker.refused("10.0.0.1"))
        held.connectionLost(Failure(ConnectionDone()))
        last = broker.refused("10.0.0.1")
        assert last is not None
        self.assertFalse(last.aborted)

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
            self.assert_closed(broker.refused())
        self.assertEqual(len(events), 1)
        first.go()
        broker.connect()
        self.assert_closed(broker.refused())
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
        transport = self.broker.refused()
        assert transport is not None
        self.assertTrue(transport.aborted)
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
