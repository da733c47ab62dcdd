"""
Readiness and liveness, as Kubernetes means them.

A broker is I{ready} if clients can use it: it has recovered the partitions
that it leads, and both stores answer. It is I{healthy} unless only a restart
can help. A store that is unavailable does not make it unhealthy, because a
new process would find the same store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kafscale.counts import OperationCounts, StoreCounts
from kafscale.errors import StoreError

FRESH = 5.0
"""Seconds for which an answer of a store proves that it is available."""

RECENT = 15.0
"""Seconds for which a failed operation counts if none of its kind has succeeded
since; longer than the pauses between retries."""

STUCK = 30.0
"""Seconds without an answer after which an operation counts as failed."""

PROBE_SECONDS = 0.8
"""Seconds that a store has to answer a probe. The client of /readyz waits
meanwhile; Kubernetes' default timeout is one second."""


class StoreHealth:
    """
    Whether a store answers.
    """

    def __init__(
        self,
        counts: StoreCounts,
        probe: Callable[[], Awaitable[object]],
        clock: IReactorTime,
        seconds: Callable[[], float],
    ) -> None:
        """
        @param counts: The store's operations so far, and their outcome.
        @param probe: Reads something small from the store.
        @param clock: Times the probe.
        @param seconds: The clock that C{counts} uses, in seconds.
        """
        self._counts = counts
        self._seconds = seconds
        self._probe = probe
        self._clock = clock
        self._probing: Deferred[str | None] | None = None
        self._waiting: list[Deferred[str | None]] = []

    def problem(self) -> Deferred[str | None]:
        """
        Why the store is not available, or None. Decided from the broker's own
        operations; the store is probed only if it has answered none lately.
        """
        waiter: Deferred[str | None] = Deferred(self._waiting.remove)
        now = self._seconds()
        why = self._known(now)
        answered = self._counts.answered_at
        if why is not None or (answered is not None and now - answered < FRESH):
            waiter.callback(why)
            return waiter
        self._waiting.append(waiter)
        if self._probing is None:
            # One probe at a time, however many requests wait for its outcome.
            self._probing = Deferred.fromCoroutine(self._ask())
            self._probing.addBoth(self._asked)
        return waiter.addTimeout(PROBE_SECONDS, self._clock).addErrback(self._no_answer)

    def _known(self, now: float) -> str | None:
        for name, each in self._counts.operations.items():
            if each.failure is not None and (each.under_way or now - each.failed_at < RECENT):
                return self._line(f"{name} failed: {each.failure}")
            begun = _oldest(each)
            if begun is not None and now - begun > STUCK:
                return self._line(f"{name} has had no answer for {now - begun:.0f} s")
        return None

    async def _ask(self) -> str | None:
        try:
            await self._probe()
        except StoreError as error:
            return self._line(str(error))
        return None

    def _asked(self, result: str | Failure | None) -> None:
        self._probing = None
        if isinstance(result, Failure):
            result = self._line(result.getErrorMessage())
        while self._waiting:
            self._waiting.pop(0).callback(result)

    def _no_answer(self, failure: Failure) -> str:
        failure.trap(DeferredTimeoutError)  # type: ignore[no-untyped-call]
        return self._line(f"no answer within {PROBE_SECONDS} s")

    def _line(self, what: str) -> str:
        return f"{self._counts.name} store: {what}"


def _oldest(counts: OperationCounts) -> float | None:
    return next(iter(counts.under_way.values()), None)


Reason: TypeAlias = Callable[[], str | None]
"""Returns a reason in one line, or None if there is none."""


class Health:
    """
    Whether the broker is ready and healthy.
    """

    def __init__(self, stores: Sequence[StoreHealth], unready: Reason, unhealthy: Reason) -> None:
        """
        @param stores: The stores that a ready broker needs.
        @param unready: Why the broker does not serve clients now.
        @param unhealthy: Why it will not serve clients until it is restarted.
        """
        self._stores = stores
        self._unready = unready
        self._unhealthy = unhealthy

    async def unhealthy(self) -> Sequence[str]:
        """
        Why the broker should be restarted, one reason a line; empty if it is
        healthy.
        """
        return _lines([self._unhealthy()])

    async def unready(self) -> Sequence[str]:
        """
        Why clients should not use the broker, one reason a line; empty if it
        is ready.
        """
        problems = [store.problem() for store in self._stores]
        try:
            return _lines(
                [self._unhealthy(), self._unready(), *[await each for each in problems]]
            )
        except CancelledError:
            for each in problems:
                each.addErrback(lambda _: None).cancel()
            raise


def _lines(reasons: Iterable[str | None]) -> Sequence[str]:
    # Messages of stores and exceptions may contain line breaks.
    return [" ".join(why.split()) for why in reasons if why is not None]
