"""
Buckets that are away, or refuse: at the start, and later.
"""

from __future__ import annotations

import socket

from kafscale.wire.messages import ProduceResponse
from tests.clients.broker import eventually, free_port
from tests.clients.buckets import FailureTestCase
from tests.clients.raw import LATEST, RawClient, batch_of
from tests.clients.wire import Wire
from tests.harness import s3
from tests.harness.identities import READER, variables


class OutageTests(FailureTestCase):
    """
    A store that is away.
    """

    def test_nothing_acknowledged_nothing_lost(self) -> None:
        """
        While the store is away nothing is acknowledged. When it is back the
        broker goes on by itself, and records that waited are stored once.
        """
        wire = Wire(int(s3.server().endpoint.rpartition(":")[2]))
        self.addCleanup(wire.close)
        broker = self.observed(s3_endpoint=wire.endpoint).start()
        raw = self.connect(broker)
        raw.create("log")
        self.assertEqual(raw.produce("log", 0, batch_of([b"before"])).error_code, 0)
        wire.cut()
        request = raw.produce_request("log", 0, batch_of([b"during"]))
        correlation = raw.send(request, 9)
        eventually(lambda: "object store request failed, retrying" in broker.tail())
        eventually(lambda: self.get("/readyz")[0] == 503)
        with RawClient(broker.port) as other:
            self.assertEqual(other.offset("log", 0, LATEST), 1)
        raw.socket.settimeout(0.5)
        self.assertRaises(TimeoutError, raw.socket.recv, 1, socket.MSG_PEEK)
        raw.socket.settimeout(30)
        wire.mend()
        answer: ProduceResponse = raw.receive(request, 9, correlation)
        (part,) = answer.responses[0].partition_responses
        self.assertEqual((part.error_code, part.base_offset), (0, 1))
        self.assertEqual([each.value for each in raw.records("log")], [b"before", b"during"])
        eventually(lambda: "object store request succeeded after" in broker.tail())
        eventually(lambda: self.get("/readyz")[0] == 200)

    def test_away_at_the_start(self) -> None:
        """
        A broker that starts while the store is away waits for it, and is not
        ready; when it comes the start goes on.
        """
        wire = Wire(int(s3.server().endpoint.rpartition(":")[2]))
        self.addCleanup(wire.close)
        wire.cut()
        broker = self.observed(s3_endpoint=wire.endpoint).start()
        eventually(lambda: self.get("/readyz")[0] == 503)
        self.assertIn("the broker is starting", self.get("/readyz")[1])
        wire.mend()
        self.connect(broker).create("log")
        eventually(lambda: self.get("/readyz") == (200, "ok\n"))

    def test_stopped_meanwhile(self) -> None:
        """
        A broker that is stopped while the store is away stops within
        C{KAFSCALE_SHUTDOWN_MS}, and the next start finds all acknowledged
        records.
        """
        wire = Wire(int(s3.server().endpoint.rpartition(":")[2]))
        self.addCleanup(wire.close)
        broker = self.broker(s3_endpoint=wire.endpoint, shutdown_ms=2000)
        raw = self.connect(broker)
        raw.create("log")
        self.assertEqual(raw.produce("log", 0, batch_of([b"before"])).error_code, 0)
        wire.cut()
        raw.send(raw.produce_request("log", 0, batch_of([b"during"])), 9)
        eventually(lambda: "object store request failed, retrying" in broker.tail())
        self.assertEqual(broker.terminate(), 0)
        wire.mend()
        broker.start()
        values = [each.value for each in self.connect(broker).records("log")]
        self.assertIn(values, ([b"before"], [b"before", b"during"]))

    def test_stopped_at_the_start(self) -> None:
        """
        A broker that still tries to reach the store stops in time, too.
        """
        broker = self.observed(s3_endpoint=f"http://127.0.0.1:{free_port()}").start(wait=False)
        eventually(lambda: self.get("/readyz")[0] == 503)
        self.assertEqual(broker.terminate(), 0)
        self.assertNotIn("Traceback", broker.tail())


class RefusalTests(FailureTestCase):
    """
    A bucket that cannot hold a log costs one line and exit status 1.
    """

    def test_no_such_bucket(self) -> None:
        """
        The bucket does not exist.
        """
        self.assert_refuses(self.prepared(s3_bucket="nowhere"), "nowhere", "NoSuchBucket")

    def test_wrong_key(self) -> None:
        """
        The server does not know us.
        """
        broker = self.prepared()
        broker.variables["AWS_ACCESS_KEY_ID"] = "somebody"
        self.assert_refuses(broker, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID")

    def test_wrong_secret(self) -> None:
        """
        The server knows us, and does not believe us.
        """
        broker = self.prepared()
        broker.variables["AWS_SECRET_ACCESS_KEY"] = "wrong"
        self.assert_refuses(broker, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY")

    def test_no_credentials(self) -> None:
        """
        There are no credentials.
        """
        broker = self.prepared()
        broker.variables |= {
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(self.folder),
        }
        self.assert_refuses(broker, "no credentials")

    def test_unknown_profile(self) -> None:
        """
        The AWS profile does not exist.
        """
        broker = self.prepared()
        broker.variables["AWS_PROFILE"] = "of-nobody"
        self.assert_refuses(broker, "of-nobody")

    def test_read_only(self) -> None:
        """
        Nothing may be written.
        """
        broker = self.prepared()
        broker.variables |= variables(READER)
        self.assert_refuses(broker, "AccessDenied", "s3:PutObject")

    def test_nobody_there(self) -> None:
        """
        No server at all. It is waited for, but not for ever.
        """
        broker = self.prepared(s3_bucket="any", s3_endpoint=f"http://127.0.0.1:{free_port()}")
        self.assert_refuses(broker, "127.0.0.1", "refused")

    def test_of_another_cluster(self) -> None:
        """
        A namespace belongs to one cluster: a broker with other metadata is
        refused, and in another namespace it is welcome.
        """
        first = self.broker()
        with RawClient(first.port) as raw:
            raw.create("first")
        bucket = first.settings["s3_bucket"]
        self.assert_refuses(self.prepared(s3_bucket=bucket), "another cluster", "default")
        other = self.broker(s3_bucket=bucket, namespace="other")
        with RawClient(other.port) as raw:
            self.assertEqual(raw.topics(), [])

    def test_two_stores(self) -> None:
        """
        In memory and in a bucket exclude each other.
        """
        self.assert_refuses(self.prepared(use_memory_s3=1), "KAFSCALE_S3_BUCKET")
