"""
Tests of `kafscale.net.connection`: order, overlap and the end.
"""

from __future__ import annotations

import gc
import struct
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import InvalidRequest, NotLeaderOrFollower, RequestTimedOut
from kafscale.net.factory import FOREIGN_SECONDS
from kafscale.wire.messages import HeartbeatResponse, ProduceRequest
from tests.log.fakes import FakeSettlement
from tests.net.fakes import Broker, body, fetch, heartbeat, produce


class OrderTests(SynchronousTestCase):
    """
    Answers leave in the order of their requests.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        self.broker = Broker()
        self.client = self.broker.connect()

    def test_one(self) -> None:
        """
        A request is answered with its correlation id; the service gets
        the client's id and address.
        """
        self.client.send(heartbeat(7))
        (begun,) = self.broker.begun
        self.assertEqual(begun.request.group_id, "g")
        self.assertEqual(begun.context.api_version, 4)
        self.assertEqual(begun.context.client_id, "c")
        self.assertEqual(begun.context.host, "192.168.1.1")
        self.assertIs(begun.context.connection, self.client.connection)
        self.assertEqual(self.client.answers(), [])
        self.broker.finish(0)
        (answer,) = self.client.answers()
        self.assertEqual(body(answer, HeartbeatResponse, 4), (7, HeartbeatResponse()))

    def test_at_once(self) -> None:
        """
        Many requests that arrive together and are answered at once do not
        exhaust the stack.
        """
        self.broker.service.at_once = True
        self.client.send(*map(heartbeat, range(5000)))
        self.assertEqual(self.client.answered(), list(range(5000)))
        self.assertFalse(self.client.transport.paused)

    def test_produces_overlap(self) -> None:
        """
        Produces after produces are under way together; their answers wait for
        each other.
        """
        self.client.send(produce(1), produce(2), produce(3))
        self.assertEqual(len(self.broker.begun), 3)
        self.broker.finish(1)
        self.broker.finish(2)
        self.assertEqual(self.client.answered(), [])
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [1, 2, 3])

    def test_others_wait(self) -> None:
        """
        Another request waits for the produces before it, and produces wait
        for it.
        """
        self.client.send(produce(1), produce(2), heartbeat(3), produce(4), produce(5))
        self.assertEqual(len(self.broker.begun), 2)
        self.broker.finish(0)
        self.assertEqual(len(self.broker.begun), 2)
        self.broker.finish(1)
        self.assertEqual(len(self.broker.begun), 3)
        self.broker.finish(2)
        self.assertEqual(len(self.broker.begun), 5)
        self.broker.finish(4)
        self.broker.finish(3)
        self.assertEqual(self.client.answered(), [1, 2, 3, 4, 5])

    def test_others_do_not_overlap(self) -> None:
        """
        What is no produce is under way alone.
        """
        self.client.send(fetch(1), fetch(2))
        self.assertEqual(len(self.broker.begun), 1)
        self.broker.finish(0)
        self.assertEqual(len(self.broker.begun), 2)

    def test_connections_are_independent(self) -> None:
        """
        A long poll holds up its own connection only.
        """
        other = self.broker.connect()
        self.client.send(fetch(1), heartbeat(2))
        other.send(heartbeat(3))
        self.broker.finish(1)
        self.assertEqual(other.answered(), [3])
        self.assertEqual(self.client.answered(), [])

    def test_each_byte_alone(self) -> None:
        """
        Also when each byte comes by itself.
        """
        self.broker.service.at_once = True
        for byte in produce(1) + heartbeat(2):
            self.client.send(bytes([byte]))
        self.assertEqual(self.client.answered(), [1, 2])


class ChunkTests(SynchronousTestCase):
    """
    Frames that arrive in pieces.
    """

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 60), max_size=30))
    def test_any_chunks(self, sizes: list[int]) -> None:
        """
        However the bytes are cut on their way, the answers are the same.
        """
        broker = Broker()
        broker.service.at_once = True
        client = broker.connect()
        data = produce(1, size=50) + heartbeat(2) + fetch(3) + produce(4) + produce(5, acks=0)
        for size in sizes:
            chunk, data = data[:size], data[size:]
            if chunk:
                client.send(chunk)
        if data:
            client.send(data)
        self.assertEqual(client.answered(), [1, 2, 3, 4])
        self.assertEqual(broker.memory.total, 0)


class SettlingOrderTests(OrderTests):
    """
    The same where produces wait for settlements.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        super().setUp()
        self.broker.service.settles = True

    def test_together(self) -> None:
        """
        What waits for one settlement is answered together, with one wait and one send.
        """
        settlement = self.broker.service.settlement = FakeSettlement(1)
        self.client.send(produce(1), produce(2), produce(3))
        self.client.send(produce(4))
        settlement.settle()
        self.assertEqual(settlement.waits, 1)
        self.assertEqual(self.client.transport.sends, 1)
        self.assertEqual(self.client.answered(), [1, 2, 3, 4])

    def test_settled_before(self) -> None:
        """
        A settlement may have fired when a request comes to wait for it.
        """
        settlement = self.broker.service.settlement = FakeSettlement(1)
        settlement.settle()
        self.client.send(produce(1), produce(2))
        self.client.send(produce(3))
        self.assertEqual(self.client.answered(), [1, 2, 3])

    def test_behind_another(self) -> None:
        """
        Those whose settlement has fired wait for one before them that has not, whatever it
        waits for.
        """
        self.broker.service.settles = False
        self.client.send(produce(1))
        self.broker.service.settles = True
        self.client.send(produce(2), produce(3))
        self.broker.finish(2)
        self.broker.finish(1)
        self.assertEqual(self.client.answered(), [])
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [1, 2, 3])
        self.assertEqual(self.client.transport.sends, 1)

    def test_ended_early(self) -> None:
        """
        One request may end its wait, and is answered then; the settlement fires later for
        the others.
        """
        settlement = self.broker.service.settlement = FakeSettlement(1)
        self.client.send(produce(1), produce(2))
        first = self.broker.begun[0].settling
        assert first is not None
        first.end(Failure(RequestTimedOut()))
        self.assertEqual(self.client.answered(), [1])
        settlement.settle()
        self.assertEqual(self.client.answered(), [2])

    def test_refused(self) -> None:
        """
        A settlement that fails is answered to each request in its own schema.
        """
        self.client.send(produce(1), produce(2))
        counts = self.broker.dispatch.counts[ProduceRequest.key]
        self.broker.begun[0].answer.errback(NotLeaderOrFollower())
        self.broker.finish(1)
        self.assertEqual(self.client.answered(), [1, 2])
        self.assertEqual(sum(counts.answers.values()), 2)

    def test_refused_without_words(self) -> None:
        """
        If the error has no form the connection is closed in place of the answer.
        """
        self.client.send(produce(1), produce(2), produce(3))
        self.broker.finish(2)
        self.broker.begun[1].answer.errback(CancelledError())
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [1])
        self.assertTrue(self.client.transport.disconnecting)

    def test_lost(self) -> None:
        """
        What settles after the client has gone gets no answer, and keeps nothing.
        """
        settlement = self.broker.service.settlement = FakeSettlement(1)
        self.client.send(produce(1), produce(2))
        connection = weakref.ref(self.client.connection)
        gc.disable()
        self.addCleanup(gc.enable)
        self.client.go()
        settlement.settle()
        self.assertEqual(self.client.answered(), [])
        self.broker.begun.clear()
        del self.client
        self.assertIsNone(connection())


class AcksTests(SynchronousTestCase):
    """
    Produces that owe no answer.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        self.broker = Broker()
        self.client = self.broker.connect()

    def test_no_answer(self) -> None:
        """
        A request with acks=0 gets no response, and does not block those behind it.
        """
        self.client.send(produce(1, acks=0), produce(2), heartbeat(3))
        self.broker.finish(1)
        self.assertEqual(self.client.answered(), [])
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [2])
        self.broker.finish(2)
        self.assertEqual(self.client.answered(), [3])

    def test_error(self) -> None:
        """
        The only way to report an error is to close the connection.
        """
        self.client.send(produce(1), produce(2, acks=0))
        self.broker.begun[1].answer.errback(NotLeaderOrFollower())
        self.assertFalse(self.client.transport.disconnecting)
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [1])
        self.assertTrue(self.client.transport.disconnecting)


class BrokenTests(SynchronousTestCase):
    """
    What cannot be answered costs its connection, and no other.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        self.broker = Broker()
        self.broker.service.at_once = True
        self.client = self.broker.connect()

    def assert_closed(self, *parts: bytes) -> None:
        """
        A client that sends this is answered nothing, and closed.
        """
        client = self.broker.connect()
        client.send(*parts)
        self.assertEqual(client.answered(), [])
        self.assertTrue(client.transport.disconnecting)
        client.send(heartbeat(9))
        self.assertEqual(client.answered(), [])
        client.go()
        self.client.send(heartbeat(1))
        self.assertEqual(self.client.answered(), [1])

    def test_lengths(self) -> None:
        """
        A length that is negative, too short for a header, or beyond the limit.
        """
        for length in (-1, -(2**31), 0, 7, 100 * 2**20 + 1, 2**31 - 1):
            self.assert_closed(struct.pack(">i", length))

    def test_http(self) -> None:
        """
        Something else altogether.
        """
        self.assert_closed(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def test_unknown_api(self) -> None:
        """
        An API that is not served.
        """
        self.assert_closed(struct.pack(">ihhih", 10, 4711, 0, 1, -1))
        self.assert_closed(struct.pack(">ihhih", 10, -1, 0, 1, -1))

    def test_unknown_version(self) -> None:
        """
        A version that is not served.
        """
        for key, version in ((0, 14), (1, 99), (12, -1)):
            self.assert_closed(struct.pack(">ihhih", 10, key, version, 1, -1))

    def test_malformed(self) -> None:
        """
        A header or body that is cut short, or lies about a length.
        """
        good = heartbeat(1)[4:]
        for frame in (good[:8], good[:10], good[:-1], good[:9] + b"\x7f" + good[10:]):
            self.assert_closed(struct.pack(">i", len(frame)), frame)

    def test_tls(self) -> None:
        """
        A client that speaks TLS is closed and named. It connects again at once,
        so its host is named once a minute.
        """
        hello = bytes.fromhex("1603010200010001fc0303")
        with capturedLogs() as logged:
            for seconds in (0, 0, 1, FOREIGN_SECONDS - 1, 1):
                self.broker.clock.advance(seconds)
                client = self.broker.connect()
                client.send(hello)
                self.assertTrue(client.transport.disconnecting)
        first, second = [formatEvent(each) for each in logged]
        self.assertRegex(
            first,
            r"\Aclosing the connection from [0-9.]+: the client speaks TLS, and this port does not:"
            r" .*certificate\Z",
        )
        self.assertEqual(second, f"{first} (2 more since the last line)")

    def test_malformed_again(self) -> None:
        """
        So is one that sends what is no frame, or no request, again and again without
        having authenticated.
        """
        for bad in (struct.pack(">i", -1), struct.pack(">i", 4) + b"\0\x7f\0\0"):
            self.broker.clock.advance(FOREIGN_SECONDS)
            with capturedLogs() as logged:
                for seconds in (0, 1, FOREIGN_SECONDS):
                    self.broker.clock.advance(seconds)
                    self.broker.connect().send(bad)
            lines = [str(formatEvent(each)) for each in logged]
            self.assertEqual(len(lines), 2)
            self.assertIn("(1 more since the last line)", lines[1])

    def test_left_over(self) -> None:
        """
        Bytes after the request are ignored, as Kafka does: librdkafka sends
        three too many when it asks for the metadata of all topics.
        """
        frame = heartbeat(1)[4:] + b"\1\0\0"
        self.client.send(struct.pack(">i", len(frame)), frame)
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [1])

    def test_those_before_are_answered(self) -> None:
        """
        Requests before a broken one get their answers first.
        """
        self.broker.service.at_once = False
        self.client.send(produce(1))
        self.client.send(struct.pack(">ihhih", 10, 4711, 0, 1, -1), heartbeat(3))
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [1])
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual(len(self.broker.begun), 1)

    def test_those_before_a_broken_length_are_answered(self) -> None:
        """
        Also those under way when a length makes no sense.
        """
        self.broker.service.at_once = False
        self.client.send(produce(1))
        self.client.send(b"\xff\xff\xff\xff")
        self.assertTrue(self.client.transport.paused)
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [1])
        self.assertTrue(self.client.transport.disconnecting)

    def test_transport_waits_for_no_producer(self) -> None:
        """
        A transport with a producer would not close.
        """
        self.client.send(struct.pack(">i", -1))
        self.assertIsNone(self.client.transport.producer)


class FailureTests(SynchronousTestCase):
    """
    Services that raise.
    """

    def setUp(self) -> None:
        """
        A request under way.
        """
        self.broker = Broker()
        self.client = self.broker.connect()
        self.client.send(heartbeat(1))

    def code(self) -> int:
        """
        The error code of the answer.
        """
        (answer,) = self.client.answers()
        return int(body(answer, HeartbeatResponse, 4)[1].error_code)

    def test_kafka_error(self) -> None:
        """
        An error is answered in the API's own schema.
        """
        self.broker.begun[0].answer.errback(InvalidRequest())
        self.assertEqual(self.code(), InvalidRequest.code)

    def test_unexpected(self) -> None:
        """
        An unexpected exception is logged once, and answered; the connection
        lives on.
        """
        self.broker.begun[0].answer.errback(ZeroDivisionError())
        self.assertEqual(self.code(), -1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.client.send(heartbeat(2))
        self.broker.finish(1)
        self.assertEqual(self.client.answered(), [2])

    def test_cancelled(self) -> None:
        """
        A request that a service gives up by itself has no answer.
        """
        self.broker.begun[0].answer.errback(CancelledError())
        self.assertTrue(self.client.transport.disconnecting)


class LostTests(SynchronousTestCase):
    """
    The client goes away.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        self.broker = Broker()
        self.client = self.broker.connect()

    def test_fetch_is_given_up(self) -> None:
        """
        A long poll is cancelled, so that it stops watching partitions; what
        waited behind it is never begun.
        """
        self.client.send(fetch(1), heartbeat(2))
        self.assertFalse(self.client.transport.paused, "or EOF is not noticed")
        self.client.go()
        self.assertTrue(self.broker.begun[0].answer.called)
        self.assertEqual(len(self.broker.begun), 1)
        self.assertEqual(self.client.answered(), [])

    def test_others_go_on(self) -> None:
        """
        What changes something is not interrupted; its answer goes nowhere.
        """
        self.client.send(produce(1), produce(2))
        self.client.go()
        self.broker.finish(0)
        self.broker.begun[1].answer.errback(NotLeaderOrFollower())
        self.assertEqual(self.client.answered(), [])

    def test_mid_frame(self) -> None:
        """
        Half a frame is forgotten.
        """
        self.client.send(produce(1, size=100_000)[:50_000])
        self.assertEqual(self.broker.memory.total, 50_000)
        self.client.go()
        self.assertEqual(self.broker.memory.total, 0)
        self.assertEqual(self.broker.factory.connections, 0)

    def test_nothing_stays(self) -> None:
        """
        The connection and what it held are freed without the garbage
        collector, which may come late.
        """
        self.broker.service.at_once = True
        self.client.send(heartbeat(1), produce(2, size=100_000)[:50_000])
        connection = weakref.ref(self.client.connection)
        gc.disable()
        self.addCleanup(gc.enable)
        self.client.go()
        self.broker.begun.clear()
        del self.client
        self.assertIsNone(connection())

    def test_under_pressure(self) -> None:
        """
        A client that goes while it is slowed is not thought of when there is
        room again.
        """
        self.broker.pressure.high = True
        self.client.send(produce(1))
        self.client.go()
        self.assertEqual(self.broker.begun, [])
        for each in self.broker.pressure.waiting:
            self.assertTrue(each.called)
        self.assertEqual(self.broker.clock.getDelayedCalls(), [])
