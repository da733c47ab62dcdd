"""
How the use of something that has a quota is measured.

Both measures are Kafka's, to the millisecond, so that a client is slowed down in
the same way here: a rate over a window of samples (C{Rate} and C{SampledStat} in
Kafka) for bytes, time and connections, and a token bucket (C{TokenBucket}) for
changes of the number of partitions. Times are whole milliseconds of one clock.
"""

from __future__ import annotations

from typing import Final

import attrs

SAMPLES: Final = 11
"""Samples in a window (Kafka's default of C{quota.window.num})."""

SAMPLE_MS: Final = 1000
"""The time of a sample (Kafka's default of C{quota.window.size.seconds})."""

WINDOW_SECONDS: Final = (SAMPLES - 1) * SAMPLE_MS // 1000
"""The least time that a sum is divided by: all samples but the one that runs."""

_EXPIRES: Final = SAMPLES * SAMPLE_MS


@attrs.define(eq=False)
class _Sample:
    """
    What was used in about a second.

    @ivar begun: When it began.
    @ivar last: When something was added last; C{begun} if nothing was.
    @ivar value: The sum.
    """

    begun: int
    last: int
    value: float = 0.0

    def begin(self, now: int) -> None:
        """
        Begin anew.
        """
        self.begun = self.last = now
        self.value = 0.0


class Rate:
    """
    A sum over the last ten seconds, or a little more, for each second of them.

    A sample begins with the first use after the one before is over, so an idle
    time is in none. There is one sample more than in a window, because a sample
    counts while any of its uses is in the window.
    """

    def __init__(self, now: int) -> None:
        """
        @param now: The time, in ms.
        """
        self._samples = [_Sample(now, now)]
        self._current = 0

    def add(self, value: float, now: int) -> None:
        """
        Something was used; a negative value takes a use back.
        """
        sample = self._samples[self._current]
        if now - sample.begun >= SAMPLE_MS:
            sample = self._advance(now)
        sample.value += value
        sample.last = now

    def _advance(self, now: int) -> _Sample:
        self._current = (self._current + 1) % (SAMPLES + 1)
        if self._current == len(self._samples):
            self._samples.append(_Sample(now, now))
        else:
            self._samples[self._current].begin(now)
        return self._samples[self._current]

    def delay(self, limit: float, now: int) -> int:
        """
        The time after which the rate is within the limit, if nothing is used
        meanwhile and no sample is dropped, in ms; 0 if it is within it now.

        @param limit: For each second.
        """
        oldest, total = now, 0.0
        for sample in self._samples:
            if now - sample.last >= _EXPIRES:
                sample.begin(now)
            total += sample.value
            oldest = min(oldest, sample.begun)
        window = now - oldest
        full = window // SAMPLE_MS
        if full < SAMPLES - 1:
            window += (SAMPLES - 1 - full) * SAMPLE_MS
        rate = total / (window / 1000)
        if rate <= limit:
            return 0
        return _rounded((rate - limit) / limit * window)


class TokenBucket:
    """
    Tokens that come at a rate, up to what comes in a window of samples. More
    than there are may be taken; then there are none until the debt is paid.
    """

    def __init__(self, limit: float, now: int) -> None:
        """
        @param limit: Tokens for each second; the bucket is full.
        """
        self._tokens = limit * SAMPLES * SAMPLE_MS / 1000
        self._filled = now

    def take(self, count: float, limit: float, now: int) -> None:
        """
        Take tokens, whether there are enough or not.

        @param limit: Tokens for each second; the size of the bucket follows.
        """
        self._fill(limit, now)
        self._tokens -= count

    def delay(self, limit: float, now: int) -> int:
        """
        The time until the debt is paid, in ms; 0 if there is none.
        """
        self._fill(limit, now)
        return _rounded(-self._tokens / limit * 1000) if self._tokens < 0 else 0

    def _fill(self, limit: float, now: int) -> None:
        most = limit * SAMPLES * SAMPLE_MS / 1000
        self._tokens = min(most, self._tokens + limit * max(0, now - self._filled) / 1000)
        self._filled = now


def _rounded(ms: float) -> int:
    """
    As Java's C{Math.round}, and at most what a response has room for.
    """
    return min(int(ms + 0.5), 2**31 - 1)
