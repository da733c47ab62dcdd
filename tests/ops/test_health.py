"""
Tests of `kafscale.ops.health`.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.counts import StoreCounts
from kafscale.errors import StoreUnavailable
from kafscale.ops.health import FRESH, PATIENCE, RECENT, STUCK, Health, Watched


class HealthTestCase(SynchronousTestCase):
    """
    A broker with one store.
    """

    def setUp(self) -> None:
        """
        All is well, and the store was not asked for anything yet.
        """
        self.clock = Clock()
        self.clock.advance(1000)
        self.counts = StoreCounts("objects")
        self.probes: list[Deferred[object]] = []
        self.absent: str | None = None
        self.lost: str | None = None
        watched = Watched(self.counts, self.probe, self.clock, self.clock.seconds)
        self.health = Health([watched], lambda: self.absent, lambda: self.lost)

    def probe(self) -> Deferred[object]:
        """
        Asks the store; the test answers.
        """
        self.probes.append(Deferred())
        return self.probes[-1]

    def ask(self) -> Deferred[Sequence[str]]:
        """
        Whether the broker is ready.
        """
        return Deferred.fromCoroutine(self.health.unready())

    def answered(self) -> None:
        """
        The store has answered something just now.
        """
        self.counts.answered_at = self.clock.seconds()

    def failed(self, operation: str, why: str) -> None:
        """
        The store has not done this, just now.
        """
        counts = self.counts.operation(operation)
        counts.failure, counts.failed_at = why, self.clock.seconds()


class PlaceTests(HealthTestCase):
    """
    Whether the broker has its place in the cluster.
    """

    def test_well(self) -> None:
        """
        There is nothing to say.
        """
        self.answered()
        self.assertEqual(self.successResultOf(self.ask()), [])
        healthy = Deferred.fromCoroutine(self.health.unhealthy())
        self.assertEqual(self.successResultOf(healthy), [])

    def test_absent(self) -> None:
        """
        While it starts it is not ready, but healthy.
        """
        self.answered()
        self.absent = "it starts"
        self.assertEqual(self.successResultOf(self.ask()), ["it starts"])
        healthy = Deferred.fromCoroutine(self.health.unhealthy())
        self.assertEqual(self.successResultOf(healthy), [])

    def test_lost(self) -> None:
        """
        Who has lost its place for good is neither; the reason is one line.
        """
        self.answered()
        self.lost = "the log\nis not as it should be"
        line = "the log is not as it should be"
        self.assertEqual(self.successResultOf(self.ask()), [line])
        healthy = Deferred.fromCoroutine(self.health.unhealthy())
        self.assertEqual(self.successResultOf(healthy), [line])


class StoreTests(HealthTestCase):
    """
    Whether the stores answer.
    """

    def test_answered_lately(self) -> None:
        """
        A store that answers the broker's own work is not asked.
        """
        self.answered()
        self.clock.advance(FRESH - 0.1)
        self.assertEqual(self.successResultOf(self.ask()), [])
        self.assertEqual(self.probes, [])

    def test_asked(self) -> None:
        """
        Otherwise it is asked.
        """
        self.answered()
        self.clock.advance(FRESH)
        asking = self.ask()
        self.assertNoResult(asking)
        self.probes[0].callback(None)
        self.assertEqual(self.successResultOf(asking), [])

    def test_does_not_answer(self) -> None:
        """
        It has less than a second; all who ask meanwhile wait for one question.
        """
        first = self.ask()
        self.clock.advance(PATIENCE / 2)
        second = self.ask()
        self.clock.advance(PATIENCE / 2)
        reason = f"objects store: no answer within {PATIENCE} s"
        self.assertEqual(self.successResultOf(first), [reason])
        self.probes[0].callback(None)
        self.assertEqual(self.successResultOf(second), [])
        self.assertEqual(len(self.probes), 1)
        self.assertLess(PATIENCE, 1)

    def test_fails(self) -> None:
        """
        Its reason is told in one line, even if it is one that nobody thought
        of.
        """
        for failure in (StoreUnavailable("no\nroute"), ZeroDivisionError("no\nroute")):
            asking = self.ask()
            self.probes.pop().errback(failure)
            self.assertEqual(self.successResultOf(asking), ["objects store: no route"])

    def test_given_up(self) -> None:
        """
        Who does not wait for the verdict leaves nothing behind.
        """
        asking = self.ask()
        asking.cancel()
        self.failureResultOf(asking)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.probes[0].callback(None)

    def test_a_write_that_fails(self) -> None:
        """
        A disk that is full still reads. What the broker's work has met with
        counts, and the store is not asked.
        """
        self.answered()
        self.failed("create", "No space left on device")
        reason = "objects store: create failed: No space left on device"
        self.assertEqual(self.successResultOf(self.ask()), [reason])
        self.clock.advance(RECENT - 0.1)
        self.answered()
        self.assertEqual(self.successResultOf(self.ask()), [reason])
        self.assertEqual(self.probes, [])

    def test_a_failure_long_ago(self) -> None:
        """
        What failed long ago, and was not tried again since, says nothing; but
        as long as it is being tried again it has failed.
        """
        self.failed("delete", "away")
        self.counts.operation("delete").under_way[object()] = self.clock.seconds()
        self.clock.advance(RECENT)
        self.answered()
        self.assertEqual(self.successResultOf(self.ask()), ["objects store: delete failed: away"])
        self.counts.operation("delete").under_way.clear()
        self.assertEqual(self.successResultOf(self.ask()), [])

    def test_stuck(self) -> None:
        """
        What has had no answer for long counts as failed, whatever else is
        answered.
        """
        self.counts.operation("create").under_way[object()] = self.clock.seconds()
        self.clock.advance(STUCK)
        self.answered()
        self.assertEqual(self.successResultOf(self.ask()), [])
        self.clock.advance(1)
        reason = "objects store: create has had no answer for 31 s"
        self.assertEqual(self.successResultOf(self.ask()), [reason])
