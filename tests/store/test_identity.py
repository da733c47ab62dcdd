"""
Tests of L{kafscale.store.identity}.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import attrs
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import SettingError
from kafscale.format import metadata_keys, object_keys
from kafscale.format.cluster import BUCKET, DIRECTORY, StoreRecord, write_claim
from kafscale.format.incarnation import IncarnationRecord, SealRecord
from kafscale.format.partition import Chapter, PartitionRecord
from kafscale.interfaces import Put
from kafscale.store.blocking import at_once
from kafscale.store.identity import Place, StoreIdentity
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileObjectStore, let_pass

CLUSTER = "q2RkCmaZSsuT4MK9JO5o5A"

TOPIC = UUID("0828a36b-12d3-45d3-a145-2ad2cf97bb89")

LOCAL = Place(
    StoreRecord(DIRECTORY, "default"), "the directory /d/objects", "the metadata in /d",
    "KAFSCALE_DATA_DIR",
)  # fmt: skip

SHARED = Place(
    StoreRecord(BUCKET, "default", "logs"), "the bucket logs", "the metadata in etcd",
    "KAFSCALE_NAMESPACE",
)  # fmt: skip


class IdentityTestCase(SynchronousTestCase):
    """
    A case with a metadata store and an object store, which are both new.
    """

    def setUp(self) -> None:
        """
        Make them.
        """
        self.metadata = SQLiteMetadataStore(":memory:", at_once)
        self.objects = MemoryObjectStore()

    def start(self, place: Place, cluster: str = CLUSTER) -> None:
        """
        Do what a start does before the broker joins the cluster, and join.
        """
        identity = StoreIdentity(self.metadata, self.objects, place)
        now(identity.compare())
        now(identity.check(cluster))
        self.put(metadata_keys.LAST_INCARNATION, 0)

    def refused(self, place: Place, *words: str, cluster: str = CLUSTER) -> None:
        """
        A start is refused with one line that has these words; nothing is stored.
        """
        before = now(self.metadata.range("")), now(self.objects.list(""))
        with self.assertRaises(SettingError) as caught:
            self.start(place, cluster)
        line = str(caught.exception)
        self.assertNotIn("\n", line)
        for word in words:
            self.assertIn(word, line)
        self.assertEqual((now(self.metadata.range("")), now(self.objects.list(""))), before)

    def put(self, key: str, value: Any) -> None:
        """
        Commit an entry.
        """
        now(self.metadata.commit([], [Put(key, value)]))

    def store(self, *keys: str) -> None:
        """
        Create objects.
        """
        for key in keys:
            now(self.objects.create(key, [b"any"]))

    def remove(self, *keys: str) -> None:
        """
        Delete objects.
        """
        now(self.objects.delete(keys))


class KnownTests(IdentityTestCase):
    """
    Metadata that name their store.
    """

    def test_again(self) -> None:
        """
        The first start claims the namespace and records the store. The same
        store is accepted at every later start, and nothing is written again.
        """
        for place in (LOCAL, SHARED):
            self.setUp()
            self.start(place)
            claim = object_keys.cluster("default")
            self.assertEqual(now(self.objects.get(claim)), write_claim(CLUSTER))
            entry = now(self.metadata.get(metadata_keys.STORE))
            assert entry is not None
            self.assertEqual(StoreRecord.from_entry(entry), place.record)
            self.start(place)
            self.assertEqual(now(self.metadata.get(metadata_keys.STORE)), entry)

    def test_moved_directory(self) -> None:
        """
        A data directory may have another path: the claim in it counts.
        """
        self.start(LOCAL)
        self.start(attrs.evolve(LOCAL, objects="the directory /e/objects", metadata="/e"))

    def test_another_namespace(self) -> None:
        """
        Another namespace is refused, and the line says which is right.
        """
        self.start(LOCAL)
        other = attrs.evolve(LOCAL, record=StoreRecord(DIRECTORY, "other"))
        self.refused(
            other, "set KAFSCALE_NAMESPACE=default, or use another KAFSCALE_DATA_DIR",
            "the namespace default in that directory", "the namespace other in that directory",
        )  # fmt: skip

    def test_another_kind(self) -> None:
        """
        A bucket in place of the directory is refused, and the reverse, even if
        nothing is in it.
        """
        self.start(LOCAL)
        self.refused(SHARED, "unset KAFSCALE_S3_BUCKET", "the bucket logs")
        self.setUp()
        self.start(SHARED)
        self.refused(LOCAL, "set KAFSCALE_S3_BUCKET=logs", "that directory")

    def test_another_bucket(self) -> None:
        """
        Another bucket is refused, even if all objects were copied to it.
        """
        self.start(SHARED)
        other = attrs.evolve(SHARED, record=StoreRecord(BUCKET, "default", "copy"))
        self.refused(other, "set KAFSCALE_S3_BUCKET=logs", "the bucket copy")

    def test_settings_are_compared_first(self) -> None:
        """
        Settings that name another store are refused before that store is used.
        """
        self.start(LOCAL)
        identity = StoreIdentity(self.metadata, HostileObjectStore(self.objects), SHARED)
        with self.assertRaises(SettingError):
            now(identity.compare())

    def test_emptied(self) -> None:
        """
        A store of the right name without the claim is refused: it was emptied,
        or is another one.
        """
        for place in (LOCAL, SHARED):
            self.setUp()
            self.start(place)
            self.remove(object_keys.cluster("default"))
            self.refused(place, place.objects, "default/cluster", "emptied", "restore a backup")

    def test_of_another_cluster(self) -> None:
        """
        A store that another cluster has claimed is refused.
        """
        for place, advice in ((LOCAL, "another KAFSCALE_DATA_DIR"), (SHARED, "KAFSCALE_ETCD")):
            self.setUp()
            self.start(place)
            self.refused(
                place, "has the records of another cluster", CLUSTER, advice, cluster="other"
            )

    def test_what_is_no_claim(self) -> None:
        """
        An object at the key of the claim that is none is refused.
        """
        self.store(object_keys.cluster("default"))
        self.refused(SHARED, "default/cluster", "not written by Kafscale")


class NewTests(IdentityTestCase):
    """
    Metadata in which no broker has begun an incarnation.
    """

    def test_lost_metadata(self) -> None:
        """
        New metadata beside objects of a cluster are refused, whatever kind of
        objects these are, and with or without a claim.
        """
        for kind in object_keys.SWEPT:
            for place in (LOCAL, SHARED):
                self.setUp()
                self.store(f"{object_keys.prefix_of('default', kind)}1")
                self.refused(place, place.objects, "is new")
        self.setUp()
        self.start(LOCAL)
        self.metadata = SQLiteMetadataStore(":memory:", at_once)
        self.refused(LOCAL, "another cluster", "Restore its metadata", cluster="new")

    def test_another_namespace_beside(self) -> None:
        """
        New metadata in a data directory with objects in another namespace are
        refused. A bucket may have many namespaces.
        """
        self.refused(attrs.evolve(LOCAL, beside=["other"]), "is new", "KAFSCALE_DATA_DIR")
        self.store("other/journal/1")
        self.start(SHARED)

    def test_directory_beside_a_bucket(self) -> None:
        """
        A bucket is refused if the data directory has objects.
        """
        self.refused(attrs.evolve(SHARED, beside=["default"]), "unset KAFSCALE_S3_BUCKET")

    def test_interrupted(self) -> None:
        """
        A first start that was interrupted after the claim is repeated.
        """
        now(self.objects.create(object_keys.cluster("default"), [write_claim(CLUSTER)]))
        self.start(attrs.evolve(LOCAL, beside=["default"]))

    def test_overtaken(self) -> None:
        """
        Objects of a broker of the same cluster, which has begun between the
        look at the metadata and that at the objects, are no reason to refuse.
        """
        objects = HostileObjectStore(self.objects)
        checking = begin(StoreIdentity(self.metadata, objects, SHARED).check(CLUSTER))
        objects.pending[0].succeed()  # there is no claim
        self.start(SHARED)
        self.store("default/journal/1")
        objects.policy = let_pass
        objects.pending[0].succeed()
        self.successResultOf(checking)

    def test_both_claim(self) -> None:
        """
        Of two brokers of one cluster that begin at the same time both are
        accepted.
        """
        for rounds in range(4):
            self.setUp()
            objects = HostileObjectStore(self.objects)
            checking = begin(StoreIdentity(self.metadata, objects, SHARED).check(CLUSTER))
            for _ in range(rounds):
                objects.pending[0].succeed()
            self.assertNoResult(checking)
            self.start(SHARED)
            objects.policy = let_pass
            objects.pending[0].succeed()
            self.successResultOf(checking)


class AdoptionTests(IdentityTestCase):
    """
    Metadata of a version that did not record the store.
    """

    def setUp(self) -> None:
        """
        A broker has begun an incarnation.
        """
        super().setUp()
        self.put(metadata_keys.LAST_INCARNATION, 0)
        self.put(metadata_keys.incarnation(2), IncarnationRecord(0).to_json())
        self.claim = object_keys.cluster("default")

    def known(self) -> StoreRecord:
        """
        The store that the metadata name.
        """
        entry = now(self.metadata.get(metadata_keys.STORE))
        assert entry is not None
        return StoreRecord.from_entry(entry)

    def expect(self) -> list[str]:
        """
        Record a sealed journal, a segment and a volume; return their keys.
        """
        self.put(metadata_keys.seal(2), SealRecord(9, 5).to_json())
        alone = PartitionRecord(last_segment=7, key_epochs=((0, 3),))
        self.put(metadata_keys.partition(TOPIC, 0), alone.to_json())
        chapter = PartitionRecord(last_segment=7, chapters=(Chapter(7, 2, 4, 0, 100),))
        self.put(metadata_keys.partition(TOPIC, 1), chapter.to_json())
        self.put(metadata_keys.partition(TOPIC, 2), PartitionRecord().to_json())
        # An incarnation with a mark has no seal.
        marked = IncarnationRecord(0, fencing="metadata")
        self.put(metadata_keys.incarnation(3), marked.to_json())
        self.put(metadata_keys.seal(3), SealRecord(9, 5).to_json())
        return [
            object_keys.slot(object_keys.journal("default", 0, 2), 5),
            object_keys.segment(object_keys.partition("default", TOPIC, 0), 7, 3),
            object_keys.volume("default", 2, 4),
        ]

    def test_directory(self) -> None:
        """
        A directory with objects in the namespace is adopted, and claimed.
        """
        self.start(attrs.evolve(LOCAL, beside=["default"]))
        self.assertEqual(self.known(), LOCAL.record)
        self.assertEqual(now(self.objects.get(self.claim)), write_claim(CLUSTER))

    def test_wrong_directory(self) -> None:
        """
        A directory without objects in the namespace is refused: it is another
        namespace, is not mounted, or the records are in a bucket. With a file there it
        is adopted, if nothing is expected.
        """
        self.put(metadata_keys.partition(TOPIC, 0), PartitionRecord().to_json())
        self.refused(LOCAL, "no objects in the namespace default", "mount the disk")
        self.refused(LOCAL, "create an empty file default/confirmed")
        self.refused(attrs.evolve(LOCAL, beside=["other"]), "but those of other")
        self.start(attrs.evolve(LOCAL, beside=["default"]))
        self.assertEqual(self.known(), LOCAL.record)

    def test_without_records(self) -> None:
        """
        A directory without objects is adopted if the metadata have no partitions and
        no seals. Objects in another namespace are of another cluster, or of these
        metadata.
        """
        self.refused(attrs.evolve(LOCAL, beside=["other"]), "but those of other")
        self.put(metadata_keys.seal(2), SealRecord(9, 5).to_json())
        self.refused(LOCAL, "no objects in the namespace default")
        self.put(metadata_keys.seal(2), SealRecord(9, None).to_json())
        self.start(LOCAL)
        self.assertEqual(self.known(), LOCAL.record)
        self.assertEqual(now(self.objects.get(self.claim)), write_claim(CLUSTER))

    def test_bucket(self) -> None:
        """
        A bucket with the claim of this cluster is adopted, one without is
        refused: every earlier start has made the claim.
        """
        self.refused(SHARED, "does not have the object default/cluster")
        self.refused(attrs.evolve(SHARED, beside=["default"]), "unset KAFSCALE_S3_BUCKET")
        now(self.objects.create(self.claim, [write_claim(CLUSTER)]))
        self.start(SHARED)
        self.assertEqual(self.known(), SHARED.record)

    def test_expected(self) -> None:
        """
        A store is refused if it does not have most of what the metadata expect
        there. An earlier version may have put a seal in the wrong store.
        """
        now(self.objects.create(self.claim, [write_claim(CLUSTER)]))
        seal, segment, volume = self.expect()
        self.refused(SHARED, f"3 of 3 objects are missing, for example {segment}")
        self.store(seal)
        self.refused(SHARED, "2 of 3 objects are missing")
        self.store(segment, volume)
        self.start(SHARED)

    def test_damaged(self) -> None:
        """
        The right store is adopted although an object of it was lost: the log
        finds that out.
        """
        now(self.objects.create(self.claim, [write_claim(CLUSTER)]))
        self.store(*self.expect()[:2])
        self.start(SHARED)


class MovedTests(IdentityTestCase):
    """
    A bucket whose objects were copied to another one.
    """

    def setUp(self) -> None:
        """
        The metadata name the former bucket.
        """
        super().setUp()
        self.start(attrs.evolve(SHARED, record=StoreRecord(BUCKET, "default", "former")))
        self.moved = attrs.evolve(SHARED, moved_from="former")

    def test_moved(self) -> None:
        """
        If the setting names the former bucket the new one is adopted. After
        that the setting has no effect, and the former one is refused.
        """
        self.start(self.moved)
        self.start(self.moved)
        self.start(SHARED)
        former = attrs.evolve(self.moved, record=StoreRecord(BUCKET, "default", "former"))
        self.refused(former, "set KAFSCALE_S3_BUCKET=logs")

    def test_from_another(self) -> None:
        """
        The setting must name the bucket that the metadata name, and holds for
        nothing else.
        """
        self.refused(attrs.evolve(SHARED, moved_from="another"), "set KAFSCALE_S3_BUCKET=former")
        other = attrs.evolve(self.moved, record=StoreRecord(BUCKET, "other", "logs"))
        self.refused(other, "set KAFSCALE_NAMESPACE=default")
        self.refused(
            attrs.evolve(LOCAL, moved_from="former"), "set KAFSCALE_S3_BUCKET=former"
        )

    def test_incomplete(self) -> None:
        """
        A copy must have the claim, and what the metadata expect.
        """
        record = PartitionRecord(last_segment=7)
        self.put(metadata_keys.partition(TOPIC, 0), record.to_json())
        self.refused(self.moved, "1 of 1 objects are missing")
        self.remove(object_keys.cluster("default"))
        self.refused(self.moved, "does not have the object default/cluster")
