"""
The levels of stored formats.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.format import levels, metadata_keys
from kafscale.format.errors import NewerFormat, UnreadableData
from kafscale.format.levels import check_json_level, check_level, highest_level, levels_read
from kafscale.format.producers import read_producers
from kafscale.format.trailer import Kind, end_with, read_end


class LevelsTests(SynchronousTestCase):
    """
    The table, and what follows from it.
    """

    def test_each_kind(self) -> None:
        """
        Each kind of object and each kind of entry has its levels.
        """
        kinds = {kind.name.lower() for kind in Kind}
        entries = {
            value.rstrip("/")
            for name, value in vars(metadata_keys).items()
            if name.isupper() and isinstance(value, str)
        }
        self.assertEqual(
            levels.LEVELS.keys(), kinds | entries | {"producers", "cluster", "milestone"}
        )

    def test_each_says_something(self) -> None:
        """
        Each level says what it has or adds.
        """
        for name, each in levels.LEVELS.items():
            self.assertTrue(each and all(each), name)

    def test_read(self) -> None:
        """
        What a broker registers are the levels above 0.
        """
        above = {name: len(each) - 1 for name, each in levels.LEVELS.items() if len(each) > 1}
        self.assertEqual(levels_read(), above)
        self.patch(levels, "LEVELS", {"slot": ["a", "b", "c"], "seal": ["a"]})
        self.assertEqual(levels_read(), {"slot": 2})
        self.assertEqual((highest_level("slot"), highest_level("seal")), (2, 0))

    def test_check(self) -> None:
        """
        Levels up to the highest are read, others refused.
        """
        self.patch(levels, "LEVELS", {**levels.LEVELS, "topics": ["a", "b"]})
        check_level("topics", 1)
        self.assertRaises(NewerFormat, check_level, "topics", 2)
        values: list[object] = [{}, {"level": 0}, {"level": 1}, [], "text", 7, None]
        for value in values:
            check_json_level("topics", value)
        self.assertRaises(NewerFormat, check_json_level, "topics", {"level": 2})

    def test_trailer(self) -> None:
        """
        The version in a trailer is the level and one more; what is newer is no
        damage, and what was never a version is.
        """
        for kind in Kind:
            self.assertEqual(read_end(end := end_with(kind, b"f"), len(end)), (kind, 0, b"f"))
            newer = end_with(kind, b"f", highest_level(kind.name.lower()) + 1)
            self.assertRaises(NewerFormat, read_end, newer, len(newer))
            never = end_with(kind, b"f", -1)
            error = self.assertRaises(UnreadableData, read_end, never, len(never))
            self.assertNotIsInstance(error, NewerFormat)

    def test_producers(self) -> None:
        """
        So it is with the first byte of producers' states.
        """
        self.assertRaises(NewerFormat, read_producers, b"\4\0\0\0\0")
        error = self.assertRaises(UnreadableData, read_producers, b"\0\0\0\0\0")
        self.assertNotIsInstance(error, NewerFormat)
