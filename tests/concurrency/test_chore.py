"""
A background task that is requested many times and runs once at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.chore import Chore

RETRY = 3.0
INTERVAL = 10.0


class ChoreTestCase(SynchronousTestCase):
    """
    A chore whose runs wait for the test.

    @ivar begun: When each run began.
    @ivar failures: The messages of the failures that were reported.
    @ivar retry: Seconds after which a failed run is retried; None: never.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.clock = Clock()
        self.begun: list[float] = []
        self.runs: list[Deferred[None]] = []
        self.failures: list[str] = []
        self.retry: float | None = RETRY
        self.chore = self.make(self.run_one)

    def make(
        self, work: Callable[[], Coroutine[Any, Any, None]], interval: float | None = None
    ) -> Chore:
        """
        A chore that reports its failures to the test.
        """
        return Chore(self.clock, work, self.failed, interval)

    async def run_one(self) -> None:
        """
        One run, until the test ends it.
        """
        self.begun.append(self.clock.seconds())
        self.runs.append(Deferred())
        await self.runs[-1]

    def failed(self, failure: Failure) -> float | None:
        """
        Record the failure.
        """
        self.failures.append(failure.getErrorMessage())
        return self.retry

    def end_run(self) -> None:
        """
        The run under way ends.
        """
        self.runs.pop().callback(None)

    def fail_run(self) -> None:
        """
        The run under way fails.
        """
        self.runs.pop().errback(ValueError("no"))

    def stop(self) -> Deferred[None]:
        """
        Begin to stop.
        """
        return Deferred.fromCoroutine(self.chore.stop())

    def assert_at_rest(self) -> None:
        """
        No run is under way, and no timer is set.
        """
        self.assertFalse(self.chore.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class KickTests(ChoreTestCase):
    """
    A chore that is kicked.
    """

    def test_not_by_itself(self) -> None:
        """
        It does not run before it is kicked.
        """
        self.assertEqual(self.begun, [])
        self.assert_at_rest()

    def test_at_once(self) -> None:
        """
        An idle chore has begun its run when the kick returns.
        """
        self.chore.kick()
        self.assertEqual(self.begun, [0])
        self.assertTrue(self.chore.running)
        self.end_run()
        self.assert_at_rest()

    def test_each_time(self) -> None:
        """
        Each kick of an idle chore brings one run.
        """
        for _ in range(3):
            self.chore.kick()
            self.end_run()
        self.assertEqual(len(self.begun), 3)

    def test_while_it_runs(self) -> None:
        """
        However many kicks there are during a run, one more run follows it at
        once.
        """
        for _ in range(3):
            self.chore.kick()
        self.assertEqual(len(self.begun), 1)
        self.end_run()
        self.assertEqual(len(self.begun), 2)
        self.end_run()
        self.assertEqual(len(self.begun), 2)
        self.assert_at_rest()

    def test_while_it_runs_once_more(self) -> None:
        """
        A kick during the second run brings a third.
        """
        self.chore.kick()
        self.chore.kick()
        self.end_run()
        self.chore.kick()
        self.end_run()
        self.assertEqual(len(self.begun), 3)
        self.end_run()
        self.assert_at_rest()

    def test_without_a_wait(self) -> None:
        """
        A run that waits for nothing is over when the kick returns, and the
        next kick begins another.
        """

        async def work() -> None:
            self.begun.append(self.clock.seconds())

        self.chore = self.make(work)
        self.chore.kick()
        self.assertFalse(self.chore.running)
        self.chore.kick()
        self.assertEqual(len(self.begun), 2)
        self.assert_at_rest()

    def test_within_the_run(self) -> None:
        """
        A kick from inside a run brings one after it, and not one within it.
        """
        steps: list[str] = []

        async def work() -> None:
            steps.append("begin")
            if len(steps) < 3:
                self.chore.kick()
            steps.append("end")

        self.chore = self.make(work)
        self.chore.kick()
        self.assertEqual(steps, ["begin", "end", "begin", "end"])

    def test_no_recursion(self) -> None:
        """
        However many runs follow each other without a wait, the stack does not
        grow.
        """
        left = 10_000

        async def work() -> None:
            nonlocal left
            left -= 1
            if left:
                self.chore.kick()

        self.chore = self.make(work)
        self.chore.kick()
        self.assertEqual(left, 0)
        self.assert_at_rest()

    def test_at_the_moment_it_ends(self) -> None:
        """
        A kick is not lost if it comes from a callback of the event that ends
        the run, whether that callback runs before the run ends or after.
        """
        for kicks_first in (True, False):
            event: Deferred[None] = Deferred()
            begun: list[int] = []

            async def work(event: Deferred[None] = event, begun: list[int] = begun) -> None:
                begun.append(1)
                if len(begun) == 1:
                    await event

            chore = self.make(work)

            def kick(_: None, chore: Chore = chore) -> None:
                chore.kick()

            if kicks_first:
                event.addCallback(kick)
            chore.kick()
            if not kicks_first:
                event.addCallback(kick)
            event.callback(None)
            self.assertEqual(len(begun), 2)


class LaterTests(ChoreTestCase):
    """
    A chore that is kicked after a delay.
    """

    def test_then(self) -> None:
        """
        It runs once, when the delay is over.
        """
        self.chore.kick_after(2)
        self.clock.advance(1)
        self.assertEqual(self.begun, [])
        self.clock.advance(1)
        self.assertEqual(self.begun, [2])
        self.end_run()
        self.assert_at_rest()

    def test_earliest(self) -> None:
        """
        Of several delayed kicks the earliest counts.
        """
        self.chore.kick_after(5)
        self.chore.kick_after(2)
        self.chore.kick_after(4)
        self.clock.pump([1] * 10)
        self.assertEqual(self.begun, [2])
        self.end_run()
        self.assert_at_rest()

    def test_run_before(self) -> None:
        """
        A run that begins earlier takes the place of the delayed kick.
        """
        self.chore.kick_after(2)
        self.chore.kick()
        self.assertEqual(self.begun, [0])
        self.end_run()
        self.assert_at_rest()

    def test_while_it_runs(self) -> None:
        """
        The run under way does not count: the delayed kick brings another one.
        """
        self.chore.kick()
        self.chore.kick_after(2)
        self.end_run()
        self.assertEqual(self.begun, [0])
        self.clock.advance(2)
        self.assertEqual(self.begun, [0, 2])
        self.chore.kick_after(1)
        self.clock.advance(1)
        self.assertEqual(self.begun, [0, 2])
        self.end_run()
        self.assertEqual(self.begun, [0, 2, 3])

    def test_when_a_run_fails(self) -> None:
        """
        A delayed kick, unlike a retry, does not hold up other kicks.
        """

        def failed(failure: Failure) -> float | None:
            self.chore.kick_after(5)
            return None

        self.chore = Chore(self.clock, self.run_one, failed)
        self.chore.kick()
        self.fail_run()
        self.clock.advance(1)
        self.chore.kick()
        self.fail_run()
        self.clock.advance(5)
        self.assertEqual(self.begun, [0, 1, 6])


class FailureTests(ChoreTestCase):
    """
    Runs that fail.
    """

    def test_retried(self) -> None:
        """
        A failed run is retried after the seconds that were returned, until it
        succeeds. Each failure is reported once.
        """
        self.chore.kick()
        self.fail_run()
        self.clock.advance(RETRY - 1)
        self.assertEqual(self.begun, [0])
        self.clock.advance(1)
        self.assertEqual(self.begun, [0, RETRY])
        self.fail_run()
        self.clock.advance(RETRY)
        self.end_run()
        self.assertEqual(self.begun, [0, RETRY, 2 * RETRY])
        self.assertEqual(self.failures, ["no", "no"])
        self.assert_at_rest()

    def test_fails_at_once(self) -> None:
        """
        A run that fails before its first wait is retried, too.
        """

        async def work() -> None:
            self.begun.append(self.clock.seconds())
            raise ValueError("no")

        self.chore = self.make(work)
        self.chore.kick()
        self.assertFalse(self.chore.running)
        self.clock.pump([1] * 6)
        self.assertEqual(self.begun, [0, 3, 6])

    def test_kicked_while_it_waits(self) -> None:
        """
        The retry does not come earlier, and serves all kicks.
        """
        self.chore.kick()
        self.fail_run()
        self.chore.kick()
        self.clock.advance(1)
        self.chore.kick()
        self.assertEqual(self.begun, [0])
        self.clock.advance(RETRY - 1)
        self.assertEqual(self.begun, [0, RETRY])
        self.end_run()
        self.assertEqual(self.begun, [0, RETRY])
        self.assert_at_rest()

    def test_kicked_after_a_while_while_it_waits(self) -> None:
        """
        A delayed kick does not make the retry come earlier either.
        """
        self.chore.kick()
        self.fail_run()
        self.chore.kick_after(1)
        self.clock.advance(1)
        self.assertEqual(self.begun, [0])
        self.clock.advance(RETRY - 1)
        self.end_run()
        self.assertEqual(self.begun, [0, RETRY])
        self.assert_at_rest()

    def test_kicked_while_it_ran(self) -> None:
        """
        If a run was kicked and then fails, the retry waits all the same.
        """
        self.chore.kick()
        self.chore.kick()
        self.fail_run()
        self.assertEqual(self.begun, [0])
        self.clock.advance(RETRY)
        self.assertEqual(self.begun, [0, RETRY])
        self.end_run()
        self.assert_at_rest()

    def test_not_retried(self) -> None:
        """
        A failure that is not retried leaves the chore idle.
        """
        self.retry = None
        self.chore.kick()
        self.fail_run()
        self.assert_at_rest()
        self.chore.kick()
        self.assertEqual(len(self.begun), 2)

    def test_not_retried_but_kicked_while_it_ran(self) -> None:
        """
        The kick counts: its reason may be newer than the run.
        """
        self.retry = None
        self.chore.kick()
        self.chore.kick()
        self.fail_run()
        self.assertEqual(len(self.begun), 2)
        self.fail_run()
        self.assert_at_rest()

    def test_each_wait_may_differ(self) -> None:
        """
        Waits may grow, or have jitter.
        """
        self.chore.kick()
        self.fail_run()
        self.clock.advance(RETRY)
        self.retry = 7
        self.fail_run()
        self.clock.advance(6)
        self.assertEqual(len(self.begun), 2)
        self.clock.advance(1)
        self.assertEqual(len(self.begun), 3)


class IntervalTests(ChoreTestCase):
    """
    A chore that is repeated.
    """

    def setUp(self) -> None:
        """
        One with an interval.
        """
        super().setUp()
        self.chore = self.make(self.run_one, INTERVAL)

    def test_from_end_to_beginning(self) -> None:
        """
        The first run comes after an interval, each other one an interval after
        the end of the one before.
        """
        self.chore.start()
        self.clock.advance(INTERVAL)
        self.clock.advance(5)
        self.end_run()
        self.clock.advance(INTERVAL - 1)
        self.assertEqual(self.begun, [INTERVAL])
        self.clock.advance(1)
        self.assertEqual(self.begun, [INTERVAL, 2 * INTERVAL + 5])

    def test_not_before_it_is_started(self) -> None:
        """
        No timer is set before C{start}.
        """
        self.assert_at_rest()

    def test_started_again(self) -> None:
        """
        A second C{start} changes nothing, before a run or during it.
        """
        self.chore.start()
        self.clock.advance(1)
        self.chore.start()
        self.clock.advance(INTERVAL - 1)
        self.chore.start()
        self.clock.advance(INTERVAL)
        self.end_run()
        self.clock.advance(INTERVAL - 1)
        self.assertEqual(self.begun, [INTERVAL])
        self.clock.advance(1)
        self.assertEqual(self.begun, [INTERVAL, 3 * INTERVAL])

    def test_kicked_between(self) -> None:
        """
        A kick between two intervals begins a new interval.
        """
        self.chore.start()
        self.clock.advance(4)
        self.chore.kick()
        self.end_run()
        self.clock.advance(INTERVAL - 1)
        self.assertEqual(self.begun, [4])
        self.clock.advance(1)
        self.assertEqual(self.begun, [4, 4 + INTERVAL])

    def test_kicked_while_it_runs(self) -> None:
        """
        The interval is counted from the end of the second run.
        """
        self.chore.start()
        self.clock.advance(INTERVAL)
        self.chore.kick()
        self.end_run()
        self.clock.advance(1)
        self.end_run()
        self.clock.advance(INTERVAL)
        self.assertEqual(self.begun, [INTERVAL, INTERVAL, 2 * INTERVAL + 1])

    def test_fails(self) -> None:
        """
        A failure that is not retried is followed by the next interval.
        """
        self.retry = None
        self.chore.start()
        self.clock.advance(INTERVAL)
        self.fail_run()
        self.clock.advance(INTERVAL)
        self.assertEqual(self.begun, [INTERVAL, 2 * INTERVAL])

    def test_fails_and_is_retried(self) -> None:
        """
        The interval is counted from the end of the retry.
        """
        self.chore.start()
        self.clock.advance(INTERVAL)
        self.fail_run()
        self.clock.advance(RETRY)
        self.end_run()
        self.clock.advance(INTERVAL - 1)
        self.assertEqual(self.begun, [INTERVAL, INTERVAL + RETRY])
        self.clock.advance(1)
        self.assertEqual(self.begun, [INTERVAL, INTERVAL + RETRY, 2 * INTERVAL + RETRY])

    def test_is_retried_after_more_than_an_interval(self) -> None:
        """
        The interval does not hasten a retry.
        """
        self.retry = 3 * INTERVAL
        self.chore.start()
        self.clock.advance(INTERVAL)
        self.fail_run()
        self.clock.pump([INTERVAL] * 3)
        self.assertEqual(self.begun, [INTERVAL, 4 * INTERVAL])
        self.end_run()
        self.assertEqual(len(self.begun), 2)

    def test_stopped(self) -> None:
        """
        The timer is cancelled, and C{start} sets no other.
        """
        self.chore.start()
        self.successResultOf(self.stop())
        self.assert_at_rest()
        self.chore.start()
        self.assert_at_rest()

    def test_stopped_while_it_runs(self) -> None:
        """
        No interval follows the run.
        """
        self.chore.start()
        self.clock.advance(INTERVAL)
        stopping = self.stop()
        self.end_run()
        self.successResultOf(stopping)
        self.assert_at_rest()


class StopTests(ChoreTestCase):
    """
    A chore that is stopped or abandoned.
    """

    def assert_ended(self, runs: int) -> None:
        """
        There were C{runs} runs, and no kick brings another one.
        """
        self.chore.kick()
        self.chore.kick_after(1)
        self.assertTrue(self.chore.stopped)
        self.assert_at_rest()
        self.assertEqual(len(self.begun), runs)

    def test_idle(self) -> None:
        """
        An idle chore stops at once.
        """
        self.successResultOf(self.stop())
        self.assert_ended(0)

    def test_while_it_runs(self) -> None:
        """
        C{stop} waits for the run under way. An earlier kick brings no other.
        """
        self.chore.kick()
        self.chore.kick()
        stopping = self.stop()
        self.assertNoResult(stopping)
        self.end_run()
        self.successResultOf(stopping)
        self.assert_ended(1)

    def test_while_a_run_fails(self) -> None:
        """
        The failure is neither reported nor retried.
        """
        self.chore.kick()
        stopping = self.stop()
        self.fail_run()
        self.successResultOf(stopping)
        self.assertEqual(self.failures, [])
        self.assert_ended(1)

    def test_while_it_waits(self) -> None:
        """
        The retry is cancelled.
        """
        self.chore.kick()
        self.fail_run()
        self.successResultOf(self.stop())
        self.assert_ended(1)

    def test_while_a_kick_is_due(self) -> None:
        """
        The delayed kick is cancelled.
        """
        self.chore.kick_after(1)
        self.successResultOf(self.stop())
        self.assert_ended(0)

    def test_twice(self) -> None:
        """
        Both calls return when the run ends.
        """
        self.chore.kick()
        first, second = self.stop(), self.stop()
        self.end_run()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assert_ended(1)

    def test_abandon_while_it_runs(self) -> None:
        """
        The run goes on, and no other follows.
        """
        self.chore.kick()
        self.chore.kick()
        self.chore.abandon()
        self.assertTrue(self.chore.running)
        self.end_run()
        self.assert_ended(1)

    def test_abandon_then_stop(self) -> None:
        """
        C{stop} after C{abandon} still waits for the run under way.
        """
        self.chore.kick()
        self.chore.abandon()
        stopping = self.stop()
        self.assertNoResult(stopping)
        self.end_run()
        self.successResultOf(stopping)
        self.assert_ended(1)

    def test_abandon_and_the_run_fails(self) -> None:
        """
        The failure is not reported.
        """
        self.chore.kick()
        self.chore.abandon()
        self.fail_run()
        self.assertEqual(self.failures, [])
        self.assert_ended(1)

    def test_abandon_while_it_waits(self) -> None:
        """
        The retry is cancelled.
        """
        self.chore.kick()
        self.fail_run()
        self.chore.abandon()
        self.assert_ended(1)

    def test_abandoned_by_its_run(self) -> None:
        """
        A run may abandon its own chore, before its first wait or after it.
        """
        for waits in (False, True):
            event: Deferred[None] = Deferred()
            ended: list[int] = []

            async def work(
                waits: bool = waits, event: Deferred[None] = event, ended: list[int] = ended
            ) -> None:
                self.chore.kick()
                if waits:
                    await event
                self.chore.abandon()
                ended.append(1)

            self.chore = self.make(work)
            self.chore.kick()
            event.callback(None)
            self.assertEqual(ended, [1])
            self.assert_ended(0)

    def test_abandoned_when_it_fails(self) -> None:
        """
        So may the code that handles a failure.
        """

        def failed(failure: Failure) -> float | None:
            self.chore.abandon()
            return 1.0

        self.chore = Chore(self.clock, self.run_one, failed)
        self.chore.kick()
        self.fail_run()
        self.assert_ended(1)


class SleepTests(ChoreTestCase):
    """
    Runs that wait between their steps.
    """

    def setUp(self) -> None:
        """
        A chore that makes two steps, and waits one second after each.
        """
        super().setUp()
        self.steps: list[float] = []
        self.chore = self.make(self.pace)

    async def pace(self) -> None:
        """
        One run.
        """
        for _ in range(2):
            if not self.chore.stopped:
                self.steps.append(self.clock.seconds())
            await self.chore.sleep(1)

    def test_for_so_long(self) -> None:
        """
        Each step comes after the wait before it.
        """
        self.chore.kick()
        self.assertEqual(self.steps, [0])
        self.clock.advance(1)
        self.assertEqual(self.steps, [0, 1])
        self.assertTrue(self.chore.running)
        self.clock.advance(1)
        self.assert_at_rest()

    def test_ends_when_the_chore_is_stopped(self) -> None:
        """
        C{stop} ends the wait, and the run sees that the chore is stopped.
        """
        self.chore.kick()
        self.successResultOf(self.stop())
        self.assertEqual(self.steps, [0])
        self.assert_at_rest()

    def test_ends_when_the_chore_is_abandoned(self) -> None:
        """
        So does C{abandon}.
        """
        self.chore.kick()
        self.chore.abandon()
        self.assertEqual(self.steps, [0])
        self.assert_at_rest()
