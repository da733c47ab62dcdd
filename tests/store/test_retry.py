"""
Tests for L{kafscale.store.retry}.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import (
    CommitConflict,
    MetadataRolledBack,
    NoSuchObject,
    ObjectExists,
    StoreBusy,
    StoreContended,
    StoreUnavailable,
)
from kafscale.interfaces import Compare, Entry, IMetadataStore, IObjectStore, Put
from kafscale.store.blocking import at_once
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.retry import (
    FIRST_WAIT,
    LONGEST_WAIT,
    PATIENCE,
    WAITS,
    RetryingMetadataStore,
    RetryingObjectStore,
)
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, Verdict, let_pass
from tests.store import contract


class ObjectContractTests(contract.ObjectStoreContract):
    """
    A store whose requests are repeated keeps the contract.
    """

    async def make_store(self) -> IObjectStore:
        """
        Wrap a store in memory.
        """
        return RetryingObjectStore(MemoryObjectStore(), Clock(), lambda: 1.0)


class MetadataContractTests(contract.MetadataStoreContract):
    """
    A store whose requests are repeated keeps the contract.
    """

    async def make_store(self) -> IMetadataStore:
        """
        Wrap a store in memory.
        """
        inner = SQLiteMetadataStore(":memory:", at_once)
        return RetryingMetadataStore(inner, Clock(), lambda: 1.0)


class FailingStore(MemoryObjectStore):
    """
    A store whose first calls fail.

    @ivar failures: What the next calls raise.
    @ivar calls: The times of all calls, in seconds.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        self.calls: list[float] = []
        self._clock = clock

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        Fail, or create.
        """
        self._fail()
        await super().create(key, pieces)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        Fail, or get.
        """
        self._fail()
        return await super().get(key, start, length)

    def _fail(self) -> None:
        self.calls.append(self._clock.seconds())
        if self.failures:
            raise self.failures.pop(0)


class RetryingObjectStoreTests(SynchronousTestCase):
    """
    An object store that is unavailable for a while.
    """

    def setUp(self) -> None:
        """
        Make a store in memory, and no jitter.
        """
        self.clock = Clock()
        self.inner = FailingStore(self.clock)
        self.store = RetryingObjectStore(self.inner, self.clock, lambda: 1.0)

    def run_for(self, seconds: float) -> None:
        """
        Let time pass, in small steps.
        """
        self.clock.pump([0.01] * round(seconds * 100))

    def waits(self) -> list[float]:
        """
        The seconds between attempts.
        """
        calls = self.inner.calls
        return [round(b - a, 2) for a, b in itertools.pairwise(calls)]

    def test_answers_are_not_repeated(self) -> None:
        """
        "The object exists" and "there is no such object" are answers. A store
        that was rolled back stays so.
        """
        self.inner.failures = [
            ObjectExists("a"),
            NoSuchObject("b"),
            MetadataRolledBack(1, 2),
        ]
        self.failureResultOf(begin(self.store.create("a", [b"x"])), ObjectExists)
        self.failureResultOf(begin(self.store.get("b")), NoSuchObject)
        self.failureResultOf(begin(self.store.get("b")), MetadataRolledBack)

    def test_create_for_as_long_as_it_takes(self) -> None:
        """
        A create is repeated for an hour, with growing waits.
        """
        self.inner.failures = [StoreUnavailable("away")] * 720
        creating = begin(self.store.create("a", [b"x"]))
        self.clock.pump([1.0] * 3300)
        self.assertNoResult(creating)
        self.clock.pump([1.0] * 600)
        self.successResultOf(creating)
        self.assertLessEqual(self.waits()[0], FIRST_WAIT + 1)
        self.assertLessEqual(max(self.waits()), LONGEST_WAIT + 1)

    def test_reads_give_up(self) -> None:
        """
        A read fails after a while.
        """
        self.inner.failures = [StoreUnavailable("away")] * 1000
        reading = begin(self.store.get("a"))
        self.run_for(PATIENCE - 1)
        self.assertNoResult(reading)
        self.run_for(1 + LONGEST_WAIT)
        self.failureResultOf(reading, StoreUnavailable)

    def test_waits_by_kind(self) -> None:
        """
        An overloaded store gets more time, one that was asked by several at
        once is asked again soon. The waits of each kind grow by themselves.
        """
        kinds = [StoreBusy, StoreContended, StoreUnavailable, StoreContended, StoreBusy]
        self.inner.failures = [kind("x") for kind in kinds]
        creating = begin(self.store.create("a", [b"x"]))
        self.run_for(5)
        self.successResultOf(creating)
        busy, contended = WAITS[StoreBusy][0], WAITS[StoreContended][0]
        wanted = [busy, contended, FIRST_WAIT, 2 * contended, 2 * busy]
        for found, least in zip(self.waits(), wanted, strict=True):
            self.assertAlmostEqual(found, least, delta=0.011)

    def test_jitter(self) -> None:
        """
        A wait is at least half of what it is without jitter.
        """
        self.store = RetryingObjectStore(self.inner, self.clock, lambda: 0.0)
        self.inner.failures = [StoreBusy("x")]
        creating = begin(self.store.create("a", [b"x"]))
        self.run_for(WAITS[StoreBusy][0] / 2 + 0.01)
        self.successResultOf(creating)

    def test_close(self) -> None:
        """
        When the store is closed, a request that is repeated fails at the next
        attempt.
        """
        self.inner.failures = [StoreUnavailable("away")] * 1000
        creating = begin(self.store.create("a", [b"x"]))
        now(self.store.close())
        self.run_for(1)
        self.failureResultOf(creating, StoreUnavailable)


class RetryingMetadataStoreTests(SynchronousTestCase):
    """
    A metadata store that is unavailable for a while.
    """

    def setUp(self) -> None:
        """
        Make a store in memory that does not answer, and no jitter.
        """
        self.clock = Clock()
        self.inner = HostileMetadataStore(
            SQLiteMetadataStore(":memory:", at_once), lambda operation: Verdict.FAIL
        )
        self.store = RetryingMetadataStore(self.inner, self.clock, lambda: 1.0)

    def test_get_for_as_long_as_it_takes(self) -> None:
        """
        A read of one key is repeated for an hour.
        """
        reading = begin(self.store.get("a"))
        self.clock.pump([1.0] * 3600)
        self.assertNoResult(reading)
        self.inner.policy = let_pass
        self.clock.advance(LONGEST_WAIT)
        self.assertIsNone(self.successResultOf(reading))

    def test_range_gives_up(self) -> None:
        """
        A read of several keys fails after a while, and so does that of a watch.
        """
        self.inner.policy = let_pass
        watch = now(self.store.watch("", 0, lambda changes: None))
        self.inner.policy = lambda operation: Verdict.FAIL
        readings = [begin(self.store.range("")), begin(self.store.catch_up(watch))]
        self.clock.pump([0.1] * int(PATIENCE * 10 - 10))
        for reading in readings:
            self.assertNoResult(reading)
        self.clock.advance(1 + LONGEST_WAIT)
        for reading in readings:
            self.failureResultOf(reading, StoreUnavailable)

    def test_commit_once(self) -> None:
        """
        A commit is made once. Its failure is raised after a wait, which grows
        with the failures in a row, and begins anew after a success.
        """
        self.inner.policy = lambda operation: Verdict.FAIL_BUT_APPLY
        for wait in (FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT):
            committing = begin(self.store.commit([], [Put("a", wait)]))
            self.clock.advance(wait * 0.9)
            self.assertNoResult(committing)
            self.clock.advance(wait * 0.2)
            self.failureResultOf(committing, StoreUnavailable)
        self.inner.policy = let_pass
        self.assertEqual(now(self.store.get("a")), Entry("a", 4 * FIRST_WAIT, 3))
        now(self.store.commit([], [Put("a", 1)]))
        self.inner.policy = lambda operation: Verdict.FAIL
        committing = begin(self.store.commit([], [Put("a", 2)]))
        self.clock.advance(FIRST_WAIT)
        self.failureResultOf(committing, StoreUnavailable)

    def test_conflict(self) -> None:
        """
        A conflict is raised at once.
        """
        self.inner.policy = let_pass
        committing = begin(self.store.commit([Compare("a", 1)], [Put("a", 1)]))
        self.failureResultOf(committing, CommitConflict)

    def test_leases_and_watches_are_passed_on(self) -> None:
        """
        Leases and watches are requested once, and their failures are raised at
        once.
        """
        for call in (
            self.store.lease(10),
            self.store.revoke(1),
            self.store.watch("", 0, lambda changes: None),
        ):
            self.failureResultOf(begin(call), StoreUnavailable)

    def test_close(self) -> None:
        """
        When the store is closed, a read that is repeated fails at the next
        attempt, and a commit that fails does so at once.
        """
        reading = begin(self.store.get("a"))
        now(self.store.close())
        self.clock.advance(FIRST_WAIT)
        self.failureResultOf(reading, StoreUnavailable)
        self.failureResultOf(begin(self.store.commit([], [Put("a", 1)])), StoreUnavailable)
