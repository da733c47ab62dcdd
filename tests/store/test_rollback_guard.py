"""
Tests of `kafscale.store.rollback_guard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import SettingError, StoreUnavailable
from kafscale.interfaces import Compare, Delete, Entry, Put
from kafscale.store import rollback_guard
from kafscale.store.blocking import at_once
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.rollback_guard import KEY, SECONDS, SELDOM, Milestones
from kafscale.store.sqlite.store import SQLiteMetadataStore


class Told(SQLiteMetadataStore):
    """
    Tells the test of all commits.
    """

    def __init__(self, test: MilestonesTests, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._test = test

    async def commit(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int:
        """
        As always.
        """
        self._test.committed = await super().commit(compares, operations)
        return self._test.committed


class Away(SQLiteMetadataStore):
    """
    Does not answer.
    """

    async def range(self, prefix: str) -> tuple[list[Entry], int]:
        """
        Fails.
        """
        raise StoreUnavailable("away")


class AwayObjects(MemoryObjectStore):
    """
    Takes nothing.
    """

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        Fails.
        """
        raise StoreUnavailable("away")


class MilestonesTests(SynchronousTestCase):
    """
    A bucket, and a metadata store that may be set back.
    """

    def setUp(self) -> None:
        """
        Both are new.
        """
        self.clock = Clock()
        self.objects = MemoryObjectStore()
        self.metadata = Told(self, ":memory:", at_once)
        self.lost: list[str] = []
        self.committed = 0

    def result(self, coroutine: Any) -> Any:
        """
        What it comes to, at once; raised, if that is a refusal.
        """
        done = Deferred.fromCoroutine(coroutine)
        if isinstance(done.result, Failure):
            raise self.failureResultOf(done, SettingError).value
        return self.successResultOf(done)

    def milestones(self) -> Milestones:
        """
        As a broker has them that has started.
        """
        metadata = self.metadata
        made = Milestones(
            metadata, lambda: self.committed, self.objects, "n", self.clock, lambda: uuid4().hex
        )
        self.result(made.begin())
        made.keep(self.lost.append)
        return made

    def change(self) -> None:
        """
        The broker commits something.
        """
        self.result(self.metadata.commit([], [Put("a", 1)]))

    def made(self) -> list[int]:
        """
        The milestones in the bucket.
        """
        listed = self.result(self.objects.list("n/milestones/"))
        return [int(each.key.rpartition("/")[2]) for each in listed]

    def set_back(self) -> None:
        """
        The metadata store is one that knows of nothing that has happened.
        """
        self.metadata = Told(self, ":memory:", at_once)

    def test_made_after_changes(self) -> None:
        """
        A milestone takes the place of the one before it when the broker has
        committed something, but not too soon; and stays when it has not.
        """
        milestones = self.milestones()
        (first,) = self.made()
        self.clock.pump([SECONDS] * SELDOM)
        self.assertEqual(self.made(), [first])
        self.change()
        self.clock.advance(SECONDS)
        self.assertEqual(self.made(), [self.committed])
        self.change()
        self.clock.pump([SECONDS] * (SELDOM - 1))
        self.assertLess(self.made(), [self.committed])
        self.clock.advance(SECONDS)
        self.assertEqual(self.made(), [self.committed])
        self.change()
        self.result(milestones.end())
        self.assertEqual(self.made(), [self.committed])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.lost, [])

    def test_of_several(self) -> None:
        """
        Each broker has its own, and the next start takes away all but its.
        """
        first, second = self.milestones(), self.milestones()
        self.change()
        self.result(first.end())
        self.change()
        self.result(second.end())
        self.milestones()
        self.assertEqual(self.made(), [self.committed])

    def assert_refused(self) -> None:
        """
        A start is, and leaves the milestone.
        """
        before = self.made()
        with self.assertRaisesRegex(SettingError, "older than the records.*Restore a newer"):
            self.milestones()
        self.assertEqual(self.made(), before)

    def test_set_back(self) -> None:
        """
        A start with an older metadata store is refused, again and again.
        """
        self.result(self.milestones().end())
        self.set_back()
        self.assert_refused()
        self.assert_refused()

    def test_raised(self) -> None:
        """
        Also if its revision was raised, by hand or by what others have in it.
        """
        self.result(self.milestones().end())
        self.set_back()
        for _ in range(100):
            self.change()
        self.assert_refused()

    def test_set_back_meanwhile(self) -> None:
        """
        A broker that runs is told of it; and the next start is refused, also
        if no milestone had been made of the last commits.
        """
        for changes in (1, 100):
            self.setUp()
            milestones = self.milestones()
            for _ in range(5):
                self.change()
            self.set_back()
            for _ in range(changes):
                self.change_of_others()
            milestones._metadata = self.metadata
            self.clock.advance(SECONDS)
            self.assertEqual(len(self.lost), 1)
            self.assertIn("older than the records", self.lost[0])
            self.assert_refused()

    def change_of_others(self) -> None:
        """
        Somebody else commits something.
        """
        self.result(SQLiteMetadataStore.commit(self.metadata, [], [Put("b", 1)]))

    def names(self) -> list[str]:
        """
        Those that the metadata store knows.
        """
        entries, _ = self.result(self.metadata.range(KEY))
        return list(next(entry.value for entry in entries if entry.key == KEY))

    def test_beside_busy_ones(self) -> None:
        """
        Of each broker the last two names are known, however many it sets.
        """
        self.milestones()
        busy = [self.milestones() for _ in range(2)]
        for _ in range(10):
            for each in busy:
                self.change()
                self.result(each._put())
            self.clock.advance(SECONDS)
        self.assertEqual(self.lost, [])
        self.assertLessEqual(len(self.names()), 6)

    def test_the_bucket_is_away(self) -> None:
        """
        For as long as one likes: what its last milestone says stays known,
        and the next start finds all well.
        """
        first = self.milestones()
        (before,) = self.names()
        first._objects = AwayObjects()
        for _ in range(20):
            self.change()
            self.clock.advance(SECONDS)
        self.assertEqual(self.lost, [])
        self.assertIn(before, self.names())
        self.assertLessEqual(len(self.names()), 2)
        self.milestones()

    def test_beside_new_ones(self) -> None:
        """
        A broker that commits nothing for long is not forgotten, though others
        start again and again, and leave their names.
        """
        self.patch(rollback_guard, "KNOWN", 10)
        self.milestones()
        for _ in range(30):
            self.result(self.milestones().end())
            self.clock.advance(SECONDS)
        self.assertEqual(self.lost, [])
        self.assertEqual(len(self.names()), 10)

    def test_away(self) -> None:
        """
        While the metadata store is away a milestone of the last commits is made,
        for it may come back as another.
        """
        milestones = self.milestones()
        self.change()

        milestones._metadata = Away(":memory:", at_once)
        self.clock.advance(SECONDS)
        self.assertEqual((self.made(), self.lost), ([self.committed], []))
