"""
Buckets with faults that only moto can simulate: see
L{tests.harness.moto_server}.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from kafscale.wire.messages import ProduceResponse
from tests.clients.broker import ROOT, Broker, environment, eventually
from tests.clients.buckets import FailureTestCase
from tests.clients.raw import RawClient, batch_of
from tests.harness import s3
from tests.harness.identities import KEY, OTHER, variables


class TreatedTestCase(FailureTestCase):
    """
    A broker whose bucket is treated in some way.
    """

    def treated(self, how: str = "", **settings: object) -> Broker:
        """
        Return a broker whose bucket has this defect
        (L{tests.harness.moto_server}).
        """
        settings["s3_endpoint"] = s3.server("moto").endpoint
        settings["s3_bucket"] = s3.make_bucket(on="moto")
        broker = self.observed(**settings)
        self.treat(broker, how)
        return broker

    def treat(self, broker: Broker, how: str) -> None:
        """
        Treat its bucket in another way from now on.
        """
        s3.treat(str(broker.settings["s3_bucket"]), how)


class RefusalTests(TreatedTestCase):
    """
    Treatments that a broker meets at its start.
    """

    def test_expired(self) -> None:
        """
        The credentials were good once.
        """
        self.assert_refuses(self.treated("expired"), "ExpiredToken", "renew the credentials")

    def test_wrong_region(self) -> None:
        """
        The bucket is elsewhere; the line says where.
        """
        broker = self.treated("elsewhere")
        self.assert_refuses(broker, "eu-north-1", "KAFSCALE_S3_REGION")

    def test_careless(self) -> None:
        """
        The store accepts every create, whether the object exists or not, or
        refuses every one. The line names a setting that helps.
        """
        advice = "KAFSCALE_S3_FENCING=metadata"
        broker = self.treated("careless")
        self.assert_refuses(broker, "If-None-Match", "accepted 8 instead of one", advice)
        broker = self.treated("plain")
        self.assert_refuses(broker, "does not know If-None-Match", advice)

    def test_no_checksums(self) -> None:
        """
        A store that does not know the header of the checksum is not taken for
        one that does not know conditions. It can be used with another checksum.
        """
        advice = "KAFSCALE_S3_CHECKSUM=md5"
        for fencing in ("create", "metadata"):
            broker = self.treated("unsummed", s3_fencing=fencing)
            self.assert_refuses(broker, "does not know x-amz-checksum-crc32c", advice)
            self.assertNotIn("If-None-Match", broker.tail(100_000))
        raw = self.connect(self.treated("unsummed", s3_checksum="md5").start())
        raw.create("log")
        self.assertEqual(raw.produce("log", 0, batch_of([b"sent"])).error_code, 0)

    def test_no_parts(self) -> None:
        """
        A store without uploads in parts is used without them.
        """
        broker = self.treated("wholesale").start()
        eventually(lambda: "multipart uploads cannot be used" in broker.tail())


class RangeTests(TreatedTestCase):
    """
    Stores that do not know ranges from the end of an object. What a broker reads
    there first is the footer of a slot, when it is started again.
    """

    def test_after_a_kill(self) -> None:
        """
        What was acknowledged is there, and C{kafscale-inspect} finds nothing
        wrong.
        """
        for how in ("unsuffixed", "swapped"):
            broker = self.treated(how)
            raw = self.connect(broker.start())
            raw.create("log")
            values = [b"small", b"x" * 100_000, b"last"]  # shorter and longer than a suffix
            for value in values:
                self.assertEqual(raw.produce("log", 0, batch_of([value])).error_code, 0)
            broker.kill()
            raw = self.connect(broker.start())
            self.assertEqual([each.value for each in raw.records("log")], values)
            broker.kill()
            done = subprocess.run(
                [sys.executable, "-m", "kafscale.inspect", "verify"],
                cwd=ROOT,
                env={**environment(**broker.settings), **s3.KEYS},
                capture_output=True,
                text=True,
                timeout=120,
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("ok: ", done.stdout)


class LaterTests(TreatedTestCase):
    """
    A bucket that refuses a broker which it has served.
    """

    def test_read_only(self) -> None:
        """
        The permission to write was removed.
        """
        self.assert_waits("readonly", "AccessDenied")

    def test_wrong_key(self) -> None:
        """
        The access key was deleted.
        """
        self.assert_waits("unknown", "InvalidAccessKeyId")

    def test_expired(self) -> None:
        """
        The credentials have expired.
        """
        self.assert_waits("expired", "ExpiredToken")

    def test_gone(self) -> None:
        """
        The bucket is not there: no reason to believe that objects are not.
        """
        self.assert_waits("gone", "NoSuchBucket")

    def test_new_credentials(self) -> None:
        """
        Expired credentials that are replaced in their profile are all that it
        takes to go on.
        """
        broker = self.treated()
        file = self.folder / "credentials"
        self.write_profile(file, KEY)
        broker.variables = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "logs"}
        raw = self.connect(broker.start())
        raw.create("log")
        self.treat(broker, "expired")
        request = raw.produce_request("log", 0, batch_of([b"during"]))
        correlation = raw.send(request, 9)
        eventually(lambda: "ExpiredToken" in self.get("/readyz")[1])
        self.write_profile(file, OTHER)
        answer: ProduceResponse = raw.receive(request, 9, correlation)
        self.assertEqual(answer.responses[0].partition_responses[0].error_code, 0)
        eventually(lambda: self.get("/readyz")[0] == 200)
        self.assertEqual([each.value for each in raw.records("log")], [b"during"])

    def write_profile(self, file: Path, key: str) -> None:
        """
        A file of credentials with one profile.
        """
        lines = [f"{name.lower()} = {value}" for name, value in variables(key).items()]
        file.write_text("\n".join(["[logs]", *lines]))

    def assert_waits(self, treatment: str, code: str) -> None:
        """
        Nothing is acknowledged, the log and C{/readyz} say why, records in
        memory can be read, and the process lives; when it is over what waited
        is there once. A broker that was killed meanwhile does not start, and
        says why; afterwards it does, and has it all.
        """
        broker = self.treated().start()
        raw = self.connect(broker)
        raw.create("log")
        self.assertEqual(raw.produce("log", 0, batch_of([b"before"])).error_code, 0)
        self.treat(broker, treatment)
        request = raw.produce_request("log", 0, batch_of([b"during"]))
        correlation = raw.send(request, 9)
        eventually(lambda: self.lines(broker, "object store request failed, retrying", code))
        eventually(lambda: self.get("/readyz")[0] == 503)
        self.assertRegex(self.get("/readyz")[1], rf"\Aobjects store: create failed: .*{code}.*\n\Z")
        self.assertEqual(self.get("/healthz"), (200, "ok\n"))
        with RawClient(broker.port) as other:
            self.assertEqual([each.value for each in other.records("log")], [b"before"])
        raw.socket.settimeout(0.5)
        self.assertRaises(TimeoutError, raw.socket.recv, 1, socket.MSG_PEEK)
        raw.socket.settimeout(30)
        self.treat(broker, "")
        answer: ProduceResponse = raw.receive(request, 9, correlation)
        (part,) = answer.responses[0].partition_responses
        self.assertEqual((part.error_code, part.base_offset), (0, 1))
        eventually(lambda: self.get("/readyz") == (200, "ok\n"))
        self.treat(broker, treatment)
        broker.kill()
        self.assert_refuses(broker, "cannot start", code)
        self.treat(broker, "")
        values = [each.value for each in self.connect(broker.start()).records("log")]
        self.assertEqual(values, [b"before", b"during"])
        self.assertEqual(self.lines(broker, "Traceback"), [])

    def lines(self, broker: Broker, *words: str) -> list[str]:
        """
        Those of its log that have these words.
        """
        lines = broker.tail(100_000).splitlines()
        return [line for line in lines if all(word in line for word in words)]
