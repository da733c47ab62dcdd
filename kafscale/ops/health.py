"""
Whether the broker is well.

Two questions, as Kubernetes puts them. *Ready* is whether clients should come:
the broker has recovered what it leads, and both stores answer. *Healthy* is
whether it can go on at all, or should be started anew: a store that is away is
no reason for that, because a new process would not have it either.
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
"""Seconds for which an answer of a store is proof that it answers."""

RECENT = 15.0
"""Seconds for which a failure counts that was not followed by a success of the
same kind: more than passes between two attempts."""

STUCK = 30.0
"""Seconds after which what a store has not answered counts as failed."""

PATIENCE = 0.8
"""Seconds that a store has to answer when it is asked for this purpose. Who asks
waits meanwhile; Kubernetes does for one second."""


class Watched:
    """
    A store, and whether it answers.
    """

    def __init__(
        self,
        counts: StoreCounts,
        probe: Callable[[], Awaitable[object]],
        clock: IReactorTime,
        seconds: Callable[[], float],
    ) -> None:
        """
        @param counts: What it was asked for, and how that went.
        @param probe: Asks it for something small.
        @param seconds: The clock of the counts.
        """
        self._counts = counts
        self._seconds = seconds
        self._probe = probe
        self._clock = clock
        self._probing: Deferred[str | None] | None = None
        self._waiting: list[Deferred[str | None]] = []

    def trouble(self) -> Deferred[str | None]:
        """
        Why it is not to be relied on; None when it is. What the broker's own
        work has met with counts first; the store is asked only if there was
        nothing lately.
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
            # One at a time, however often and impatiently somebody asks.
            self._probing = Deferred.fromCoroutine(self._ask())
            self._probing.addBoth(self._asked)
        return waiter.addTimeout(PATIENCE, self._clock).addErrback(self._no_answer)

    def _known(self, now: float) -> str | None:
        for name, each in self._counts.operations.items():
            if each.failure is not None and (each.under_way or now - each.failed_at < RECENT):
                return self._words(f"{name} failed: {each.failure}")
            begun = _oldest(each)
            if begun is not None and now - begun > STUCK:
                return self._words(f"{name} has had no answer for {now - begun:.0f} s")
        return None

    async def _ask(self) -> str | None:
        try:
            await self._probe()
        except StoreError as error:
            return self._words(str(error))
        return None

    def _asked(self, result: str | Failure | None) -> None:
        self._probing = None
        if isinstance(result, Failure):
            result = self._words(result.getErrorMessage())
        while self._waiting:
            self._waiting.pop(0).callback(result)

    def _no_answer(self, failure: Failure) -> str:
        failure.trap(DeferredTimeoutError)  # type: ignore[no-untyped-call]
        return self._words(f"no answer within {PATIENCE} s")

    def _words(self, what: str) -> str:
        return f"{self._counts.name} store: {what}"


def _oldest(counts: OperationCounts) -> float | None:
    return next(iter(counts.under_way.values()), None)


Why: TypeAlias = Callable[[], str | None]
"""Tells in one line why something is not so; None when it is."""


class Health:
    """
    What is known of the broker's state.
    """

    def __init__(self, stores: Sequence[Watched], absent: Why, lost: Why) -> None:
        """
        @param absent: Why the broker serves nobody now.
        @param lost: Why it will not serve again unless it is started anew.
        """
        self._stores = stores
        self._absent = absent
        self._lost = lost

    async def unhealthy(self) -> Sequence[str]:
        """
        Why it should be started anew, in a line each.
        """
        return _told([self._lost()])

    async def unready(self) -> Sequence[str]:
        """
        Why clients should not come, in a line each.
        """
        troubles = [store.trouble() for store in self._stores]
        try:
            return _told([self._lost(), self._absent(), *[await each for each in troubles]])
        except CancelledError:
            for each in troubles:
                each.addErrback(lambda _: None).cancel()
            raise


def _told(reasons: Iterable[str | None]) -> Sequence[str]:
    # Whatever a store or an exception says, it is to be one line.
    return [" ".join(why.split()) for why in reasons if why is not None]
