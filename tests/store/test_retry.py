"""
Asking again, and how long after.
"""

from __future__ import annotations

import itertools

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import (
    MetadataRolledBack,
    NoSuchObject,
    ObjectExists,
    StoreBusy,
    StoreContended,
    StoreUnavailable,
)
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.retry import (
    FIRST_WAIT,
    LONGEST_WAIT,
    PATIENCE,
    WAITS,
    RetryingObjectStore,
)
from tests.store.contract import begin


class FailingStore(MemoryObjectStore):
    """
    A store that fails as it is told, and then does as it is asked.

    @ivar failures: What the next calls raise.
    @ivar calls: When it was called.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        self.calls: list[float] = []
        self._clock = clock

    async def create(self, key: str, pieces: object) -> None:
        """
        Fail, or create.
        """
        self._fail()
        await super().create(key, pieces)  # type: ignore[arg-type]

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


class RetryTests(SynchronousTestCase):
    """
    A store that is away for a while.
    """

    def setUp(self) -> None:
        """
        A store in memory, without jitter.
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
        Seconds between attempts.
        """
        calls = self.inner.calls
        return [round(b - a, 2) for a, b in itertools.pairwise(calls)]

    def test_verdicts_are_not_repeated(self) -> None:
        """
        "It exists" and "there is none" are answers; and who has forgotten
        what was will not remember.
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
        An outage of an hour is waited for, with longer and longer waits.
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
        Who reads is told after a while.
        """
        self.inner.failures = [StoreUnavailable("away")] * 1000
        reading = begin(self.store.get("a"))
        self.run_for(PATIENCE - 1)
        self.assertNoResult(reading)
        self.run_for(1 + LONGEST_WAIT)
        self.failureResultOf(reading, StoreUnavailable)

    def test_waits_by_kind(self) -> None:
        """
        A store that is asked too much gets more time, one that was asked by
        several at once is asked again soon; each kind counts for itself.
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
        Waits are spread from half to the whole.
        """
        self.store = RetryingObjectStore(self.inner, self.clock, lambda: 0.0)
        self.inner.failures = [StoreBusy("x")]
        creating = begin(self.store.create("a", [b"x"]))
        self.run_for(WAITS[StoreBusy][0] / 2 + 0.01)
        self.successResultOf(creating)

    def test_close(self) -> None:
        """
        Who waits when the store is closed is told at the next failure.
        """
        self.inner.failures = [StoreUnavailable("away")] * 1000
        creating = begin(self.store.create("a", [b"x"]))
        self.successResultOf(begin(self.store.close()))
        self.run_for(1)
        self.failureResultOf(creating, StoreUnavailable)
