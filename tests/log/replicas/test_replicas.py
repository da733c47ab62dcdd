"""
Reading what another broker leads: a real leader, its Fetch service, and the
replicas that follow it, on one clock.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, execute, fail, maybeDeferred
from twisted.logger import capturedLogs, formatEvent
from zope.interface import implementer
from zope.interface.verify import verifyObject

from kafscale.access.quotas.quotas import Quotas
from kafscale.cluster.image import Image
from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import ConversionCounts
from kafscale.errors import (
    NotLeaderOrFollower,
    OffsetNotAvailable,
    OffsetOutOfRange,
    StoreUnavailable,
    UnknownLeaderEpoch,
)
from kafscale.format import metadata_keys
from kafscale.format.partition import PartitionRecord
from kafscale.interfaces import (
    Broker as Address,
)
from kafscale.interfaces import (
    IPeer,
    IReadable,
    IReplicas,
    PeerUnavailable,
    Phase,
    Put,
    RequestContext,
)
from kafscale.log.environment import LogEnvironment
from kafscale.log.reading.cache import BlockCache
from kafscale.log.replicas import replicas
from kafscale.log.replicas.replica import Replica
from kafscale.log.replicas.replicas import Replicas
from kafscale.log.settings import LogSettings
from kafscale.net.fetch_client import FetchClient
from kafscale.services.records.fetch import FetchService
from kafscale.services.records.message_set_conversion import DownConverter
from kafscale.wire.messages import FetchRequest, FetchResponse
from tests.harness.coroutines import begin, now
from tests.harness.sessions import SESSION
from tests.log import contract
from tests.log.brokers import TOPIC, WHERE, Broker, BrokerTestCase, records_of, values_of

ME = Address(9, "here", 9092, "b")


@implementer(IPeer)
class FakePeer:
    """
    A connection to a leader's Fetch service, through the protocol's bytes.

    @ivar asked: The requests, in order.
    """

    def __init__(self, cluster: Cluster, broker_id: int) -> None:
        self._cluster = cluster
        self._broker_id = broker_id
        self.asked: list[FetchRequest] = []
        self.closed = False

    def ask(self, request: Any, version: int, seconds: float) -> Deferred[Any]:
        """
        See L{IPeer.ask}.
        """
        if self._broker_id in self._cluster.cut:
            return fail(PeerUnavailable("cut"))
        read = FetchRequest.decode(version, b"".join(request.encode(version)))
        self.asked.append(read)
        context = RequestContext(version, "c", "h", self, SESSION)
        answer: Any = self._cluster.services[self._broker_id].fetch
        answered: Deferred[Any] = maybeDeferred(answer, read, context)

        def sent(response: FetchResponse) -> FetchResponse:
            return FetchResponse.decode(version, b"".join(response.encode(version)))

        return answered.addCallback(sent)

    def close(self) -> None:
        """
        See L{IPeer.close}.
        """
        self.closed = True


class Cluster:
    """
    The brokers, and the replicas on one of them.

    @ivar cut: The ids of brokers that cannot be reached.
    @ivar peers: All connections that were ever made, in order: two for each
        fetcher, one for polls and one for single reads.
    """

    def __init__(self, case: BrokerTestCase, leader: Broker) -> None:
        self.shared = case.shared
        self.clock = leader.clock
        self.cut: set[int] = set()
        self.peers: list[FakePeer] = []
        self.services: dict[int, FetchService] = {}
        topic = {"name": "t", "partitions": 1, "configs": {}, "created_ms": 0}
        now(self.shared.metadata.commit([], [Put(f"topics/{TOPIC}", topic)]))
        self.register(1)
        self.image = Image(self.shared.metadata, "cluster", ME)
        now(self.image.start())
        environment = LogEnvironment(
            broker_id=ME.broker_id,
            objects=self.shared.objects,
            metadata=self.shared.metadata,
            cache=BlockCache(self.shared.objects, 1 << 20),
            clock=self.clock,
            settings=LogSettings(),
            work=WorkQueue(self.clock, execute),
        )
        self.counts = environment.counts
        self.replicas = Replicas(
            environment,
            self.image,
            lambda leader: FetchClient(self.dial(leader), self.dial(leader), 0),
        )
        self.image.on_change(self.replicas.changed)
        self.serve(1, leader)
        case.addCleanup(self.replicas.stop)

    def register(self, broker_id: int, port: int = 1) -> None:
        """
        Register a broker.
        """
        value = {
            "host": "h", "port": port, "rack": "a", "weight": 1.0, "version": "",
            "incarnation": 1, "phase": Phase.SERVING,
        }  # fmt: skip
        now(self.shared.metadata.commit([], [Put(f"brokers/{broker_id}", value)]))

    def serve(self, broker_id: int, broker: Broker, sessions: int = 1000) -> None:
        """
        Answer fetches from this broker's log, with room for so many sessions.
        """
        old = DownConverter(
            self.image, lambda configs: True, WorkQueue(self.clock, execute), ConversionCounts()
        )
        self.services[broker_id] = FetchService(
            self.image,
            broker.log,
            self.clock,
            iter(range(100, 10_000)).__next__,
            old,
            Quotas(self.clock.seconds),
            sessions,
        )

    def dial(self, broker: Address) -> FakePeer:
        """
        Make a connection to a broker.
        """
        self.peers.append(FakePeer(self, broker.broker_id))
        return self.peers[-1]


class Reading:
    """
    A reader of the partition that behaves like a fetch.

    @ivar woken: How often it was woken.
    """

    def __init__(self, partition: Replica, offset: int = 0) -> None:
        self.partition = partition
        self.offset = offset
        self.values: list[bytes] = []
        self.woken = 0

    def wake(self) -> None:
        """
        See L{Watcher.wake}.
        """
        self.woken += 1

    def look(self) -> int:
        """
        Return how many bytes there are; watch if there are none.
        """
        found = self.partition.available(self.offset)
        if not found:
            self.partition.watch(self)
        return found

    def read(self, max_bytes: int = 1 << 20) -> int:
        """
        Read once; return how many bytes came.
        """
        fetched = self.partition.read(self.offset, max_bytes, True)
        if fetched is None:
            loading = begin(self.partition.load(self.offset, max_bytes, True))
            results: list[Any] = []
            loading.addBoth(results.append)
            assert results, "it waits"
            if not hasattr(results[0], "pieces"):
                results[0].raiseException()
            fetched = results[0]
        records = [record for record in records_of(fetched) if record.offset >= self.offset]
        if records:
            assert [each.offset for each in records] == [
                self.offset + number for number in range(len(records))
            ]
            self.offset = records[-1].offset + 1
        self.values += [each.value or b"" for each in records]
        return fetched.size


class ReplicasTestCase(BrokerTestCase):
    """
    Broker 1 leads; broker 9 is tested.
    """

    def setUp(self) -> None:
        """
        Begin with an empty partition.
        """
        super().setUp()
        self.begin()

    def begin(self, **settings: Any) -> None:
        """
        Start a leader with these settings.
        """
        self.first = self.leader(**settings)
        self.cluster = Cluster(self, self.first)
        self.replicas = self.cluster.replicas
        self.written: list[bytes] = []

    def append(self, *values: bytes, broker: Broker | None = None) -> None:
        """
        Append batches of one record, durably.
        """
        broker = broker or self.first
        for value in values:
            broker.append(value)
            self.written.append(value)
        broker.run(0.1)

    def run_for(self, seconds: float) -> None:
        """
        Let time pass.
        """
        for _ in range(int(seconds * 10)):
            self.first.run(0.1)

    def roll(self) -> None:
        """
        Roll everything into segments; the same broker leads in the next epoch.
        """
        done = begin(self.first.log.release([WHERE]))
        self.first.run()
        self.successResultOf(done)
        done = self.first.recover()
        self.first.run()
        self.successResultOf(done)

    def replica(self) -> Replica:
        """
        Return the partition on broker 9.
        """
        return self.replicas.partition(*WHERE)

    def read_all(self, *args: Any) -> list[bytes]:
        """
        Return what a reader from the start gets.
        """
        reading = args[0] if args else Reading(self.replica())
        idle = 0
        while idle < 20:
            if reading.look():
                idle = 0 if reading.read() else idle + 1
            else:
                idle += 1
                self.run_for(0.1)
        found: list[bytes] = reading.values
        return found


class ReplicaTests(ReplicasTestCase, contract.ReadableContract):
    """
    L{Replica} keeps the contract of what can be read, for a consumer that has
    asked for it before.
    """

    def setUp(self) -> None:
        """
        Have the replica follow the leader.
        """
        super().setUp()
        self.readable = self.replica()
        self.first_reading = Reading(self.readable)
        self.follow()

    def follow(self) -> None:
        """
        Let the replica catch up with the leader, as a consumer asks for it.
        """
        self.first_reading.look()
        self.run_for(1.0)

    def put(self, *values: bytes, timestamp: int = 0) -> None:
        """
        Append on the leader.
        """
        self.append(*values)
        self.follow()

    def move_log_start(self, offset: int) -> None:
        """
        Delete records on the leader.
        """
        self.result(self.first.partition().delete_before(offset))
        self.follow()

    def drop(self) -> None:
        """
        Drop the replica.
        """
        self.readable.drop()

    def result(self, awaitable: Any) -> Any:
        """
        The result of a call, some time later.
        """
        asked = begin(awaitable)
        self.run_for(1.0)
        return now(asked)


class ReadTests(ReplicasTestCase):
    """
    Reads through replicas.
    """

    def test_interfaces(self) -> None:
        """
        They provide their interfaces.
        """
        self.assertTrue(verifyObject(IReplicas, self.replicas))
        self.assertTrue(verifyObject(IReadable, self.replica()))

    def test_tail(self) -> None:
        """
        Records in no segment come from the leader, once for all readers.
        """
        self.append(*(b"%d" % number for number in range(20)))
        readings = [Reading(self.replica()) for _ in range(3)]
        for reading in readings:
            self.assertEqual(self.read_all(reading), self.written)
        size = self.first.partition().tail.size
        self.assertEqual(self.replicas.fetched, size)
        self.assertEqual(self.cluster.counts.topic(TOPIC).bytes_out, 3 * size)
        self.assertEqual(self.replicas.size, size)

    def test_segments(self) -> None:
        """
        Records in segments are read from the store, and the leader is not asked.
        """
        self.append(*(b"%d" % number for number in range(20)))
        self.roll()
        self.append(b"more")
        reading = Reading(self.replica())
        while reading.offset < 20:
            self.assertTrue(reading.look())
            reading.read()
        self.assertEqual(self.cluster.peers, [])
        self.assertEqual(self.replica().high_watermark, 20)
        self.assertEqual(self.read_all(reading), self.written)
        self.assertEqual(self.replicas.fetched, self.first.partition().tail.size)

    def test_waits(self) -> None:
        """
        A waiting reader is woken by the leader's appends, at once.
        """
        self.append(b"a")
        reading = Reading(self.replica(), 1)
        self.assertEqual(reading.look(), 0)
        self.run_for(1.0)
        self.assertEqual(self.replica().high_watermark, 1)
        self.assertEqual(reading.look(), 0)
        reading.woken = 0
        self.append(b"b")
        self.assertEqual(reading.woken, 1)
        self.assertTrue(reading.look())
        reading.read()
        self.assertEqual(reading.values, [b"b"])

    def test_high_watermark(self) -> None:
        """
        What is not visible on the leader is not visible here (rule 23).
        """
        self.append(b"a")
        reading = Reading(self.replica())
        self.assertEqual(self.read_all(reading), [b"a"])
        self.first.obey(None)
        self.first.append(b"b")
        self.run_for(0)
        self.first.clock.advance(1.0)
        self.assertEqual(self.first.partition().next_offset, 2)
        self.assertEqual((reading.look(), self.replica().high_watermark), (0, 1))
        self.run_for(1.0)
        self.assertTrue(reading.look())

    def test_no_false_end(self) -> None:
        """
        Until the leader has answered, readers at the end of the segments get no
        high watermark: they would take it for the end.
        """
        self.append(b"a")
        self.roll()
        self.append(b"b")
        reading = Reading(self.replica(), 1)
        self.cluster.cut.add(1)
        self.assertEqual((reading.look(), self.replica().high_watermark), (0, -1))
        self.cluster.cut.clear()
        self.run_for(1.0)
        self.assertEqual(self.replica().high_watermark, 2)

    def test_ahead(self) -> None:
        """
        A reader may be ahead for a moment, after it has read from the leader. One
        that stays ahead is sent back to the leader.
        """
        self.append(b"a")
        self.assertEqual(self.read_all(), [b"a"])
        reading = Reading(self.replica(), 2)
        self.assertEqual(reading.look(), 0)
        self.append(b"b", b"c")
        self.assertTrue(reading.look())
        reading.read()
        self.assertEqual(reading.values, [b"c"])
        far = Reading(self.replica(), 1000)
        self.assertEqual(far.look(), 0)
        self.run_for(3.0)
        self.assertEqual(far.woken, 1)
        self.assertRaises(OffsetNotAvailable, far.look)

    def test_log_start(self) -> None:
        """
        Deleted offsets are out of range here, too, and readers are woken.
        """
        self.append(*(b"%d" % number for number in range(5)))
        self.read_all()
        reading = Reading(self.replica(), 5)
        reading.look()
        done = begin(self.first.partition().delete_before(3))
        self.run_for(2.0)
        self.successResultOf(done)
        self.assertGreater(reading.woken, 0)
        self.assertEqual(self.replica().log_start, 3)
        self.assertRaises(OffsetOutOfRange, self.replica().read, 2, 100, True)
        fetched = self.replica().read(3, 1 << 20, True)
        assert fetched is not None
        self.assertEqual(values_of(fetched), [b"3", b"4"])

    def test_deleted_segment(self) -> None:
        """
        A missing segment may have been deleted: the reader is sent to the leader.
        """
        self.append(b"a")
        self.roll()
        reading = Reading(self.replica())
        self.assertTrue(reading.look())
        now(self.shared.objects.delete(self.shared.keys("default/topics/")))
        self.assertRaises(NotLeaderOrFollower, reading.read)

    def test_epochs(self) -> None:
        """
        Known epochs are answered; those that began after what is known here are
        not.
        """
        self.append(b"a")
        self.roll()
        self.append(b"b")
        replica = self.replica()
        self.read_all()
        self.assertEqual(replica.leader_epoch, self.first.partition().leader_epoch)
        self.assertEqual(replica.end_of_epoch(0), (0, 1))
        self.assertEqual(replica.end_of_epoch(1)[0], 1)
        self.assertGreaterEqual(replica.end_of_epoch(1)[1], 2)
        self.assertRaises(UnknownLeaderEpoch, replica.end_of_epoch, 2)


class MemoryTests(ReplicasTestCase):
    """
    What is kept in memory, and what is read again.
    """

    def setUp(self) -> None:
        """
        Give replicas little memory.
        """
        super().setUp()
        self.patch(replicas, "MAX_REPLICA_BYTES", 10_000)

    def test_no_further_than_readers(self) -> None:
        """
        Records are fetched only near a reader; each reader gets all, once.
        """
        self.append(*(b"%d" % number + bytes(2000) for number in range(300)))
        reading = Reading(self.replica())
        while len(reading.values) < 300:
            if not reading.look():
                self.run_for(0.1)
            elif not reading.read(3000):
                self.fail("nothing came")
        self.assertEqual(reading.values, self.written)
        self.assertEqual(self.replicas.fetched, self.first.partition().tail.size)

    def test_slow_reader(self) -> None:
        """
        For a reader far behind the others the leader is asked again, and memory
        stays bounded.
        """
        self.append(*(b"%d" % number + bytes(2000) for number in range(10)))
        slow, fast = Reading(self.replica()), Reading(self.replica())
        slow.look()
        self.read_all(fast)
        self.append(*(b"%d" % number + bytes(2000) for number in range(50)))
        self.assertEqual(self.read_all(fast), self.written)
        self.run_for(1.0)
        self.assertLess(self.replicas.size, 15_000)
        self.assertEqual(self.read_all(slow), self.written)

    def test_heard(self) -> None:
        """
        A bound that comes with a single read is for all readers: the high
        watermark is never below what was visible.
        """
        self.append(b"a")
        replica = self.replica()
        self.read_all()
        self.assertEqual(replica.high_watermark, 1)
        replica.take_bounds(5, 0)
        self.assertEqual(replica.high_watermark, 5)
        replica.unwanted()
        replica.take_bounds(7, 0)
        self.assertEqual(replica.high_watermark, 7)

    def test_lookup_fails(self) -> None:
        """
        A read that fails here and on the leader is refused, so that the reader
        asks elsewhere.
        """
        self.append(*(b"%d" % number + bytes(2000) for number in range(50)))
        fast = Reading(self.replica(), 40)
        self.read_all(fast)
        slow = Reading(self.replica())
        self.assertTrue(slow.look())
        self.cluster.cut.add(1)
        self.assertRaises(NotLeaderOrFollower, slow.read)
        self.cluster.cut.clear()
        slow.read()
        self.assertEqual(slow.values[0], self.written[0])


class FetcherTests(ReplicasTestCase):
    """
    Leaders that come and go.
    """

    def test_session(self) -> None:
        """
        A poll names only what has changed.
        """
        self.append(b"a")
        reading = Reading(self.replica())
        self.read_all(reading)
        asked = self.cluster.peers[0].asked
        self.assertEqual([each.session_epoch for each in asked[:4]], [0, 1, 2, 3])
        self.assertEqual([len(each.topics) for each in asked[:4]], [1, 1, 0, 0])

    def test_wanted_again(self) -> None:
        """
        A partition that loses its readers and gets others before the next poll
        gets the leader's whole answer again.
        """
        self.append(b"a")
        self.read_all()
        replica = self.replica()
        (fetcher,) = self.replicas.fetchers.values()
        fetcher.remove(replica)
        replica.unwanted()
        self.assertEqual(replica.available(1), 0)
        fetcher.add(replica)
        self.assertEqual(replica.high_watermark, -1)
        self.run_for(3.0)
        self.assertEqual(replica.high_watermark, 1)

    def test_session_lost(self) -> None:
        """
        A leader that has forgotten the session is asked for everything again.
        """
        self.append(b"a")
        reading = Reading(self.replica())
        self.read_all(reading)
        self.cluster.serve(1, self.first)
        self.append(b"b")
        self.assertEqual(self.read_all(reading), [b"a", b"b"])

    def test_no_session(self) -> None:
        """
        A leader without room for a session is asked for everything each time.
        """
        self.cluster.serve(1, self.first, sessions=0)
        self.append(b"a")
        reading = Reading(self.replica())
        self.read_all(reading)
        self.append(b"b")
        self.assertEqual(self.read_all(reading), [b"a", b"b"])
        self.assertEqual({each.session_epoch for each in self.cluster.peers[0].asked}, {0})

    def test_silence(self) -> None:
        """
        When a leader is silent for some seconds, waiting readers are sent to it,
        and readers of what is here continue; later all is as before.
        """
        self.append(b"a", b"b")
        reading = Reading(self.replica())
        self.read_all(reading)
        self.cluster.cut.add(1)
        self.run_for(4.0)
        self.assertEqual(reading.look(), 0)
        self.run_for(3.0)
        self.assertGreater(reading.woken, 0)
        self.assertRaises(NotLeaderOrFollower, reading.look)
        again = Reading(self.replica())
        again.look()
        again.read()
        self.assertEqual(again.values, [b"a", b"b"])
        self.cluster.cut.clear()
        self.append(b"c")
        self.run_for(1.0)
        self.assertTrue(reading.look())

    def test_another_leader(self) -> None:
        """
        The next leader is followed from where the last one was left, also at
        another address.
        """
        self.append(b"a")
        reading = Reading(self.replica())
        self.read_all(reading)
        done = begin(self.first.log.release([WHERE]))
        self.first.run()
        self.successResultOf(done)
        second = self.broker(broker_id=2)
        self.cluster.serve(2, second)
        done = second.recover()
        second.run()
        self.successResultOf(done)
        self.append(b"b", broker=second)
        self.assertEqual(self.read_all(reading), [b"a", b"b"])
        self.cluster.register(2, port=7)
        self.assertTrue(all(peer.closed for peer in self.cluster.peers[:-2]))
        self.append(b"c", broker=second)
        self.assertEqual(self.read_all(reading), [b"a", b"b", b"c"])
        self.assertEqual(len(self.cluster.peers), 6)

    def test_led_here(self) -> None:
        """
        A partition that this broker comes to lead is not followed any more, and
        its readers are woken.
        """
        self.append(b"a")
        reading = Reading(self.replica())
        self.read_all(reading)
        replica, reading.woken = self.replica(), 0
        record = self.shared.value(metadata_keys.partition(*WHERE)) | {"leader": 9, "epoch": 7}
        now(self.shared.metadata.commit([], [Put(metadata_keys.partition(*WHERE), record)]))
        self.assertTrue(replica.dropped)
        self.assertGreater(reading.woken, 0)
        self.assertRaises(NotLeaderOrFollower, replica.read, 0, 1, True)
        self.assertTrue(all(peer.closed for peer in self.cluster.peers))
        self.assertEqual((len(self.replicas), self.replicas.size), (0, 0))

    def test_nobody_reads(self) -> None:
        """
        Without readers nothing is polled, and after a while nothing is kept. A
        waiting reader counts.
        """
        self.append(b"a")
        reading = Reading(self.replica())
        self.read_all(reading)
        for _ in range(10):
            self.run_for(9.0)
            reading.look()
        self.assertEqual(len(self.replicas), 1)
        self.assertFalse(self.cluster.peers[0].closed)
        self.run_for(60.0)
        self.assertTrue(self.cluster.peers[0].closed)
        self.assertEqual((len(self.replicas), self.replicas.size), (0, 0))

    def test_nobody_at_the_end(self) -> None:
        """
        When readers are only in segments, other records are not fetched any more;
        they are when a reader comes to them.
        """
        self.append(b"a")
        self.roll()
        self.append(b"b")
        reading = Reading(self.replica())
        self.read_all(reading)
        back = Reading(self.replica())
        for _ in range(6):
            self.run_for(10.0)
            back.look()
        self.assertEqual((len(self.replicas), self.replicas.size), (1, 0))
        self.assertTrue(self.cluster.peers[0].closed)
        self.assertEqual(self.replica().high_watermark, 2)
        self.append(b"c")
        self.assertEqual(self.read_all(back), [b"a", b"b", b"c"])

    def test_no_record(self) -> None:
        """
        A partition that was never led has no record to read.
        """
        where = UUID(int=77), 0
        replica = self.replicas.partition(*where)
        self.assertRaises(NotLeaderOrFollower, replica.available, 0)
        record = PartitionRecord(leader=1, epoch=0, rolled_to=1).to_json()
        now(self.shared.metadata.commit([], [Put(metadata_keys.partition(*where), record)]))
        self.assertTrue(replica.available(0))

    def test_store_is_away(self) -> None:
        """
        While the metadata store is unavailable, readers are sent to the leader;
        the record is read again until the store answers.
        """
        self.append(b"a")
        away: list[Deferred[None]] = []
        get = self.shared.metadata.get

        async def late(key: str) -> Any:
            away.append(Deferred())
            await away[-1]
            return await get(key)

        self.patch(self.shared.metadata, "get", late)
        reading = Reading(self.replica())
        self.assertEqual(reading.look(), 0)
        self.run_for(6.0)
        self.assertEqual(reading.woken, 1)
        self.assertRaises(NotLeaderOrFollower, reading.look)
        self.run_for(20.0)
        self.assertRaises(NotLeaderOrFollower, reading.look)
        self.assertEqual(len(away), 1)
        with capturedLogs() as logged:
            away[0].errback(StoreUnavailable("503"))
        self.assertIn("its leader meanwhile: 503", formatEvent(logged[0]))
        self.run_for(12.0)
        self.assertRaises(NotLeaderOrFollower, reading.look)
        away[1].callback(None)
        self.assertEqual(self.read_all(reading), [b"a"])
