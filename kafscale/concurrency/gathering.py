"""
Waiting for several things at once, or not for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kafscale.errors import RequestTimedOut

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 16
"""Enough requests under way to keep a store busy; more would only wait there."""


def all_settled(events: Iterable[Deferred[T]], shield: bool = False) -> Deferred[list[T | Failure]]:
    """
    Wait for all of these, whatever becomes of them.

    @param shield: Whether cancelling what is returned leaves them alone. If
        not, it cancels them all.
    @return: Fires with the result or the C{Failure} of each, in their order. It
        fails only if it is cancelled, and then at once.
    """
    everything = DeferredList(list(events), consumeErrors=True)
    cancelled = False

    def cancel(_: object) -> None:
        nonlocal cancelled
        cancelled = True
        if not shield:
            everything.cancel()

    def settle(outcomes: list[tuple[bool, T]]) -> None:
        if not cancelled:
            settled.callback([outcome for _, outcome in outcomes])

    settled: Deferred[list[T | Failure]] = Deferred(cancel)
    everything.addCallback(settle)
    return settled


def results_of(outcomes: Iterable[T | Failure]) -> list[T]:
    """
    The results among what L{all_settled} has found.

    @raise Exception: the first failure among it.
    """
    results: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            outcome.raiseException()
        else:
            results.append(outcome)
    return results


async def map_bounded(
    work: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int = AT_ONCE
) -> list[R]:
    """
    Do the work on every item, on at most C{limit} of them at once, beginning
    in their order. When it fails for one, no other is begun, and those under
    way come to their end.

    @return: The results in the order of the items.
    @raise Exception: the first failure.
    """
    waiting = deque(enumerate(items))
    results: dict[int, R] = {}
    failures: list[Exception] = []

    async def take_from_queue() -> None:
        while waiting and not failures:
            number, item = waiting.popleft()
            try:
                results[number] = await work(item)
            except Exception as failure:  # noqa: BLE001 - raised below
                failures.append(failure)

    workers = min(limit, len(items))
    await all_settled([Deferred.fromCoroutine(take_from_queue()) for _ in range(workers)])
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(items))]


def within(clock: IReactorTime, seconds: float, work: Deferred[R]) -> Deferred[R]:
    """
    Wait for the work for so many seconds. Then it is cancelled, and what is
    returned fails at once, even if the work takes its time to end.

    @return: Fires with the result of the work. To cancel it cancels the work.
    @raise TimeoutError: the time is up.
    """

    def cancelled(_: Deferred[R]) -> None:
        due.cancel()
        work.cancel()

    def time_is_up() -> None:
        outcome.errback(TimeoutError(f"not done after {seconds:g} s"))
        work.cancel()

    def done(result: R | Failure) -> None:
        if due.active():
            due.cancel()
        if not outcome.called:
            outcome.callback(result)

    outcome: Deferred[R] = Deferred(cancelled)
    due = clock.callLater(seconds, time_is_up)
    work.addBoth(done)
    return outcome


async def with_timeout(clock: IReactorTime, timeout_ms: int, work: Awaitable[R]) -> R:
    """
    Wait for the work, but not longer than the time-out. Work that takes longer
    goes on, and its outcome is dropped.

    @param timeout_ms: If it is not above 0 there is no limit: clients that do
        not care send such values, and Kafka does the work all the same.
    @raise RequestTimedOut: the time is up.
    """
    running = Deferred.fromCoroutine(_finish(work))
    if timeout_ms <= 0 or running.called:
        return await running
    # A Deferred of our own: to cancel `running` would stop the work half-way.
    answer: Deferred[R] = Deferred()
    call = clock.callLater(timeout_ms / 1000, answer.cancel)

    def finished(result: R | Failure) -> None:
        if call.active():
            call.cancel()
        if not answer.called:
            answer.callback(result)

    running.addBoth(finished)
    try:
        return await answer
    except CancelledError:
        raise RequestTimedOut from None


async def _finish(work: Awaitable[R]) -> R:
    return await work
