"""
A disk that is full.
"""

from __future__ import annotations

import socket

from kafscale.format.object_keys import JOURNAL, kind_of
from kafscale.wire.messages import CreateTopicsRequest, ProduceResponse
from tests.clients.broker import Broker, BrokerTestCase, eventually, free_port, page
from tests.clients.disk import MIB, SmallDisk
from tests.clients.raw import LATEST, RawClient, batch_of
from tests.clients.stored import Directory

NONE = 0
REQUEST_TIMED_OUT = 7
TOPIC_ALREADY_EXISTS = 36
SEGMENT_BYTES = 64 << 10


class DiskTestCase(BrokerTestCase):
    """
    A broker whose data directory is on a small disk.
    """

    def observed(self, **settings: object) -> Broker:
        """
        A broker with HTTP for operators, not started.
        """
        self.http = free_port()
        broker = self.prepared(metrics_addr=f"127.0.0.1:{self.http}", **settings)
        self.disk = SmallDisk(broker.data, 8 * MIB)
        self.addCleanup(self.disk.close)
        broker.entering = self.disk.entering
        return broker

    def get(self, path: str) -> tuple[int, str]:
        """
        Return the status and the text of an operators' page.
        """
        return page(self.http, path)

    def fill_at_rest(self) -> None:
        """
        Fill the disk when nothing more is rolled and no slot is deleted any
        more: deleting would make room again.
        """
        eventually(self.is_at_rest)
        self.disk.fill()

    def is_at_rest(self) -> bool:
        """
        Whether what is in memory is less than a segment, and the journal has
        only the slots that are still needed. Nothing is produced meanwhile.
        """
        lines = self.get("/metrics")[1].splitlines()
        values = dict(line.split(" ") for line in lines if line.startswith("kafscale_"))
        keys = Directory(self.disk.seen / "objects").sizes()
        slots = sum(kind_of(key) == JOURNAL for key in keys)
        is_rolled = float(values["kafscale_unrolled_bytes"]) < SEGMENT_BYTES
        return is_rolled and slots == float(values["kafscale_journal_slots"])

    def assert_refuses(self, broker: Broker) -> None:
        """
        The broker does not start, and says in one line that the disk is full.
        """
        before = broker.tail(100_000)
        broker.start(wait=False)
        self.assertEqual(broker.ended(30), 1)
        log = broker.tail(100_000).removeprefix(before)
        self.assertNotIn("Traceback", log)
        (why,) = [line for line in log.splitlines() if "cannot" in line]
        self.assertRegex(why, "No space left on device|disk is full")


class FullDiskTests(DiskTestCase):
    """
    Records and metadata are on it.
    """

    def test_waits_for_room(self) -> None:
        """
        While the disk is full nothing is acknowledged, the log and C{/readyz}
        give the reason, and stored records can be read. When there is room
        again the broker goes on by itself, and stores waiting records once.
        """
        broker = self.observed(segment_bytes=SEGMENT_BYTES).start()
        raw = self.connect(broker)
        raw.create("log")
        values = [b"%d" % number * 1000 for number in range(100)]
        for value in values:
            self.assertEqual(raw.produce("log", 0, batch_of([value])).error_code, 0)
        for _ in range(2):
            self.fill_at_rest()
            request = raw.produce_request("log", 0, batch_of([b"during"]))
            correlation = raw.send(request, 9)
            eventually(lambda: self.get("/readyz")[0] == 503)
            self.assertIn("No space left on device", self.get("/readyz")[1])
            self.assertEqual(self.get("/healthz"), (200, "ok\n"))
            eventually(lambda: "object store request failed, retrying" in broker.tail())
            with RawClient(broker.port) as other:
                self.assertEqual([each.value for each in other.records("log")], values)
                self.assertEqual(other.offset("log", 0, LATEST), len(values))
            raw.socket.settimeout(0.5)
            self.assertRaises(TimeoutError, raw.socket.recv, 1, socket.MSG_PEEK)
            raw.socket.settimeout(30)
            self.disk.make_room()
            answer: ProduceResponse = raw.receive(request, 9, correlation)
            (part,) = answer.responses[0].partition_responses
            self.assertEqual((part.error_code, part.base_offset), (0, len(values)))
            values.append(b"during")
            eventually(lambda: self.get("/readyz") == (200, "ok\n"))
        self.assertIn("object store request succeeded after", broker.tail())
        self.assertNotIn("Traceback", broker.tail(1000))
        broker.kill()
        broker.start()
        self.assertEqual([each.value for each in self.connect(broker).records("log")], values)

    def test_killed_meanwhile(self) -> None:
        """
        A broker that is killed while the disk is full does not start on it,
        and says why; when there is room it does, and has all that it
        acknowledged.
        """
        broker = self.observed().start()
        raw = self.connect(broker)
        raw.create("log")
        self.assertEqual(raw.produce("log", 0, batch_of([b"before"])).error_code, 0)
        self.fill_at_rest()
        raw.send(raw.produce_request("log", 0, batch_of([b"during"])), 9)
        eventually(lambda: self.get("/readyz")[0] == 503)
        broker.kill()
        self.assert_refuses(broker)
        self.disk.make_room()
        values = [each.value for each in self.connect(broker.start()).records("log")]
        self.assertEqual(values, [b"before"])


class FullMetadataTests(DiskTestCase):
    """
    The records are in a bucket, and only the metadata on the disk that is full.
    """

    bucketed = True

    def test_records_are_taken(self) -> None:
        """
        Records are acknowledged, because they are stored. What has to be
        written into the metadata waits, or is refused with an error that can
        be retried, and C{/readyz} says why; with room again it is done. A
        broker that is killed meanwhile does not start before.
        """
        broker = self.observed(segment_bytes=SEGMENT_BYTES).start()
        raw = self.connect(broker)
        raw.create("log")
        values = [b"%d" % number * 1000 for number in range(100)]
        self.disk.fill()
        for value in values:
            self.assertEqual(raw.produce("log", 0, batch_of([value])).error_code, 0)
        self.assertEqual(self.created(raw, "other"), REQUEST_TIMED_OUT)
        eventually(lambda: self.get("/readyz")[0] == 503)
        self.assertRegex(self.get("/readyz")[1], r"\Ametadata store: .*full\n\Z")
        self.assertEqual(self.get("/healthz"), (200, "ok\n"))
        self.assertEqual([each.value for each in raw.records("log")], values)
        broker.kill()
        self.assert_refuses(broker)
        self.disk.make_room()
        raw = self.connect(broker.start())
        self.assertEqual([each.value for each in raw.records("log")], values)
        self.disk.fill()
        self.assertEqual(self.created(raw, "other"), REQUEST_TIMED_OUT)
        self.disk.make_room()
        eventually(lambda: self.created(raw, "other") in (NONE, TOPIC_ALREADY_EXISTS))
        eventually(lambda: self.get("/readyz") == (200, "ok\n"))
        broker.restart()
        raw = self.connect(broker)
        self.assertEqual([each.value for each in raw.records("log")], values)
        self.assertEqual(raw.offset("other"), 0)

    def created(self, raw: RawClient, name: str) -> int:
        """
        The error with which a topic is created, after a second at most.
        """
        topic = CreateTopicsRequest.Topic(
            name=name, num_partitions=1, replication_factor=1, assignments=[], configs=[]
        )
        (answer,) = raw.call(CreateTopicsRequest(topics=[topic], timeout_ms=1000), 7).topics
        return int(answer.error_code)
