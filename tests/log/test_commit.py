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
from kafscale.log.commit import settle
from kafscale.store.blocking import at_once
from kafscale.store.retry import LONGEST_WAIT, RetryingMetadataStore
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, Verdict


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
