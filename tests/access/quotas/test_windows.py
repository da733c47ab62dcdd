"""
The measures of quotas.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.quotas.windows import Rate, TokenBucket

MB = 1_000_000


class RateTests(SynchronousTestCase):
    """
    Tests of L{Rate}. The figures are those of Apache Kafka 4.4.0.
    """

    def test_first_seconds(self) -> None:
        """
        The sum is divided by ten seconds at least, so what comes in ten seconds may
        come at once.
        """
        rate = Rate(0)
        rate.add(10 * MB, 0)
        self.assertEqual(rate.delay(MB, 0), 0)
        rate.add(0.8 * MB, 5)
        self.assertEqual(rate.delay(MB, 5), 795)  # 10.8 MB in 10,005 ms

    def test_large(self) -> None:
        """
        A delay has no bound: 18 times what may come in a second takes 8 s more.
        """
        rate = Rate(0)
        rate.add(1.8 * MB, 0)
        self.assertEqual(rate.delay(100_000, 0), 8000)

    def test_within_after_delay(self) -> None:
        """
        After the delay the rate is within the limit, and a millisecond before it is
        not. No sample is too old yet.
        """
        rate = Rate(0)
        rate.add(1.05 * MB, 300)
        delay = rate.delay(100_000, 300)
        self.assertEqual(rate.delay(100_000, 300 + delay), 0)
        self.assertGreater(rate.delay(100_000, 300 + delay - 5), 0)

    def test_old_samples(self) -> None:
        """
        A sample counts while its last use is younger than eleven seconds.
        """
        rate = Rate(0)
        rate.add(20 * MB, 999)
        self.assertGreater(rate.delay(MB, 11_998), 0)
        self.assertEqual(rate.delay(MB, 11_999), 0)

    def test_steady(self) -> None:
        """
        Who waits as told gets about the limit in the long run, and most of it in the
        first seconds of each window, as from Kafka: 1 MB/s in requests of 1 MB, which
        take 200 ms each.
        """
        rate, now, sent = Rate(0), 0, 0
        while now < 120_000:
            rate.add(MB, now)
            if now >= 15_000:
                sent += MB
            now += 200 + rate.delay(MB, now)
        self.assertTrue(0.95 <= sent / 105 / MB <= 1.05, sent)

    def test_first_delays(self) -> None:
        """
        Each delay is the time that the sum takes at the limit, less the window, which
        has ten whole samples at least: 11 s - 10.31 s, 12 s - 10.21 s, 13 s - 10.21 s.
        """
        rate, now = Rate(0), 0
        delays: list[int] = []
        while len(delays) < 3:
            now += 210
            rate.add(MB, now)
            if delay := rate.delay(MB, now):
                delays.append(delay)
            now += delay
        self.assertEqual(delays, [690, 1790, 2790])

    def test_taken_back(self) -> None:
        """
        A use that is taken back does not count.
        """
        rate = Rate(0)
        rate.add(20 * MB, 10)
        rate.add(-20 * MB, 10)
        self.assertEqual(rate.delay(1, 10), 0)

    def test_bounded(self) -> None:
        """
        A delay fits into a response.
        """
        rate = Rate(0)
        rate.add(1e18, 0)
        self.assertEqual(rate.delay(0.001, 0), 2**31 - 1)


class TokenBucketTests(SynchronousTestCase):
    """
    Tests of L{TokenBucket}.
    """

    def test_burst(self) -> None:
        """
        The bucket has tokens for eleven seconds; a debt is paid at the rate.
        """
        bucket = TokenBucket(1, 0)
        bucket.take(11, 1, 0)
        self.assertEqual(bucket.delay(1, 0), 0)
        bucket.take(39, 1, 0)
        self.assertEqual(bucket.delay(1, 0), 39_000)
        self.assertEqual(bucket.delay(1, 42), 38_958)
        self.assertEqual(bucket.delay(1, 39_000), 0)

    def test_full(self) -> None:
        """
        It does not get fuller than full.
        """
        bucket = TokenBucket(1, 0)
        bucket.take(12, 1, 1_000_000)
        self.assertEqual(bucket.delay(1, 1_000_000), 1000)

    def test_other_limit(self) -> None:
        """
        Its size follows the limit.
        """
        bucket = TokenBucket(1, 0)
        bucket.take(22, 2, 10_000)
        self.assertEqual(bucket.delay(2, 10_000), 0)
