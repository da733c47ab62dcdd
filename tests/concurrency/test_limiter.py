"""
A bound on how many requests are under way at once.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.limiter import RequestLimiter


class RequestLimiterTests(SynchronousTestCase):
    """
    Tests of `RequestLimiter`.
    """

    def test_urgent_first(self) -> None:
        """
        Of requests that wait the urgent go first; each kind in its order.
        """
        limiter = RequestLimiter(1)
        self.successResultOf(limiter.acquire(False))
        order: list[str] = []

        def acquired(_: None, name: str) -> None:
            order.append(name)

        for name in ("read 1", "write 1", "read 2", "write 2"):
            limiter.acquire("write" in name).addCallback(acquired, name)
        for _ in range(4):
            limiter.release()
        self.assertEqual(order, ["write 1", "write 2", "read 1", "read 2"])
        limiter.release()
        self.successResultOf(limiter.acquire(False))

    def test_cancelled(self) -> None:
        """
        A request that is given up while it waits takes no place.
        """
        limiter = RequestLimiter(1)
        self.successResultOf(limiter.acquire(True))
        gone, next_one = limiter.acquire(True), limiter.acquire(True)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        limiter.release()
        self.successResultOf(next_one)
