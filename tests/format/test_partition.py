"""
Partitions' records as they are stored.
"""

from __future__ import annotations

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.format import metadata_keys
from kafscale.format.errors import CorruptRecord
from kafscale.format.partition import Chapter, PartitionRecord, leadership_of
from kafscale.interfaces import Entry

KEY = metadata_keys.partition(UUID(int=1), 0)
RECORD = PartitionRecord(rolled_to=50, key_epochs=((10, 4), (20, -1), (30, 7)))


class PartitionTests(SynchronousTestCase):
    """
    The record as a whole.
    """

    def test_chapters(self) -> None:
        """
        Chapters stand there as lists of numbers; a record without any has no
        such field.
        """
        record = PartitionRecord(rolled_to=9, chapters=(Chapter(3, 15, 2, 100, 50),))
        value = record.to_json()
        self.assertEqual(value["chapters"], [[3, 15, 2, 100, 50]])
        self.assertEqual(PartitionRecord.from_entry(Entry(KEY, value, 1)), record)
        self.assertNotIn("chapters", PartitionRecord().to_json())

    def test_leadership(self) -> None:
        """
        The leader is read without the rest.
        """
        value = {"leader": 3, "epoch": 7, "incarnation": 15, "epochs": "?"}
        self.assertEqual(leadership_of(Entry(KEY, value, 1)), (3, 7, 15))
        with self.assertRaises(CorruptRecord):
            leadership_of(Entry(KEY, {"leader": 3}, 1))

    def test_next_base(self) -> None:
        """
        The next segment begins with the first chapter, if there is one.
        """
        self.assertEqual(PartitionRecord(rolled_to=9).next_base, 9)
        chapters = (Chapter(3, 15, 2, 100, 50), Chapter(5, 15, 3, 0, 50))
        self.assertEqual(PartitionRecord(rolled_to=9, chapters=chapters).next_base, 3)


class KeyEpochTests(SynchronousTestCase):
    """
    What a partition's record says of keys.
    """

    def test_key_epoch(self) -> None:
        """
        The last pair that is not past the base.
        """
        found = [RECORD.key_epoch(base) for base in (0, 9, 10, 19, 20, 29, 30, 99)]
        self.assertEqual(found, [-1, -1, 4, 4, -1, -1, 7, 7])

    def test_with_key_epoch(self) -> None:
        """
        A pair for each change.
        """
        self.assertEqual(RECORD.with_key_epoch(7), RECORD.key_epochs)
        self.assertEqual(RECORD.with_key_epoch(8), (*RECORD.key_epochs, (50, 8)))
        self.assertEqual(PartitionRecord().with_key_epoch(-1), ())

    def test_key_epochs_from(self) -> None:
        """
        The pair that holds there, and those after it.
        """
        key_epochs = RECORD.key_epochs
        for base, left in ((None, 0), (0, 0), (10, 0), (19, 0), (20, 1), (35, 2)):
            self.assertEqual(RECORD.key_epochs_from(base), key_epochs[left:], base)

    def test_json(self) -> None:
        """
        Key epochs are stored as makers; a record without any does not have the field.
        """
        value = RECORD.to_json()
        self.assertEqual(value["makers"], [[10, 4], [20, -1], [30, 7]])
        self.assertEqual(PartitionRecord.from_json(value), RECORD)
        plain = PartitionRecord(rolled_to=3)
        self.assertNotIn("makers", plain.to_json())
        self.assertEqual(PartitionRecord.from_json(plain.to_json()), plain)
