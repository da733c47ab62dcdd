"""
Tests of `kafscale.net.metering`, and of `kafscale.net.connection`: clients that have
exceeded a quota.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.open_sessions import OpenSession, OpenSessions
from kafscale.interfaces import Listener, SecurityProtocol
from kafscale.net import connection
from kafscale.net.sockets import is_gone
from kafscale.wire.messages import FetchRequest, FetchResponse, HeartbeatResponse, ProduceResponse
from tests.net.fakes import Broker, Client, body, fetch, framed, heartbeat, produce

ANY_CLIENT = (("client-id", None),)
KB = 1000


class MutingTests(SynchronousTestCase):
    """
    Produce requests over the quota, which is 1 kB/s.
    """

    def setUp(self) -> None:
        """
        A client whose requests are served at once.
        """
        self.broker = Broker(connections_max_idle_ms=5000)
        self.broker.quotas.change(ANY_CLIENT, {"producer_byte_rate": 1000.0})
        self.broker.service.at_once = True
        self.client = self.broker.connect()

    def throttles(self, client: Client) -> list[int]:
        """
        What the client was told in responses to Produce since the last call.
        """
        return [body(each, ProduceResponse, 9)[1].throttle_time_ms for each in client.answers()]

    def exceed(self) -> int:
        """
        Send 11 kB, of which 10 kB are free. Returns for how long the client is slowed
        down.
        """
        self.client.send(produce(1, size=11 * KB))
        (throttle_ms,) = self.throttles(self.client)
        self.assertTrue(1000 < throttle_ms < 1100, throttle_ms)
        return throttle_ms

    def test_within(self) -> None:
        """
        Within the quota nothing is different.
        """
        self.client.send(produce(1, size=4 * KB), produce(2, size=4 * KB), heartbeat(3))
        self.assertEqual(len(self.client.answers()), 3)
        self.client.send(produce(4))
        self.assertEqual(self.throttles(self.client), [0])

    def test_told_first(self) -> None:
        """
        The response comes at once, and then no request begins, of whatever kind, until
        the time is over.
        """
        throttle_ms = self.exceed()
        self.client.send(heartbeat(2), produce(3))
        self.broker.clock.advance((throttle_ms - 1) / 1000)
        self.assertEqual(len(self.broker.begun), 1)
        self.broker.clock.advance(0.002)
        self.assertEqual(self.client.answered(), [2, 3])

    def test_others(self) -> None:
        """
        Another connection is not muted, until it exceeds the quota, too.
        """
        throttle_ms = self.exceed()
        other = self.broker.connect()
        other.send(heartbeat(1), heartbeat(2))
        self.assertEqual(other.answered(), [1, 2])
        other.send(produce(3))
        (told,) = self.throttles(other)
        self.assertGreaterEqual(told, throttle_ms)

    def test_pipelined(self) -> None:
        """
        After the request that exceeds the quota none begins, and the client is muted
        when all are answered.
        """
        self.broker.service.at_once = False
        self.client.send(produce(1, size=6 * KB), produce(2, size=6 * KB), produce(3))
        self.assertEqual(len(self.broker.begun), 2)
        self.broker.clock.advance(1)
        self.broker.finish(1)
        self.broker.finish(0)
        first, second = self.throttles(self.client)
        self.assertEqual(first, 0)
        self.broker.clock.advance(second / 1000 - 0.001)
        self.assertEqual(len(self.broker.begun), 2)
        self.broker.clock.advance(0.002)
        self.assertEqual(len(self.broker.begun), 3)

    def test_no_response(self) -> None:
        """
        With acks=0 the client is muted, and told nothing.
        """
        self.client.send(produce(1, acks=0, size=11 * KB), heartbeat(2))
        self.assertEqual(self.client.answered(), [])
        self.broker.clock.advance(1.2)
        self.assertEqual(self.client.answered(), [2])

    def test_reading(self) -> None:
        """
        A muted connection is read until it has sent something, and holds no more.
        """
        throttle_ms = self.exceed()
        self.assertFalse(self.client.transport.paused)
        request = heartbeat(2)
        self.client.send(request[:10])
        self.assertTrue(self.client.transport.paused)
        self.broker.clock.advance(throttle_ms / 1000)
        self.assertFalse(self.client.transport.paused)
        self.client.send(request[10:])
        self.assertEqual(self.client.answered(), [2])

    def test_partial_frame(self) -> None:
        """
        When memory is short, the frame that it has half received does not take the turn
        of another.
        """
        self.broker = Broker(memory_limit=20 * KB)
        self.broker.quotas.change(ANY_CLIENT, {"producer_byte_rate": 1000.0})
        self.broker.service.at_once = True
        self.client, other = self.broker.connect(), self.broker.connect()
        self.exceed()
        self.client.send(produce(2, size=30 * KB)[: 15 * KB])
        large = produce(1, acks=0, size=30 * KB)
        other.send(large[: 12 * KB])
        self.assertEqual(self.broker.memory.total, 27 * KB)
        self.assertEqual((self.client.transport.paused, other.transport.paused), (True, False))
        other.send(large[12 * KB :])
        self.assertEqual(len(self.broker.begun), 2)

    def test_slowed(self) -> None:
        """
        Afterwards it is read in small pieces, and only while nothing waits.
        """
        throttle_ms = self.exceed()
        self.broker.clock.advance(throttle_ms / 1000)
        self.assertEqual(self.client.transport.bufferSize, connection.SLOWED_READ)
        self.broker.service.at_once = False
        self.client.send(heartbeat(2), heartbeat(3))
        self.assertTrue(self.client.transport.paused)

    def test_not_idle(self) -> None:
        """
        A muted client is not idle.
        """
        self.client.send(produce(1, size=30 * KB))
        self.broker.clock.advance(19)
        self.assertFalse(self.client.transport.aborted)

    def test_lost(self) -> None:
        """
        When the client goes away nothing is left behind.
        """
        self.exceed()
        self.client.send(heartbeat(2))
        self.client.go()
        self.assertEqual(self.broker.clock.getDelayedCalls(), [])
        self.assertEqual(self.broker.factory.connections, 0)

    def test_stop(self) -> None:
        """
        When the broker stops the connection is closed at once.
        """
        self.exceed()
        self.client.send(heartbeat(2))
        self.broker.factory.stop(5)
        self.assertTrue(self.client.transport.disconnecting)
        self.broker.clock.advance(3)
        self.assertEqual(self.client.answered(), [])

    def test_gone_unread(self) -> None:
        """
        Of a client that is not read the kernel is asked.
        """
        self.patch(connection, "is_gone", lambda transport: True)
        self.exceed()
        self.broker.clock.advance(0.9)
        self.assertFalse(self.client.transport.aborted)
        self.client.send(heartbeat(2))
        self.broker.clock.advance(0.1)
        self.assertTrue(self.client.transport.aborted)


class MeteringTests(SynchronousTestCase):
    """
    What else is counted.
    """

    def setUp(self) -> None:
        """
        Each request takes the broker a second.
        """
        self.broker = Broker()
        self.broker.service.on_begin = lambda request: self.broker.clock.advance(1)
        self.broker.service.at_once = True
        self.client = self.broker.connect()

    def heartbeat(self) -> int:
        """
        Send one. Returns what the client was told.
        """
        self.client.send(heartbeat(1))
        (answer,) = self.client.answers()
        told: int = body(answer, HeartbeatResponse, 4)[1].throttle_time_ms
        self.broker.clock.advance(told / 1000)
        return told

    def test_time(self) -> None:
        """
        Ten per cent of one thread: a second of work each ten, and the client is told
        a second at most.
        """
        self.broker.quotas.change((("user", "ANONYMOUS"),), {"request_percentage": 10.0})
        self.assertEqual(self.heartbeat(), 0)
        self.assertEqual(self.heartbeat(), 1000)

    def test_waiting(self) -> None:
        """
        The time that a request waits does not count.
        """
        self.broker.quotas.change((("user", "ANONYMOUS"),), {"request_percentage": 10.0})
        self.broker.service.on_begin = lambda request: None
        self.broker.service.at_once = False
        self.client.send(heartbeat(1))
        self.broker.clock.advance(100)
        self.broker.finish(0)
        (answer,) = self.client.answers()
        self.assertEqual(body(answer, HeartbeatResponse, 4)[1].throttle_time_ms, 0)

    def test_failed(self) -> None:
        """
        A request that fails counts, too.
        """
        self.broker.quotas.change(ANY_CLIENT, {"request_percentage": 10.0})
        self.heartbeat()

        def fail(request: Any) -> None:
            self.broker.clock.advance(1)
            raise ValueError("a defect")

        self.broker.service.on_begin = fail
        self.assertEqual(self.heartbeat(), 1000)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_told_by_service(self) -> None:
        """
        The time in the response of a service holds if it is the longest. The response
        itself is not changed: a service may return the same again.
        """
        self.broker.quotas.change(ANY_CLIENT, {"request_percentage": 10.0})
        self.broker.service.on_begin = lambda request: None
        response = FetchResponse(responses=[], throttle_time_ms=700)
        self.broker.service.fetched = lambda request, context: response
        self.client.send(fetch(1), fetch(2))
        (answer,) = self.client.answers()
        self.assertEqual(body(answer, FetchResponse, 12)[1].throttle_time_ms, 700)
        self.broker.clock.advance(0.7)
        self.assertEqual(len(self.client.answers()), 1)
        self.broker.clock.advance(0.7)
        self.broker.quotas.handled("ANONYMOUS", "c", 5.0)
        for _ in range(2):
            self.client.send(fetch(3))
            (answer,) = self.client.answers()
            self.assertEqual(body(answer, FetchResponse, 12)[1].throttle_time_ms, 1000)
            self.broker.clock.advance(1)
        self.assertEqual(response.throttle_time_ms, 700)

    def test_broker(self) -> None:
        """
        The time of another broker's fetches does not count.
        """
        self.broker.quotas.change(ANY_CLIENT, {"request_percentage": 10.0})
        request = FetchRequest(
            max_wait_ms=0, min_bytes=0, topics=[], forgotten_topics_data=[], replica_id=3
        )
        for _ in range(3):
            self.client.send(framed(request, 12, 1))
            (answer,) = self.client.answers()
            self.assertEqual(body(answer, FetchResponse, 12)[1].throttle_time_ms, 0)

    def test_before_login(self) -> None:
        """
        What a client sends before its login uses nobody's quota.
        """
        self.broker.quotas.change((("user", "ANONYMOUS"),), {"request_percentage": 10.0})
        listener = Listener("SASL", SecurityProtocol.SASL_PLAINTEXT)
        sessions = OpenSessions(listener)
        self.patch(sessions, "begin", lambda host: OpenSession(listener))
        self.broker.listener = self.broker.factory.listener(sessions)
        self.client = self.broker.connect()
        self.assertEqual([self.heartbeat() for _ in range(3)], [0, 0, 0])


class Server:
    """
    A connection of the kernel with itself.

    @ivar client: The client's end.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        with socket.create_server(("127.0.0.1", 0)) as port:
            self.client = socket.create_connection(port.getsockname())
            self._end, _ = port.accept()
        case.addCleanup(self.client.close)
        case.addCleanup(self._end.close)

    def getHandle(self) -> socket.socket:  # noqa: N802 - Twisted's name
        """
        The broker's end.
        """
        return self._end


class Above:
    """
    A transport on top of another, as TLS is.
    """

    def __init__(self, transport: Server) -> None:
        self.transport = transport

    def getHandle(self) -> object:  # noqa: N802 - Twisted's name
        """
        Not a socket.
        """
        return ssl.MemoryBIO()


class GoneTests(SynchronousTestCase):
    """
    Tests of L{is_gone}.
    """

    def test_gone(self) -> None:
        """
        A client that has closed is noticed, although what it sent was not read.
        """
        server = Server(self)
        server.client.sendall(b"unread")
        self.assertFalse(is_gone(server))
        server.client.close()
        for _ in range(1000):  # the kernel delivers it on its own
            if is_gone(server):
                break
        self.assertTrue(is_gone(server))
        self.assertTrue(is_gone(Above(server)))

    def test_unknown(self) -> None:
        """
        Of a transport that is no socket nothing is known.
        """
        self.assertFalse(is_gone(StringTransport()))
