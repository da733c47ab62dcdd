"""
Long work in short turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.work_queue import TURN, WorkQueue
from kafscale.wire.steps import Steps


class WorkQueueTests(SynchronousTestCase):
    """
    Work of steps that each take a third of a turn.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.clock = Clock()
        self.blocking: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.work_queue = WorkQueue(self.clock, self.run_blocking)
        self.done: list[str] = []

    def run_blocking(self, function: Callable[[], Any]) -> Deferred[Any]:
        """
        Somewhere else, until the test lets it be done.
        """
        result: Deferred[Any] = Deferred()
        self.blocking.append((function, result))
        return result

    def reactor_turn(self) -> None:
        """
        What is due now is called, but not what is put off by that.
        """
        calls, self.clock.calls = self.clock.calls, []
        for call in calls:
            call.func()

    def work(self, name: str, steps: int) -> Steps[str]:
        """
        So many steps.
        """
        for number in range(steps):
            self.done.append(f"{name}{number}")
            self.clock.rightNow += TURN / 3  # time passes while it works
            yield None
        return name

    def compress(self, seen: list[object]) -> Steps[str]:
        """
        Wants something done elsewhere, and takes its failure for a result.
        """
        try:
            seen.append((yield lambda: "packed"))
        except ValueError as error:
            seen.append(error)
        return "done"

    def test_short(self) -> None:
        """
        What takes less than a turn is done at once.
        """
        result = self.work_queue.run(self.work("a", 2))
        self.assertEqual(self.successResultOf(result), "a")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_long(self) -> None:
        """
        What takes longer goes on in the reactor's next turn, so that others
        have theirs between.
        """
        result = self.work_queue.run(self.work("a", 7))
        self.assertEqual(len(self.done), 3)
        self.assertNoResult(result)
        self.reactor_turn()
        self.assertEqual(len(self.done), 6)
        self.reactor_turn()
        self.assertEqual(self.successResultOf(result), "a")

    def test_in_order(self) -> None:
        """
        What comes later begins when the first is done, however short it is.
        """
        first = self.work_queue.run(self.work("a", 4))
        second = self.work_queue.run(self.work("b", 1))
        self.reactor_turn()
        self.successResultOf(first)
        self.assertNoResult(second)
        third = self.work_queue.run(self.work("c", 1))
        self.assertNoResult(third)
        self.reactor_turn()
        self.assertEqual(self.successResultOf(second), "b")
        self.reactor_turn()
        self.assertEqual(self.successResultOf(third), "c")
        self.assertEqual(self.done, ["a0", "a1", "a2", "a3", "b0", "c0"])

    def test_elsewhere(self) -> None:
        """
        What needs no interpreter is done elsewhere; the rest waits for it.
        """
        seen: list[object] = []
        result = self.work_queue.run(self.compress(seen))
        after = self.work_queue.run(self.work("b", 1))
        ((function, answer),) = self.blocking
        self.assertNoResult(after)
        answer.callback(function())
        self.assertEqual((seen, self.successResultOf(result)), (["packed"], "done"))
        self.reactor_turn()
        self.successResultOf(after)

    def test_fails_elsewhere(self) -> None:
        """
        The error of the blocking function is raised in the work.
        """
        seen: list[object] = []
        result = self.work_queue.run(self.compress(seen))
        error = ValueError()
        self.blocking[0][1].errback(error)
        self.assertEqual((seen, self.successResultOf(result)), ([error], "done"))

    def test_fails(self) -> None:
        """
        The caller's deferred fails, and later work is done.
        """

        def fail() -> Steps[None]:
            yield None
            raise ZeroDivisionError

        long = self.work_queue.run(self.work("a", 3))
        failing = self.work_queue.run(fail())
        after = self.work_queue.run(self.work("b", 1))
        for _ in range(3):
            self.reactor_turn()
        self.successResultOf(long)
        self.failureResultOf(failing, ZeroDivisionError)
        self.successResultOf(after)

    def test_cancelled(self) -> None:
        """
        What is cancelled is not gone on with, or not begun.
        """
        results = [self.work_queue.run(self.work(name, 7)) for name in "abc"]
        results[0].cancel()
        results[1].cancel()
        for _ in range(5):
            self.reactor_turn()
        self.failureResultOf(results[0], CancelledError)
        self.failureResultOf(results[1], CancelledError)
        self.assertEqual(self.successResultOf(results[2]), "c")
        self.assertEqual(self.done, ["a0", "a1", "a2", *(f"c{n}" for n in range(7))])

    def test_cancelled_elsewhere(self) -> None:
        """
        What is under way elsewhere is waited for, and then not gone on with.
        """
        seen: list[object] = []
        result = self.work_queue.run(self.compress(seen))
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.blocking[0][1].callback("packed")
        self.assertEqual(seen, [])
        self.successResultOf(self.work_queue.run(self.work("b", 1)))
