"""
Tests of `kafscale.concurrency.fair_work`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.fair_work import FairWork
from kafscale.concurrency.work_queue import TURN
from kafscale.wire.steps import Steps


class FairWorkTests(SynchronousTestCase):
    """
    Two pieces of work at a time, whose threads wait for the test.
    """

    def setUp(self) -> None:
        """
        Nothing is to be done yet.
        """
        self.threads: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.clock = Clock()
        self.work = FairWork(self.clock, self.in_thread, 2)
        self.log: list[str] = []

    def in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        """
        Let the function wait.
        """
        self.threads.append((function, Deferred()))
        return self.threads[-1][1]

    def steps(self, name: str, blocking: bool = True, seconds: float = 0) -> Steps[str]:
        """
        Work that notes its begin.

        @param seconds: How long it takes.
        """
        self.log.append(name)
        self.clock.rightNow += seconds
        if blocking:
            yield lambda: None
        return name

    def begin(
        self, owner: str, name: str, blocking: bool = True, seconds: float = 0
    ) -> Deferred[str]:
        """
        Give the work to be done.
        """
        return self.work.run(owner, self.steps(name, blocking, seconds))

    def end_first(self) -> None:
        """
        Let the oldest thread end.
        """
        function, done = self.threads.pop(0)
        done.callback(function())

    def test_in_turns(self) -> None:
        """
        Owners take turns, and the work of each is begun in its order.
        """
        done = [self.begin("a", f"a{number}") for number in range(4)]
        done.append(self.begin("b", "b0"))
        self.assertEqual(self.log, ["a0", "a1"])
        for _ in range(5):
            self.end_first()
        self.assertEqual(self.log, ["a0", "a1", "a2", "b0", "a3"])
        self.assertEqual(
            [self.successResultOf(each) for each in done], ["a0", "a1", "a2", "a3", "b0"]
        )

    def test_at_once(self) -> None:
        """
        Work that waits for nothing is done at once if there is room. Any amount
        of it is done in one call, if it takes no time.
        """
        self.assertEqual(self.successResultOf(self.begin("a", "a0", blocking=False)), "a0")
        blocking = [self.begin("a", "x"), self.begin("a", "y")]
        many = [self.begin("b", str(number), blocking=False) for number in range(5000)]
        self.assertNoResult(many[0])
        self.end_first()
        self.assertEqual(self.successResultOf(many[-1]), "4999")
        self.assertNoResult(blocking[1])

    def test_turns(self) -> None:
        """
        Much short work is done in several turns of the reactor. What comes between
        two of them waits behind it.
        """
        turns: list[Callable[[], None]] = []
        self.patch(self.clock, "callLater", lambda _, function: turns.append(function))
        for name in "xy":
            self.begin("a", name)
        done = [self.begin("b", str(number), False, TURN / 4) for number in range(10)]
        self.end_first()
        self.assertEqual(self.log, ["x", "y", *"0123"])
        done.append(self.begin("b", "10", False))
        self.end_first()
        self.assertEqual(self.log, ["x", "y", *"0123"])
        turns.pop()()
        self.assertEqual(self.log, ["x", "y", *"01234567"])
        turns.pop()()
        self.assertEqual(self.log, ["x", "y", *"0123456789", "10"])
        self.assertEqual([self.successResultOf(each) for each in done[-2:]], ["9", "10"])
        self.assertEqual(turns, [])
        self.assertEqual(self.successResultOf(self.begin("a", "z", False)), "z")

    def test_failure(self) -> None:
        """
        Work that fails makes room for the next.
        """
        done = [self.begin("a", f"a{number}") for number in range(3)]
        self.threads.pop(0)[1].errback(ZeroDivisionError())
        self.failureResultOf(done[0], ZeroDivisionError)
        self.assertEqual(self.log, ["a0", "a1", "a2"])
