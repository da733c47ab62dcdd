"""
Tests of `kafscale.net.connection`: slowing clients down, and idle ones.
"""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from kafscale.net import connection, request_memory
from tests.net.fakes import Broker, fetch, heartbeat, produce


class OwedTests(SynchronousTestCase):
    """
    Too many requests are not answered yet.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        self.broker = Broker()
        self.client = self.broker.connect()

    def test_under_way(self) -> None:
        """
        At the limit the connection stops to read, and begins no more of what
        it has read; with each answer it goes on.
        """
        limit = connection.LIMIT_OWED
        self.client.send(*map(produce, range(limit - 1)))
        self.assertFalse(self.client.transport.paused)
        self.client.send(*map(produce, range(limit - 1, limit + 20)))
        self.assertTrue(self.client.transport.paused)
        self.assertEqual(len(self.broker.begun), limit)
        for index in range(limit + 20):
            self.broker.finish(index)
        self.assertFalse(self.client.transport.paused)
        self.assertEqual(self.client.answered(), list(range(limit + 20)))

    def test_many_count_as_memory(self) -> None:
        """
        Some requests under way are everybody's; those beyond them take from
        what all connections share, until they are answered.
        """
        limit = connection.OWED_FREE
        self.client.send(*map(produce, range(limit)))
        self.assertEqual(self.broker.memory.total, 0)
        self.client.send(produce(limit), produce(limit + 1))
        self.assertEqual(self.broker.memory.total, 2 * connection.OWED_OVERHEAD)
        for index in range(limit + 2):
            self.broker.finish(index)
        self.assertEqual(self.broker.memory.total, 0)

    def test_behind_a_long_poll(self) -> None:
        """
        A client that sends on behind a long poll is bounded, too.
        """
        self.client.send(fetch(0), *map(heartbeat, range(1, connection.LIMIT_OWED)))
        self.assertTrue(self.client.transport.paused)
        self.assertEqual(len(self.broker.begun), 1)
        self.broker.service.at_once = True
        self.broker.finish(0)
        self.assertFalse(self.client.transport.paused)
        self.assertEqual(self.client.answered(), list(range(connection.LIMIT_OWED)))

    def test_bytes(self) -> None:
        """
        Large requests that wait are counted in bytes.
        """
        self.client.send(fetch(1), produce(2, size=connection.LIMIT_WAITING))
        self.assertTrue(self.client.transport.paused)
        self.broker.finish(0)
        self.assertFalse(self.client.transport.paused)
        self.assertEqual(len(self.broker.begun), 2)

    def test_waiting_does_not_keep_chunks(self) -> None:
        """
        A small request that waits is copied, and does not keep alive the
        large chunk that it came in.
        """
        self.client.send(produce(1, size=200_000), heartbeat(2))
        (waiting,) = self.client.connection._waiting
        self.assertEqual(memoryview(waiting.obj).nbytes, waiting.nbytes)
        self.broker.finish(0)
        self.broker.finish(1)
        self.assertEqual(self.client.answered(), [1, 2])


class FullTests(SynchronousTestCase):
    """
    The client does not take its answers.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        self.broker = Broker()
        self.broker.service.at_once = True
        self.client = self.broker.connect()

    def test_nothing_more_is_begun(self) -> None:
        """
        While an answer waits for room, no request is read or begun; then all
        goes on.
        """
        self.client.transport.room = 0
        self.client.send(heartbeat(1), heartbeat(2))
        self.assertTrue(self.client.transport.paused)
        self.assertEqual(len(self.broker.begun), 1)
        self.client.transport.drain()
        self.assertFalse(self.client.transport.paused)
        self.assertEqual(self.client.answered(), [1, 2])

    def test_answer_waits(self) -> None:
        """
        An answer that is done while the transport is full waits for it.
        """
        self.broker.service.at_once = False
        self.client.send(produce(1))
        self.client.transport.room = 0
        self.broker.finish(0)
        self.assertEqual(self.client.answered(), [])
        self.client.transport.drain()
        self.assertEqual(self.client.answered(), [1])

    def test_close_sends_all(self) -> None:
        """
        A connection that is closed sends what was answered before.
        """
        self.broker.service.at_once = False
        self.client.send(produce(1))
        self.client.transport.room = 0
        self.client.send(struct.pack(">i", -1))
        self.broker.finish(0)
        self.assertTrue(self.client.transport.disconnecting)
        self.client.transport.drain()
        self.assertEqual(self.client.answered(), [1])
        self.assertIsNone(self.client.transport.producer)


class PressureTests(SynchronousTestCase):
    """
    The broker has no room for more records.
    """

    def setUp(self) -> None:
        """
        One client, and pressure.
        """
        self.broker = Broker()
        self.client = self.broker.connect()
        self.broker.pressure.high = True

    def test_produce_waits(self) -> None:
        """
        A produce waits, and its connection does not read, until there is room.
        """
        self.client.send(produce(1), produce(2))
        self.assertEqual(self.broker.begun, [])
        self.assertTrue(self.client.transport.paused)
        self.broker.pressure.relieve()
        self.assertEqual(len(self.broker.begun), 2)
        self.assertFalse(self.client.transport.paused)

    def test_each_looks_anew(self) -> None:
        """
        When there is room again, the first may fill it: the next waits on.
        """
        self.client.send(produce(1))
        other = self.broker.connect()
        other.send(produce(2))

        def fill(request: object) -> None:
            self.broker.pressure.high = True

        self.broker.service.on_begin = fill
        self.broker.pressure.relieve()
        self.assertEqual(len(self.broker.begun), 1)
        self.assertTrue(other.transport.paused)
        self.broker.pressure.relieve()
        self.assertEqual(len(self.broker.begun), 2)

    def test_others_are_served(self) -> None:
        """
        A client that does not produce is not slowed down.
        """
        self.broker.service.at_once = True
        self.client.send(heartbeat(1), fetch(2))
        self.assertEqual(self.client.answered(), [1, 2])
        self.assertFalse(self.client.transport.paused)

    def test_relieved_already(self) -> None:
        """
        Room that came back in between is used at once.
        """
        pressure = self.broker.pressure
        states = iter([True, False])
        pressure.high = False
        self.patch(pressure, "spent", lambda: next(states))
        self.client.send(produce(1))
        self.assertEqual(len(self.broker.begun), 1)
        self.assertFalse(self.client.transport.paused)


class MemoryTests(SynchronousTestCase):
    """
    Many clients send large requests, bit by bit.
    """

    def setUp(self) -> None:
        """
        A broker that keeps 100,000 bytes of half-received requests, one client
        that has sent most of that, and one that breaks the limit.
        """
        self.broker = Broker(memory_limit=100_000)
        self.broker.service.at_once = True
        self.large = produce(1, size=200_000)
        self.first, self.second = self.broker.connect(), self.broker.connect()
        self.first.send(self.large[:90_000])
        self.second.send(self.large[:60_000])

    def test_promises_cost_nothing(self) -> None:
        """
        Ten thousand clients that announce 100 MiB hold a few bytes each.
        """
        broker = Broker(max_connections=0, connections_max_idle_ms=0)
        for _ in range(10_000):
            broker.connect().send(struct.pack(">i", 100 * 2**20))
        self.assertEqual(broker.memory.total, 40_000)
        self.assertFalse(broker.memory.spent)

    def test_one_has_the_turn(self) -> None:
        """
        Beyond the limit one of them reads on, at full speed; the other waits
        until that one is done.
        """
        self.assertTrue(self.broker.memory.spent)
        self.assertFalse(self.first.transport.paused)
        self.assertEqual(self.first.transport.bufferSize, request_memory.READ)
        self.assertTrue(self.second.transport.paused)
        self.first.send(self.large[90_000:])
        self.assertEqual(self.first.answered(), [1])
        self.assertFalse(self.second.transport.paused)
        self.second.send(self.large[60_000:])
        self.assertEqual(self.second.answered(), [1])
        self.assertEqual(self.broker.memory.total, 0)
        self.assertFalse(self.broker.memory.spent)
        self.assertEqual(self.second.transport.bufferSize, request_memory.READ)

    def test_small_requests_pass(self) -> None:
        """
        Others are served meanwhile, by small reads.
        """
        third = self.broker.connect()
        third.send(heartbeat(5))
        self.assertEqual(third.answered(), [5])
        self.assertFalse(third.transport.paused)
        self.assertEqual(third.transport.bufferSize, 100_000 // 4 // 3)

    def test_turn_ends(self) -> None:
        """
        A connection that has the turn and stalls is closed; the next gets the turn.
        """
        third = self.broker.connect()
        third.send(self.large[:60_000])
        self.broker.clock.advance(request_memory.TURN_SECONDS)
        self.assertTrue(self.first.transport.aborted)
        self.first.go()
        self.assertFalse(self.second.transport.paused)
        self.assertTrue(third.transport.paused)
        self.second.send(self.large[60_000:])
        self.assertEqual(self.second.answered(), [1])
        self.assertFalse(third.transport.paused)

    def test_it_is_over(self) -> None:
        """
        With half of the limit free all read again, and no turn goes on.
        """
        self.second.go()
        self.first.go()
        self.assertFalse(self.broker.memory.spent)
        third = self.broker.connect()
        third.send(self.large[:90_000])
        self.broker.clock.advance(request_memory.TURN_SECONDS)
        self.assertFalse(third.transport.aborted)
        self.assertFalse(third.transport.paused)

    def test_one_alone(self) -> None:
        """
        A request that is larger than the limit gets through.
        """
        broker = Broker(memory_limit=10_000)
        broker.service.at_once = True
        client = broker.connect()
        for at in range(0, len(self.large), 5_000):
            self.assertFalse(client.transport.paused)
            client.send(self.large[at : at + 5_000])
        self.assertEqual(client.answered(), [1])

    def test_whole_frames_that_wait(self) -> None:
        """
        A connection that holds complete frames is read again when they are served; it
        needs no turn.
        """
        broker = Broker(memory_limit=100_000)
        client, other = broker.connect(), broker.connect()
        other.send(self.large[:90_000])
        client.send(fetch(1), produce(2, size=60_000), self.large[:20_000])
        self.assertTrue(client.transport.paused)
        broker.finish(0)
        self.assertEqual(broker.begun[1].request.topic_data[0].name, "t")
        broker.finish(1)
        self.assertEqual(client.answered(), [1, 2])


class IdleTests(SynchronousTestCase):
    """
    Clients that do nothing.
    """

    def setUp(self) -> None:
        """
        A broker that closes a connection after 60 s.
        """
        self.broker = Broker(connections_max_idle_ms=60_000)
        self.client = self.broker.connect()

    def assert_closes_after(self, seconds: float) -> None:
        """
        The connection is closed then, and not before.
        """
        self.broker.clock.advance(seconds - 1)
        self.assertFalse(self.client.transport.aborted)
        self.broker.clock.advance(1)
        self.assertTrue(self.client.transport.aborted)

    def test_nothing(self) -> None:
        """
        A client that never asks.
        """
        self.assert_closes_after(60)

    def test_since_the_last_answer(self) -> None:
        """
        The time counts from the last answer, however long that took.
        """
        self.client.send(fetch(1))
        self.broker.clock.pump([50] * 5)
        self.assertFalse(self.client.transport.aborted)
        self.broker.finish(0)
        self.assert_closes_after(60)

    def test_dripping(self) -> None:
        """
        A frame that comes byte by byte does not count as doing something.
        """
        for byte in produce(1, size=100)[:59]:
            self.broker.clock.advance(1)
            self.client.send(bytes([byte]))
        self.assert_closes_after(1)

    def test_answers_not_taken(self) -> None:
        """
        A client that takes no answers is idle; one that takes some is not.
        """
        self.broker.service.at_once = True
        self.client.send(heartbeat(1))
        self.client.transport.room = 0
        self.client.send(heartbeat(2))
        self.broker.clock.advance(59)
        self.client.transport.drain(0)
        self.assert_closes_after(60)

    def test_closing_not_taken(self) -> None:
        """
        A connection that is being closed, with an answer that is not taken
        and requests that are never to be answered, is idle; and it takes no
        memory from the others.
        """
        self.client.send(produce(1), produce(2, acks=0), produce(3, size=10))
        self.client.send(struct.pack(">i", 1000) + b"half a request")
        self.client.transport.room = 0
        self.broker.finish(0)
        self.broker.begun[1].answer.errback(ValueError("no"))
        self.flushLoggedErrors(ValueError)
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual(self.broker.memory.total, 0)
        self.client.transport.drain(0)
        self.assertEqual(self.broker.memory.total, 0)
        self.broker.clock.advance(120)
        self.assertTrue(self.client.transport.aborted)

    def test_slowed(self) -> None:
        """
        A client that the broker does not read from is not idle.
        """
        self.broker.pressure.high = True
        self.client.send(produce(1))
        self.broker.clock.pump([50] * 5)
        self.broker.pressure.relieve()
        self.broker.finish(0)
        self.assert_closes_after(60)

    def test_never(self) -> None:
        """
        0 means never.
        """
        broker = Broker(connections_max_idle_ms=0)
        broker.connect()
        self.assertEqual(broker.clock.getDelayedCalls(), [])
