"""
A broker whose log is in a bucket.
"""

from __future__ import annotations

import subprocess
import sys
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests.clients import contract
from tests.clients.broker import ROOT, Broker, environment, eventually, free_port
from tests.clients.buckets import BucketTestCase
from tests.clients.raw import LATEST, RawClient, batch_of
from tests.harness import s3
from tests.harness.identities import KEY, SECRETS


class BucketTests(BucketTestCase):
    """
    Records live in the bucket.
    """

    def test_all_in_the_bucket(self) -> None:
        """
        What was acknowledged is there after C{kill -9}, from journal and
        segments, also at once after the next; the data directory has metadata
        only.
        """
        broker = self.broker(segment_bytes="64KiB")
        eventually(lambda: " listens on " in broker.tail())
        self.assertIn(str(broker.settings["s3_bucket"]), broker.tail())
        with RawClient(broker.port) as raw:
            raw.create("kept", 3)
            for number in range(90):
                batch = batch_of([b"%d" % number, b"x" * 3000])
                self.assertEqual(raw.produce("kept", number % 3, batch).error_code, 0)
        for _ in range(2):
            broker.kill()
            broker.start()
            with RawClient(broker.port) as raw:
                for index in range(3):
                    values = [each.value for each in raw.records("kept", index)][::2]
                    self.assertEqual(values, [b"%d" % n for n in range(index, 90, 3)])
        broker.restart()
        with RawClient(broker.port) as raw:
            self.assertEqual(raw.offset("kept", 0, LATEST), 60)
        names = {each.name for each in (broker.folder / "data").iterdir()}
        self.assertLessEqual(names, {"lock", "metadata.sqlite", "metadata.sqlite-wal"})

    def test_disk_cache(self) -> None:
        """
        What was read once is on the disk: after a restart the segments are
        read with hardly a request. A directory in use, or a cache without a
        bucket, is one line and exit status 1.
        """
        metrics = f"127.0.0.1:{free_port()}"
        cache = self.folder / "cache"
        broker = self.broker(segment_bytes="64KiB", disk_cache_dir=cache, metrics_addr=metrics)

        def counted() -> dict[str, float]:
            text = urlopen(f"http://{metrics}/metrics", timeout=30).read().decode()
            lines = (line.split() for line in text.splitlines() if "_disk_cache_" in line)
            return {each[0]: float(each[1]) for each in lines if each[0] != "#"}

        with RawClient(broker.port) as raw:
            raw.create("cold")
            for number in range(40):
                raw.produce("cold", 0, batch_of([b"%d" % number * 3000]))
        broker.restart()
        with RawClient(broker.port) as raw:
            before = raw.records("cold")
            self.assertEqual(len(before), 40)
        eventually(lambda: counted()["kafscale_disk_cache_bytes"] > 100_000)
        self.assertGreater(counted()["kafscale_disk_cache_misses_total"], 0)
        other = self.prepared(disk_cache_dir=cache).start(wait=False)
        self.assertEqual(other.ended(30), 1)
        self.assertIn("is in use by another broker", other.tail(1))
        broker.restart()
        with RawClient(broker.port) as raw:
            self.assertEqual(raw.records("cold"), before)
        found = counted()
        self.assertGreater(found["kafscale_disk_cache_hits_total"], 0)
        self.assertEqual(found["kafscale_disk_cache_misses_total"], 0)
        alone = Broker(self.folder / "alone", disk_cache_dir=self.folder / "none")
        self.addCleanup(alone.kill)
        self.assertEqual(alone.start(wait=False).ended(30), 1)
        self.assertIn("without KAFSCALE_S3_BUCKET", alone.tail(1))

    def test_inspected(self) -> None:
        """
        C{kafscale-inspect} reads the bucket, and reports a missing object.
        """
        broker = self.broker(segment_bytes="1KiB")
        with RawClient(broker.port) as raw:
            raw.create("looked-at")
            for number in range(30):
                batch = batch_of([b"%d" % number * 80])
                self.assertEqual(raw.produce("looked-at", 0, batch).error_code, 0)
        eventually(lambda: len(broker.objects.sizes("default/topics/")) >= 2)
        broker.kill()

        def inspect(*arguments: str) -> tuple[int, str]:
            done = subprocess.run(
                [sys.executable, "-m", "kafscale.inspect", *arguments],
                cwd=ROOT,
                env={**environment(**broker.settings), **s3.KEYS},
                capture_output=True,
                text=True,
                timeout=120,
            )
            return done.returncode, done.stdout + done.stderr

        status, text = inspect("verify")
        self.assertEqual(status, 0, text)
        status, text = inspect("list")
        keys = [line.split()[0] for line in text.splitlines() if ".kfs " in line]
        self.assertGreaterEqual(len(keys), 2, text)
        status, text = inspect("dump", keys[0])
        self.assertIn("value '0000000000", text)
        broker.objects.remove(keys[0])
        status, text = inspect("verify")
        self.assertEqual(status, 1, text)
        self.assertIn(f"wrong: {keys[0]}: missing", text)

    def test_segments_in_parts(self) -> None:
        """
        A segment that is larger than a part of an upload comes back whole.
        """
        broker = self.broker(segment_bytes="40MiB", unrolled_bytes="64MiB")
        with RawClient(broker.port) as raw:
            raw.create("large")
            for number in range(45):
                batch = batch_of([b"%d" % number, bytes([number]) * 1_000_000])
                self.assertEqual(raw.produce("large", 0, batch).error_code, 0)
        broker.restart()
        with RawClient(broker.port) as raw:
            found = [each.value or b"" for each in raw.records("large")]
        self.assertEqual(found[::2], [b"%d" % number for number in range(45)])
        for number, value in enumerate(found[1::2]):
            self.assertTrue(value == bytes([number]) * 1_000_000, number)

    def test_profile(self) -> None:
        """
        Credentials come from a profile, too.
        """
        broker = self.prepared()
        file = self.folder / "credentials"
        lines = ["[logs]", f"aws_access_key_id = {KEY}", f"aws_secret_access_key = {SECRETS[KEY]}"]
        file.write_text("\n".join(lines))
        broker.variables = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "logs"}
        with RawClient(broker.start().port) as raw:
            raw.create("log")


class ImportTests(SynchronousTestCase):
    """
    The cost of S3 to a broker that uses no bucket.
    """

    def test_no_botocore(self) -> None:
        """
        Botocore, which takes half a second, is not imported for them.
        """
        code = "import sys, kafscale.tap; sys.exit('botocore' in sys.modules)"
        self.assertEqual(subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode, 0)


class StormTests(contract.StormContract):
    """
    A broker on the bucket of the test run's server.
    """
