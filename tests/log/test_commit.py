"""
Tests for L{kafscale.log.commit}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import CommitConflict, StoreUnavailable
from kafscale.interfaces import Compare, Put
from kafscale.log import commit
from kafscale.log.commit import Change, settle, settle_all
from kafscale.store.blocking import at_once
from kafscale.store.retry import LONGEST_WAIT, RetryingMetadataStore
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, Operation, Verdict


class SettleTests(SynchronousTestCase):
    """
    Whatever the store answers, the outcome is known in the end.
    """

    def setUp(self) -> None:
        """
        Put 1 at the key C{a}.
        """
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        self.store = HostileMetadataStore(self.inner)
        self.clock = Clock()
        self.revision = now(self.inner.commit([], [Put("a", 1)]))
        self.addCleanup(lambda: now(self.inner.close()))

    def settle(self, value: Any = 2, **named: Any) -> Deferred[int]:
        """
        Start to put another value.
        """
        store = RetryingMetadataStore(self.store, self.clock, lambda: 0.0)
        return begin(settle(store, "a", self.revision, value, **named))

    def value(self) -> tuple[Any, int]:
        """
        Return the value and its revision.
        """
        entry = now(self.inner.get("a"))
        assert entry is not None
        return entry.value, entry.revision

    def others(self, value: Any) -> int:
        """
        Put a value as another writer.
        """
        return now(self.inner.commit([], [Put("a", value)]))

    def test_done(self) -> None:
        """
        The new revision is returned.
        """
        settling = self.settle()
        self.store.settle()
        self.assertEqual((2, self.successResultOf(settling)), self.value())

    def test_conflict(self) -> None:
        """
        Another writer came first.
        """
        self.others(3)
        settling = self.settle()
        self.store.settle()
        self.failureResultOf(settling, CommitConflict)
        self.assertEqual(self.value()[0], 3)

    def test_guard(self) -> None:
        """
        A guard that does not hold is a conflict, too.
        """
        settling = self.settle(guards=(Compare("b", 7),))
        self.store.settle()
        self.failureResultOf(settling, CommitConflict)
        self.assertEqual(self.value()[0], 1)

    def test_failed_and_not_done(self) -> None:
        """
        A commit that failed and was not done is tried again.
        """
        settling = self.settle()
        self.store.pending[0].fail()
        self.clock.advance(1)
        self.store.settle()
        self.assertEqual((2, self.successResultOf(settling)), self.value())

    def test_failed_and_done(self) -> None:
        """
        Reading back shows that it was done; it is not done twice.
        """
        settling = self.settle()
        self.store.pending[0].fail_but_apply()
        done = self.value()
        self.clock.advance(1)
        self.store.settle()
        self.assertEqual((2, self.successResultOf(settling)), done)
        self.assertEqual(self.value(), done)

    def test_failed_and_others_came_first(self) -> None:
        """
        What is read back is neither the old value nor the new one.
        """
        settling = self.settle()
        self.store.pending[0].fail()
        self.others(3)
        self.clock.advance(1)
        self.store.settle()
        self.failureResultOf(settling, CommitConflict)

    def test_failed_and_done_between_reading_and_trying_again(self) -> None:
        """
        The second attempt misses because of the first: that is no conflict.
        """
        settling = self.settle()
        late = self.store.pending[0].fail_and_apply_later()
        self.clock.advance(1)
        self.store.pending[0].succeed()  # reading back: not done
        late.apply()
        done = self.value()
        self.store.settle()
        self.assertEqual((2, self.successResultOf(settling)), done)

    def test_failed_and_done_long_after(self) -> None:
        """
        The first attempt misses, because the second was done.
        """
        settling = self.settle()
        late = self.store.pending[0].fail_and_apply_later()
        self.clock.advance(1)
        self.store.settle()
        done = self.value()
        late.apply()
        self.assertEqual((2, self.successResultOf(settling)), done)
        self.assertEqual(self.value(), done)

    def test_in_doubt_from_the_beginning(self) -> None:
        """
        An earlier attempt, among others, was done.
        """
        done = self.others(2)
        settling = self.settle(in_doubt=True)
        self.store.settle()
        self.assertEqual(self.successResultOf(settling), done)

    def test_waits_between_attempts(self) -> None:
        """
        A store that refuses each commit at once, and answers each read, is
        asked less and less often.
        """
        asked = 0

        def refuse(operation: Any) -> Verdict:
            nonlocal asked
            asked += operation.kind == "commit"
            return Verdict.FAIL if operation.kind == "commit" else Verdict.SUCCEED

        self.store.policy = refuse
        settling = self.settle()
        self.assertEqual(asked, 1)
        for _ in range(1000):
            self.clock.advance(0.1)
        self.assertNoResult(settling)
        self.assertLess(asked, 10 + 100 / LONGEST_WAIT * 2)

    def test_ends_with_the_store(self) -> None:
        """
        When the store is closed the failure is raised.
        """
        store = RetryingMetadataStore(self.store, self.clock, lambda: 0.0)
        settling = begin(settle(store, "a", self.revision, 2))
        now(store.close())
        self.store.pending[0].fail()
        self.store.pending[0].fail()
        self.failureResultOf(settling, StoreUnavailable)


class SettleAllTests(SynchronousTestCase):
    """
    Many changes are done in few commits.
    """

    def setUp(self) -> None:
        """
        Note the size of each commit. Three guards are at the keys C{g0} to C{g2}.
        """
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        self.addCleanup(lambda: now(self.inner.close()))
        self.commits: list[tuple[int, int]] = []
        self.fails: dict[int, Verdict] = {}
        self.guards = [
            Compare(f"g{number}", now(self.inner.commit([], [Put(f"g{number}", 1)])))
            for number in range(3)
        ]

    def decide(self, operation: Operation) -> Verdict:
        """
        Note a commit, which fails if that is wanted of its number.
        """
        if operation.kind != "commit":
            return Verdict.SUCCEED
        compares, changes = operation.arguments
        self.commits.append((len(compares), len(changes)))
        return self.fails.get(len(self.commits), Verdict.SUCCEED)

    def settle(self, *changes: Change) -> list[bool]:
        """
        Make the changes, and return which of them were done.
        """
        store = HostileMetadataStore(self.inner, self.decide)
        revisions = now(settle_all(store, changes, (Compare("alive", 0),)))
        for change, revision in zip(changes, revisions, strict=True):
            entry = now(self.inner.get(change.key))
            if revision is not None:
                assert entry is not None
                self.assertEqual((entry.value, entry.revision), (change.value, revision))
        return [revision is not None for revision in revisions]

    def of_group(self, number: int, count: int, guard: Compare | None) -> list[Change]:
        """
        Return changes of new keys under a guard.
        """
        return [Change(f"{number}/{each}", 0, each, guard) for each in range(count)]

    def test_guards_together(self) -> None:
        """
        Changes with different guards share a commit, which compares each guard once.
        """
        changes = [
            change
            for number, guard in enumerate(self.guards)
            for change in self.of_group(number, 4, guard)
        ]
        self.assertEqual(self.settle(*changes), [True] * 12)
        self.assertEqual(self.commits, [(1 + 3 + 12, 12)])

    def test_limits(self) -> None:
        """
        No commit has more changes than C{TOGETHER}, nor more compares than a store takes.
        """
        self.assertEqual(self.settle(*self.of_group(0, 120, None)), [True] * 120)
        self.assertEqual([changes for _, changes in self.commits], [50, 50, 20])
        self.commits.clear()
        self.patch(commit, "TOGETHER", 100)
        changes = [
            Change(f"{number}/own", 0, number, Compare(f"guard {number}", 0))
            for number in range(100)
        ]
        self.assertEqual(self.settle(*changes), [True] * 100)
        self.assertEqual(self.commits, [(127, 63), (75, 37)])

    def test_one_guard_misses(self) -> None:
        """
        If a guard does not hold, its changes are not made, and all others are.
        """
        first, second = self.guards[:2]
        missed = Compare(second.key, 1_000_000)
        changes = [*self.of_group(0, 2, first), *self.of_group(1, 2, missed)]
        self.assertEqual(self.settle(*changes), [True, True, False, False])
        self.assertEqual(len(self.commits), 5)

    def test_lost_answer(self) -> None:
        """
        After a commit of unknown outcome each change is made once, whether or not that
        one was done.
        """
        for number, verdict in enumerate((Verdict.FAIL, Verdict.FAIL_BUT_APPLY)):
            self.commits.clear()
            self.fails = {1: verdict}
            self.assertEqual(self.settle(*self.of_group(number, 3, self.guards[0])), [True] * 3)
