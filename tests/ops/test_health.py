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
from kafscale.ops.health import FRESH, PROBE_SECONDS, RECENT, STUCK, Health, StoreHealth


class HealthTestCase(SynchronousTestCase):
    """
    A broker with one store.
    """

    def setUp(self) -> None:
        """
        There is no problem, and the store has not been used yet.
        """
        self.clock = Clock()
        self.clock.advance(1000)
        self.counts = StoreCounts("objects")
        self.probes: list[Deferred[object]] = []
        self.unready: str | None = None
        self.unhealthy: str | None = None
        store = StoreHealth(self.counts, self.probe, self.clock, self.clock.seconds)
        self.health = Health([store], lambda: self.unready, lambda: self.unhealthy)

    def probe(self) -> Deferred[object]:
        """
        Ask the store; the test answers.
        """
        self.probes.append(Deferred())
        return self.probes[-1]

    def ask(self) -> Deferred[Sequence[str]]:
        """
        Ask whether the broker is ready.
        """
        return Deferred.fromCoroutine(self.health.unready())

    def answered(self) -> None:
        """
        The store has answered an operation just now.
        """
        self.counts.answered_at = self.clock.seconds()

    def failed(self, operation: str, why: str) -> None:
        """
        An operation of the store has failed just now.
        """
        counts = self.counts.operation(operation)
        counts.failure, counts.failed_at = why, self.clock.seconds()


class BrokerTests(HealthTestCase):
    """
    The broker's own reasons.
    """

    def test_well(self) -> None:
        """
        Without a reason the broker is ready and healthy.
        """
        self.answered()
        self.assertEqual(self.successResultOf(self.ask()), [])
        healthy = Deferred.fromCoroutine(self.health.unhealthy())
        self.assertEqual(self.successResultOf(healthy), [])

    def test_unready(self) -> None:
        """
        A broker that is starting is healthy, but not ready.
        """
        self.answered()
        self.unready = "it starts"
        self.assertEqual(self.successResultOf(self.ask()), ["it starts"])
        healthy = Deferred.fromCoroutine(self.health.unhealthy())
        self.assertEqual(self.successResultOf(healthy), [])

    def test_unhealthy(self) -> None:
        """
        An unhealthy broker is not ready either; the reason is one line.
        """
        self.answered()
        self.unhealthy = "the log\nis not as it should be"
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
        A store that has answered the broker's own operations is not probed.
        """
        self.answered()
        self.clock.advance(FRESH - 0.1)
        self.assertEqual(self.successResultOf(self.ask()), [])
        self.assertEqual(self.probes, [])

    def test_asked(self) -> None:
        """
        A store that has answered nothing lately is probed.
        """
        self.answered()
        self.clock.advance(FRESH)
        asking = self.ask()
        self.assertNoResult(asking)
        self.probes[0].callback(None)
        self.assertEqual(self.successResultOf(asking), [])

    def test_does_not_answer(self) -> None:
        """
        A probe has less than a second; requests meanwhile wait for the same
        probe.
        """
        first = self.ask()
        self.clock.advance(PROBE_SECONDS / 2)
        second = self.ask()
        self.clock.advance(PROBE_SECONDS / 2)
        reason = f"objects store: no answer within {PROBE_SECONDS} s"
        self.assertEqual(self.successResultOf(first), [reason])
        self.probes[0].callback(None)
        self.assertEqual(self.successResultOf(second), [])
        self.assertEqual(len(self.probes), 1)
        self.assertLess(PROBE_SECONDS, 1)

    def test_fails(self) -> None:
        """
        The reason of a failed probe is one line, also for unexpected errors.
        """
        for failure in (StoreUnavailable("no\nroute"), ZeroDivisionError("no\nroute")):
            asking = self.ask()
            self.probes.pop().errback(failure)
            self.assertEqual(self.successResultOf(asking), ["objects store: no route"])

    def test_given_up(self) -> None:
        """
        A request that is cancelled leaves no timer behind.
        """
        asking = self.ask()
        asking.cancel()
        self.failureResultOf(asking)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.probes[0].callback(None)

    def test_a_write_that_fails(self) -> None:
        """
        A full disk can still be read, so the outcome of the broker's own
        operations counts, and the store is not probed.
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
        A failure long ago does not count unless the operation is still being
        retried.
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
        An operation without an answer for long counts as failed, even if the
        store answers others.
        """
        self.counts.operation("create").under_way[object()] = self.clock.seconds()
        self.clock.advance(STUCK)
        self.answered()
        self.assertEqual(self.successResultOf(self.ask()), [])
        self.clock.advance(1)
        reason = "objects store: create has had no answer for 31 s"
        self.assertEqual(self.successResultOf(self.ask()), [reason])
