"""
Calls of coroutines from tests that have no reactor.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def begin(awaitable: Awaitable[T]) -> Deferred[T]:
    """
    Start a call without waiting for it.
    """

    async def wait() -> T:
        return await awaitable

    return Deferred.fromCoroutine(wait())


def now(awaitable: Awaitable[T]) -> T:
    """
    The result of a call that waits for nothing. An error of the call is raised.
    """
    results: list[Any] = []
    begin(awaitable).addBoth(results.append)
    assert results, "the call waits"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    result: T = results[0]
    return result
