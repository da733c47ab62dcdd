"""
How a store has its blocking work done.

Stores do not know threads: they are given a function that does blocking work
somewhere, and answers on the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute

_P = ParamSpec("_P")
_T = TypeVar("_T")


class RunBlocking(Protocol):
    """
    Calls C{function} where it may block; the Deferred fires with its result,
    on the reactor's thread. In a service this is `deferToThreadPool` with a
    pool of the store's own.
    """

    def __call__(
        self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Deferred[_T]:
        """
        Call C{function} with these arguments.
        """
        ...


def at_once(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
    """
    A L{RunBlocking} that blocks its caller: for stores in memory, and tests.
    """
    return execute(function, *args, **kwargs)
