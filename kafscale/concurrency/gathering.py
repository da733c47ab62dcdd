"""
Doing many things at once, but not too many, and not for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kafscale.errors import RequestTimedOut

T = TypeVar("T")
R = TypeVar("R")

#: As many as keep a store busy; more would only wait there.
AT_ONCE = 16


async def each(
    work: Callable[[T], Coroutine[Any, Any, R]], items: Sequence[T], limit: int = AT_ONCE
) -> list[R]:
    """
    C{work} on every item, at most C{limit} under way; the results in the order
    of the items. The work deals with its own errors: the first that escapes is
    raised when all is done.
    """
    places = DeferredSemaphore(limit)

    def begin(item: T) -> Deferred[R]:
        return Deferred.fromCoroutine(work(item))

    everything = await DeferredList([places.run(begin, item) for item in items], consumeErrors=True)
    results: list[R] = []
    for success, result in everything:
        if not success:
            assert isinstance(result, Failure)
            result.raiseException()
        results.append(result)
    return results


async def within(clock: IReactorTime, timeout_ms: int, work: Awaitable[R]) -> R:
    """
    The result of C{work}, which goes on if the time is up before.

    @param timeout_ms: Not above 0: without limit. Clients that do not care
        send such, and Kafka does the work all the same.
    @raise RequestTimedOut: the time was up.
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
