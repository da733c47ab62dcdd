"""
A broker on a bucket whose server ignores C{If-None-Match}: marks in the
metadata take its place.
"""

from __future__ import annotations

import subprocess
import sys

from tests.clients import contract
from tests.clients.broker import ROOT, Broker, environment
from tests.clients.buckets import BucketTestCase
from tests.clients.raw import RawClient, batch_of
from tests.harness import s3


class MarkedTestCase(BucketTestCase):
    """
    A test with such brokers.
    """

    on = "moto"

    def prepared(self, **settings: object) -> Broker:
        """
        Return a broker whose settings say that the server may replace objects.
        """
        settings.setdefault("s3_fencing", "metadata")
        if "s3_bucket" not in settings:
            settings["s3_bucket"] = s3.make_bucket("careless")
        return super().prepared(**settings)

    def inspect(self, broker: Broker, *arguments: str) -> tuple[int, str]:
        """
        Exit status and output of C{kafscale-inspect}.
        """
        done = subprocess.run(
            [sys.executable, "-m", "kafscale.inspect", *arguments],
            cwd=ROOT,
            env={**environment(**broker.settings), **s3.KEYS},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr


class MarkedCrashTests(MarkedTestCase, contract.CrashContract):
    """
    Crashes lose nothing, as with other servers.
    """

    crashes = 3


class MarkedStormTests(MarkedTestCase, contract.StormContract):
    """
    A store that fails at random, and replaces objects, loses nothing either.
    """


class MarkedBucketTests(MarkedTestCase):
    """
    The objects in the bucket with this fencing.
    """

    def fill(self, broker: Broker, first: int) -> list[bytes]:
        """
        Produce ten records, from this number on; all that can be read.
        """
        with RawClient(broker.port) as raw:
            for number in range(first, first + 10):
                batch = batch_of([b"%d" % number + b" " * 200])
                self.assertEqual(raw.produce("marked", 0, batch).error_code, 0)
            return [(each.value or b"").strip() for each in raw.records("marked", 0)]

    def test_from_seals_to_marks_and_back(self) -> None:
        """
        On a store that can do both the setting may be changed between two
        starts. Everything is found, and as the rules want it.
        """
        bucket = s3.make_bucket()
        broker = self.broker(s3_bucket=bucket, s3_fencing="create", segment_bytes="1KiB")
        with RawClient(broker.port) as raw:
            raw.create("marked")
        for number, fencing in enumerate(("create", "metadata", "create")):
            broker.kill()
            broker.settings["s3_fencing"] = fencing
            broker.start()
            expected = [b"%d" % value for value in range(10 * number + 10)]
            self.assertEqual(self.fill(broker, 10 * number), expected)
        broker.kill()
        status, text = self.inspect(broker, "verify")
        self.assertEqual(status, 0, text)
        status, text = self.inspect(broker, "list")
        # Of the three that were stopped two were by seals, and one by a mark.
        self.assertEqual(text.count(", sealed at"), 3, text)
        seals = [line.split()[0] for line in text.splitlines() if "bytes, seal by" in line]
        self.assertEqual(len({key.rpartition("/")[0] for key in seals}), 2, text)

    def test_a_server_that_refuses_conditions(self) -> None:
        """
        A server that answers 501 to every C{If-None-Match} is sent none.
        """
        broker = self.broker(s3_bucket=s3.make_bucket("plain"), segment_bytes="1KiB")
        with RawClient(broker.port) as raw:
            raw.create("marked")
        self.fill(broker, 0)
        broker.kill()
        broker.start()
        self.assertEqual(self.fill(broker, 10), [b"%d" % number for number in range(20)])

    def test_of_another_cluster(self) -> None:
        """
        A broker with other metadata does not take the namespace over, though
        nothing in the bucket keeps it from that.
        """
        broker = self.broker()
        with RawClient(broker.port) as raw:
            raw.create("marked")
        self.fill(broker, 0)
        broker.kill()
        other = self.prepared(s3_bucket=broker.settings["s3_bucket"]).start(wait=False)
        self.assertEqual(other.ended(30), 1)
        self.assertIn("has the records of another cluster", other.tail(1000))
        broker.start()
        self.assertEqual(len(self.fill(broker, 10)), 20)
