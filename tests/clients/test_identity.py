"""
Starts with a store that the metadata do not belong to: each is refused, and
nothing is lost that was acknowledged.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

from tests.clients.broker import Broker, BrokerTestCase
from tests.clients.buckets import BucketTestCase
from tests.clients.raw import RawClient, batch_of
from tests.harness import s3

VALUES = [b"one", b"two", b"three"]


class IdentityTestCase(BrokerTestCase):
    """
    A case with a broker that has acknowledged records which are in no segment.
    """

    def stored(self, **settings: object) -> Broker:
        """
        A broker that has acknowledged some records, and has ended.
        """
        broker = self.broker(**settings)
        with RawClient(broker.port) as raw:
            raw.create("kept")
            for value in VALUES:
                raw.produce("kept", 0, batch_of([value]))
        self.assertEqual(broker.terminate(), 0)
        return broker

    def refused(self, broker: Broker, *words: str, **settings: object) -> None:
        """
        A start with other settings ends with status 1 and one line that has
        these words.

        @param settings: The settings that differ; None: not set.
        """
        right = broker.settings
        broker.settings = {
            name: value for name, value in {**right, **settings}.items() if value is not None
        }
        before = broker.tail(100_000)
        broker.start(wait=False)
        self.assertEqual(broker.ended(30), 1)
        log = broker.tail(100_000).removeprefix(before)
        self.assertNotIn("Traceback", log)
        found = [line for line in log.splitlines() if all(word in line for word in words)]
        self.assertEqual(len(found), 1, f"{words} in {log}")
        broker.settings = right

    def assert_kept(self, broker: Broker) -> None:
        """
        With its own settings the broker has all records.
        """
        broker.start()
        with RawClient(broker.port) as raw:
            found = [record.value for record in raw.records("kept")]
        self.assertEqual(found, VALUES)
        self.assertEqual(broker.terminate(), 0)


class DirectoryTests(IdentityTestCase):
    """
    A broker on a data directory.
    """

    def test_another_namespace(self) -> None:
        """
        Another namespace.
        """
        broker = self.stored()
        self.refused(
            broker, "cannot start: ", "set KAFSCALE_NAMESPACE=default", namespace="other"
        )
        self.assert_kept(broker)

    def test_a_bucket(self) -> None:
        """
        A bucket in which nothing is.
        """
        broker = self.stored()
        bucket = s3.make_bucket()
        broker.variables |= s3.KEYS
        endpoint = s3.server_of(bucket).endpoint
        self.refused(
            broker, "unset KAFSCALE_S3_BUCKET", bucket, s3_bucket=bucket, s3_endpoint=endpoint
        )
        self.assert_kept(broker)

    def test_memory(self) -> None:
        """
        A store in memory.
        """
        broker = self.stored()
        self.refused(broker, "KAFSCALE_USE_MEMORY_S3", str(broker.data), use_memory_s3=1)
        self.assert_kept(broker)

    def test_lost_metadata(self) -> None:
        """
        Objects without the metadata, and metadata without the objects.
        """
        broker = self.stored()
        metadata = broker.data / "metadata.sqlite"
        metadata.rename(broker.folder / "away")
        self.refused(broker, "another cluster", "Restore its metadata")
        for each in broker.data.glob("metadata.sqlite*"):
            each.unlink()
        (broker.folder / "away").rename(metadata)
        (broker.data / "objects").rename(broker.folder / "objects")
        self.refused(broker, "does not have the object default/cluster", "not mounted")
        shutil.rmtree(broker.data / "objects")
        (broker.folder / "objects").rename(broker.data / "objects")
        self.assert_kept(broker)

    def test_an_earlier_version(self) -> None:
        """
        What a version has stored that did not keep the identity is not adopted
        with the wrong settings, and is with the right ones.
        """
        broker = self.stored()
        self.forget_identity(broker)
        bucket = s3.make_bucket()
        broker.variables |= s3.KEYS
        self.refused(broker, "but those of default", namespace="other")
        self.refused(
            broker, "unset KAFSCALE_S3_BUCKET", s3_bucket=bucket,
            s3_endpoint=s3.server_of(bucket).endpoint,
        )  # fmt: skip
        self.assert_kept(broker)
        self.refused(broker, "set KAFSCALE_NAMESPACE=default", namespace="other")

    def test_moved(self) -> None:
        """
        A directory that was moved, and a copy of it, belong to their metadata.
        """
        broker = self.stored()
        moved = broker.folder / "moved"
        shutil.copytree(broker.data, moved)
        self.assert_kept(broker)
        shutil.rmtree(broker.data)
        broker.settings["data_dir"] = moved
        self.assert_kept(broker)

    def forget_identity(self, broker: Broker) -> None:
        """
        Remove what earlier versions did not store.
        """
        with closing(sqlite3.connect(broker.data / "metadata.sqlite")) as table, table:
            table.execute("DELETE FROM entries WHERE key = 'store'")
        broker.objects.remove("default/cluster")


class BucketTests(BucketTestCase, IdentityTestCase):
    """
    A broker on a bucket, with its metadata in a data directory.
    """

    def test_another_bucket(self) -> None:
        """
        Another bucket, no bucket, or another namespace of the same one.
        """
        broker = self.stored()
        bucket = broker.settings["s3_bucket"]
        self.refused(broker, f"set KAFSCALE_S3_BUCKET={bucket}", s3_bucket=s3.make_bucket())
        self.refused(broker, f"set KAFSCALE_S3_BUCKET={bucket}", s3_bucket=None, s3_endpoint=None)
        self.refused(broker, "set KAFSCALE_NAMESPACE=default", namespace="other")
        self.assert_kept(broker)

    def test_old_metadata(self) -> None:
        """
        A copy of the data directory that is older than the bucket.
        """
        broker = self.broker()
        with RawClient(broker.port) as raw:
            raw.create("first")
        self.assertEqual(broker.terminate(), 0)
        old = broker.folder / "old"
        shutil.copytree(broker.data, old)
        broker.start()
        with RawClient(broker.port) as raw:
            raw.create("kept")
            for value in VALUES:
                raw.produce("kept", 0, batch_of([value]))
        self.assertEqual(broker.terminate(), 0)
        new = broker.settings["data_dir"]
        self.refused(broker, "older than the records in the bucket", str(old), data_dir=old)
        self.assertEqual(broker.settings["data_dir"], new)
        self.assert_kept(broker)

    def test_slots_that_vanish(self) -> None:
        """
        Slots that a lifecycle rule has deleted, and left the rest, are not taken
        for slots that were never there.
        """
        broker = self.stored()
        held = {key: broker.objects.read(key) for key in broker.objects.sizes("default/journal/")}
        self.assertEqual(len(held), len(VALUES))
        for key in held:
            broker.objects.remove(key)
            self.refused(broker, f"{key} is missing, and it was acknowledged")
            broker.objects.write(key, held[key])
        self.assert_kept(broker)

    def test_emptied(self) -> None:
        """
        A bucket that was emptied, as by a lifecycle rule, and then restored.
        """
        broker = self.stored()
        held = {key: broker.objects.read(key) for key in broker.objects.sizes()}
        for key in held:
            broker.objects.remove(key)
        self.refused(broker, "does not have the object default/cluster", "emptied")
        self.assertEqual(broker.objects.sizes(), {})
        for key, data in held.items():
            broker.objects.write(key, data)
        self.assert_kept(broker)

    def test_moved(self) -> None:
        """
        A bucket that was copied to another one is used when the operator says
        so, and from then on.
        """
        broker = self.stored()
        before, former = broker.objects, broker.settings["s3_bucket"]
        broker.settings["s3_bucket"] = s3.make_bucket()
        for key in before.sizes():
            broker.objects.write(key, before.read(key))
        self.refused(broker, f"set KAFSCALE_S3_BUCKET={former}")
        broker.settings["s3_moved_from"] = former
        self.assert_kept(broker)
        del broker.settings["s3_moved_from"]
        self.assert_kept(broker)
        self.refused(broker, "set KAFSCALE_S3_BUCKET", s3_bucket=former, s3_moved_from=former)
