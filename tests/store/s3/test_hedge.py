"""
Tests for L{kafscale.store.s3.hedge}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.store.s3.hedge import ENOUGH, LATEST, MOST, SOONEST, Hedge


class HedgeTests(SynchronousTestCase):
    """
    Reads that are asked for a second time.
    """

    def setUp(self) -> None:
        """
        No request was made.
        """
        self.clock = Clock()
        self.hedge = Hedge(self.clock)
        self.asked: list[Deferred[int]] = []
        self.ended: list[Deferred[int]] = []

    def ask(self) -> Deferred[int]:
        """
        Make a request, which the test answers.
        """
        self.asked.append(Deferred(self.ended.append))
        return self.asked[-1]

    def settle(self, seconds: float) -> None:
        """
        Make a request, and answer it after some seconds.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(seconds)
        self.asked[0].callback(0)
        self.asked.clear()
        self.successResultOf(answer)

    def test_in_time(self) -> None:
        """
        If the answer is not late, there is no second request.
        """
        answer = self.hedge.call(self.ask)
        self.asked[0].callback(1)
        self.assertEqual(self.successResultOf(answer), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_second_wins(self) -> None:
        """
        If the second request is answered first, the first one is cancelled.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(LATEST)
        self.asked[1].callback(2)
        self.assertEqual(self.successResultOf(answer), 2)
        self.assertEqual(self.ended, self.asked[:1])

    def test_first_wins(self) -> None:
        """
        If the first request is answered first, the second one is cancelled.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(LATEST)
        self.asked[0].callback(1)
        self.assertEqual(self.successResultOf(answer), 1)
        self.assertEqual(self.ended, self.asked[1:])

    def test_failures(self) -> None:
        """
        The failure of one request does not count while the other is in
        progress.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(LATEST)
        self.asked[0].errback(ValueError("first"))
        self.assertNoResult(answer)
        self.asked[1].errback(ValueError("second"))
        self.assertEqual(str(self.failureResultOf(answer, ValueError).value), "second")

    def test_failed_in_time(self) -> None:
        """
        A request that fails in time is not repeated.
        """
        answer = self.hedge.call(self.ask)
        self.asked[0].errback(ValueError())
        self.failureResultOf(answer, ValueError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """
        If the result is cancelled, so are both requests.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(LATEST)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(self.ended, self.asked)

    def test_learns(self) -> None:
        """
        When an answer is late depends on how long recent ones took, within
        bounds.
        """
        self.assertEqual(self.hedge.late, LATEST)
        for _ in range(100):
            self.settle(0.1)
        self.assertAlmostEqual(self.hedge.late, 0.1)
        for _ in range(200):
            self.settle(0.001)
        self.assertEqual(self.hedge.late, SOONEST)
        self.assertGreater(100, ENOUGH)

    def test_budget(self) -> None:
        """
        If all answers are late, only a limited number of requests is made twice.
        """
        answers = [self.hedge.call(self.ask) for _ in range(200)]
        self.clock.advance(LATEST)
        self.assertEqual(len(self.asked), 200 + int(MOST))
        for answer in answers:
            answer.cancel()
            self.failureResultOf(answer, CancelledError)
