"""
Tests of L{kafscale.store.rollback_guard}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import SettingError
from kafscale.format.metadata_keys import MILESTONES
from kafscale.interfaces import Compare, Delete, Put
from kafscale.store import rollback_guard
from kafscale.store.blocking import at_once
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.rollback_guard import SECONDS, SELDOM, RollbackGuard
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.hostile import (
    HostileMetadataStore,
    HostileObjectStore,
    Operation,
    Verdict,
    let_pass,
)


class ReportingStore(SQLiteMetadataStore):
    """
    A store in memory that reports the revision of each commit to the test.
    """

    def __init__(self, test: RollbackGuardTests) -> None:
        super().__init__(":memory:", at_once)
        self._test = test

    async def commit(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int:
        """
        Commit, and report.
        """
        self._test.committed = await super().commit(compares, operations)
        return self._test.committed


def unavailable(operation: Operation) -> Verdict:
    """
    The policy of a store that does not answer.
    """
    return Verdict.FAIL


@attrs.frozen
class Started:
    """
    A guard that has begun, and its views of the two stores.
    """

    guard: RollbackGuard
    metadata: HostileMetadataStore
    objects: HostileObjectStore


class RollbackGuardTests(SynchronousTestCase):
    """
    A bucket, and a metadata store that may be rolled back.
    """

    def setUp(self) -> None:
        """
        Both are new.
        """
        self.clock = Clock()
        self.objects = MemoryObjectStore()
        self.metadata = ReportingStore(self)
        self.reported: list[str] = []
        self.committed = 0

    def result(self, coroutine: Any) -> Any:
        """
        The result of a coroutine that waits for nothing. A SettingError is raised.
        """
        done = Deferred.fromCoroutine(coroutine)
        if isinstance(done.result, Failure):
            raise self.failureResultOf(done, SettingError).value
        return self.successResultOf(done)

    def start(self, clock: Clock | None = None) -> Started:
        """
        Start a guard, as a broker does.

        @param clock: Another one than the test's.
        """
        metadata = HostileMetadataStore(self.metadata, let_pass)
        objects = HostileObjectStore(self.objects, let_pass)
        guard = RollbackGuard(
            metadata,
            lambda: self.committed,
            objects,
            "n",
            clock or self.clock,
            lambda: uuid4().hex,
        )
        self.result(guard.begin())
        guard.watch(self.reported.append)
        return Started(guard, metadata, objects)

    def start_and_end(self) -> None:
        """
        Start a guard, and end it in order.
        """
        self.result(self.start().guard.end())

    def change(self) -> None:
        """
        The broker commits something.
        """
        self.result(self.metadata.commit([], [Put("a", 1)]))

    def change_of_another(self) -> None:
        """
        Another broker commits something.
        """
        self.result(SQLiteMetadataStore.commit(self.metadata, [], [Put("b", 1)]))

    def milestones(self) -> list[int]:
        """
        The revisions of the milestones in the bucket.
        """
        listed = self.result(self.objects.list("n/milestones/"))
        return [int(each.key.rpartition("/")[2]) for each in listed]

    def names(self) -> list[str]:
        """
        The names that the metadata store lists.
        """
        entries, _ = self.result(self.metadata.range(MILESTONES))
        return list(next(entry.value for entry in entries if entry.key == MILESTONES))

    def roll_back(self) -> None:
        """
        Replace the metadata store by one that has forgotten everything.
        """
        self.metadata = ReportingStore(self)

    def assert_refused(self) -> None:
        """
        Assert that a start is refused, and leaves the milestones as they are.
        """
        before = self.milestones()
        with self.assertRaisesRegex(SettingError, "older than the records.*Restore a newer"):
            self.start()
        self.assertEqual(self.milestones(), before)

    def test_written_after_changes(self) -> None:
        """
        A milestone takes the place of the one before when the broker has
        committed something, but not too soon; and stays when it has not.
        """
        guard = self.start().guard
        (first,) = self.milestones()
        self.clock.pump([SECONDS] * SELDOM)
        self.assertEqual(self.milestones(), [first])
        self.change()
        self.clock.advance(SECONDS)
        self.assertEqual(self.milestones(), [self.committed])
        self.change()
        self.clock.pump([SECONDS] * (SELDOM - 1))
        self.assertLess(self.milestones(), [self.committed])
        self.clock.advance(SECONDS)
        self.assertEqual(self.milestones(), [self.committed])
        self.change()
        self.result(guard.end())
        self.assertEqual(self.milestones(), [self.committed])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.reported, [])

    def test_several_brokers(self) -> None:
        """
        Each broker has a milestone of its own. The next start removes all but
        its own.
        """
        first, second = self.start().guard, self.start().guard
        self.change()
        self.result(first.end())
        self.change()
        self.result(second.end())
        self.start()
        self.assertEqual(self.milestones(), [self.committed])

    def test_rolled_back(self) -> None:
        """
        A start with an older metadata store is refused, again and again.
        """
        self.start_and_end()
        self.roll_back()
        self.assert_refused()
        self.assert_refused()

    def test_rolled_back_and_raised(self) -> None:
        """
        A start is also refused if the revision has grown since, by commits of
        other programs or by hand.
        """
        self.start_and_end()
        self.roll_back()
        for _ in range(100):
            self.change()
        self.assert_refused()

    def test_rolled_back_while_running(self) -> None:
        """
        A running broker notices a rollback, and the next start is refused, even
        if no milestone had been written of the last commits.
        """
        for changes in (1, 100):
            self.setUp()
            started = self.start()
            for _ in range(5):
                self.change()
            self.roll_back()
            for _ in range(changes):
                self.change_of_another()
            started.metadata.inner = self.metadata
            self.clock.advance(SECONDS)
            self.assertEqual(len(self.reported), 1)
            self.assertIn("older than the records", self.reported[0])
            self.assert_refused()

    def test_beside_busy_brokers(self) -> None:
        """
        The last two names of each broker are listed, however many milestones
        other brokers write meanwhile.
        """
        self.start()
        busy_clock = Clock()
        for _ in range(2):
            self.start(busy_clock)
        for _ in range(10):
            self.change()
            busy_clock.pump([SECONDS] * SELDOM)
            self.clock.advance(SECONDS)
        self.assertEqual(self.reported, [])
        self.assertLessEqual(len(self.names()), 6)

    def test_bucket_unavailable(self) -> None:
        """
        While the bucket does not answer, for however long, the name of its
        last milestone stays listed, and the next start succeeds.
        """
        started = self.start()
        (before,) = self.names()
        started.objects.policy = unavailable
        for _ in range(20):
            self.change()
            self.clock.advance(SECONDS)
        self.assertEqual(self.reported, [])
        self.assertIn(before, self.names())
        self.assertLessEqual(len(self.names()), 2)
        self.start()

    def test_beside_starting_brokers(self) -> None:
        """
        The name of a broker that commits nothing for long stays listed, though
        other brokers start again and again, and leave their names.
        """
        self.patch(rollback_guard, "KNOWN", 10)
        self.start()
        for _ in range(30):
            self.start_and_end()
            self.clock.advance(SECONDS)
        self.assertEqual(self.reported, [])
        self.assertEqual(len(self.names()), 10)

    def test_metadata_unavailable(self) -> None:
        """
        While the metadata store does not answer, a milestone of the last
        commits is written, in case it comes back rolled back.
        """
        started = self.start()
        self.change()
        started.metadata.policy = unavailable
        self.clock.advance(SECONDS)
        self.assertEqual((self.milestones(), self.reported), ([self.committed], []))
