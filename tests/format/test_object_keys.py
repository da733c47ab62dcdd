"""
The keys of objects.
"""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format import object_keys
from kafscale.format.partition import TopicIdPartition
from tests.format.golden import SETS, read

TOPIC = UUID("0828a36b-12d3-45d3-a145-2ad2cf97bb89")
NUMBERS = st.integers(0, 10**20 - 1)
PLACES = st.tuples(st.uuids(), st.integers(0, 2**31 - 1))


class LayoutTests(SynchronousTestCase):
    """
    Layouts of keys, which never change: they say where the objects of stores
    that exist are.
    """

    def test_journal(self) -> None:
        """
        A slot and a bundle of an incarnation of a broker.
        """
        journal = object_keys.journal("default", 0, 2)
        self.assertEqual(
            object_keys.slot(journal, 1), "default/journal/6f/0/2/00000000000000000001"
        )
        bundles = object_keys.bundles("default", 0, 2)
        self.assertEqual(
            object_keys.slot(bundles, 64), "default/bundles/6f/0/2/00000000000000000064"
        )

    def test_segments(self) -> None:
        """
        A segment of a partition, with and without a leader epoch.
        """
        prefix = object_keys.partition("default", TOPIC, 3)
        self.assertEqual(prefix, f"default/topics/{TOPIC}/3/")
        self.assertTrue(prefix.startswith(object_keys.topic("default", TOPIC)))
        self.assertEqual(object_keys.segment(prefix, 7), f"{prefix}00000000000000000007.kfs")
        self.assertEqual(
            object_keys.segment(prefix, 7, 2), f"{prefix}00000000000000000007-0000000002.kfs"
        )

    def test_volume(self) -> None:
        """
        A volume of an incarnation.
        """
        self.assertEqual(
            object_keys.volume("default", 24, 3), "default/volumes/3b/24/00000000000000000003"
        )

    def test_of_the_bucket(self) -> None:
        """
        Objects that hold no records.
        """
        self.assertEqual(object_keys.cluster("events"), "events/cluster")
        self.assertEqual(object_keys.claim("events", "abc"), "events/claims/abc")
        self.assertEqual(object_keys.probe("events", "x"), "events/probes/x")
        self.assertEqual(
            object_keys.probe_record("events", "abc", "AmazonS3"), "events/probes/abc-15f47a50"
        )
        for name, is_probe in (
            ("x-1-000", True), ("x-1-listed-012", True), ("abc-15f47a50", False),
            ("abc-12345678", False), ("x", False), ("x/y-1", False),
        ):  # fmt: skip
            key = object_keys.probe("events", name)
            self.assertIs(object_keys.is_probe("events", key), is_probe, name)
            self.assertFalse(object_keys.is_probe("other", key))
        self.assertEqual(
            object_keys.milestone("events", 112), "events/milestones/00000000000000000112"
        )

    def test_golden(self) -> None:
        """
        Every object of the golden data has a key of one of these layouts.
        """
        for name in SETS:
            for key in read(name).objects:
                kind = object_keys.kind_of(key)
                parsed = {
                    object_keys.JOURNAL: object_keys.parse_slot,
                    object_keys.BUNDLES: object_keys.parse_bundle,
                    object_keys.TOPICS: object_keys.parse_segment,
                    object_keys.VOLUMES: object_keys.parse_volume,
                }
                if kind in parsed:
                    self.assertIsNotNone(parsed[kind]("default", key), key)
                elif kind == "milestones":
                    revision = object_keys.milestone_revision(key)
                    self.assertEqual(object_keys.milestone("default", revision), key)
                else:
                    self.assertIn(kind, ("cluster", "claims"))


class ParsingTests(SynchronousTestCase):
    """
    Keys, there and back.
    """

    @given(st.integers(0, 2**31 - 1), NUMBERS, NUMBERS)
    def test_slots(self, broker_id: int, incarnation: int, number: int) -> None:
        """
        Incarnation and number of a slot, and of a bundle by its first slot.
        """
        key = object_keys.slot(object_keys.journal("n", broker_id, incarnation), number)
        self.assertEqual(object_keys.parse_slot("n", key), (incarnation, number))
        self.assertIsNone(object_keys.parse_bundle("n", key))
        self.assertEqual(object_keys.slot_number(key), number)
        key = object_keys.slot(object_keys.bundles("n", broker_id, incarnation), number)
        self.assertEqual(object_keys.parse_bundle("n", key), (incarnation, number))
        self.assertIsNone(object_keys.parse_slot("n", key))

    @given(PLACES, NUMBERS, st.integers(-1, 2**31 - 1))
    def test_segments(self, where: TopicIdPartition, base: int, epoch: int) -> None:
        """
        Partition, base offset and leader epoch of a segment.
        """
        prefix = object_keys.partition("n", *where)
        key = object_keys.segment(prefix, base, epoch)
        self.assertEqual(object_keys.parse_segment("n", key), (*where, base))
        self.assertTrue(object_keys.is_segment(prefix, key))
        self.assertEqual(object_keys.segment_base(key), base)
        self.assertEqual(object_keys.segment_key_epoch(key), epoch)

    @given(NUMBERS, NUMBERS)
    def test_volumes(self, incarnation: int, number: int) -> None:
        """
        Incarnation and number of a volume.
        """
        key = object_keys.volume("n", incarnation, number)
        self.assertEqual(object_keys.parse_volume("n", key), (incarnation, number))

    def test_foreign(self) -> None:
        """
        What is nearly a key of ours is none: another namespace, another kind, a
        number that is not padded, or a spread that does not fit.
        """
        slot = object_keys.slot(object_keys.journal("n", 0, 2), 1)
        segment = object_keys.segment(object_keys.partition("n", TOPIC, 0), 7)
        volume = object_keys.volume("n", 24, 3)
        for key in (slot, segment, volume):
            foreign = [
                f"other/{key}",
                f"m{key}",
                f"{key}x",
                key.replace("n/", "n/future-", 1),
                key.replace("/0000000000", "/"),
            ]
            if key is not segment:
                foreign.append(key.replace("/6f/", "/6e/").replace("/3b/", "/3c/"))
            for each in foreign:
                with self.subTest(key=each):
                    self.assertNotEqual(each, key)
                    self.assertIsNone(object_keys.parse_slot("n", each))
                    self.assertIsNone(object_keys.parse_bundle("n", each))
                    self.assertIsNone(object_keys.parse_segment("n", each))
                    self.assertIsNone(object_keys.parse_volume("n", each))

    def test_no_volumes(self) -> None:
        """
        Only what is made as a volume's key is one.
        """
        key = object_keys.volume("default", 7, 3)
        volumes = object_keys.prefix_of("default", object_keys.VOLUMES)
        for bad in (key + "0", f"{key}.kfs", key.replace("default", "other"), f"{volumes}7/3", "x"):
            self.assertIsNone(object_keys.parse_volume("default", bad))

    def test_kinds(self) -> None:
        """
        The kind of an object is the part after the namespace.
        """
        self.assertEqual(object_keys.kind_of("n/volumes/3b/24/1"), object_keys.VOLUMES)
        self.assertEqual(object_keys.prefix_of("n", object_keys.VOLUMES), "n/volumes/")
        self.assertEqual(object_keys.kind_of("n/cluster"), "cluster")
        self.assertEqual(object_keys.kind_of("loose"), "")
