"""
Running the blocking work of a store in a thread.

Stores know nothing about threads. They are given a function that runs blocking
work somewhere, and delivers the result in the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute

_P = ParamSpec("_P")
_T = TypeVar("_T")


class RunBlocking(Protocol):
    """
    Calls a function where it may block. In a broker that is C{deferToThreadPool}
    with a thread pool of the store's own.
    """

    def __call__(
        self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Deferred[_T]:
        """
        Call C{function} with these arguments. The Deferred fires with its result
        in the reactor's thread.
        """
        ...


def at_once(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
    """
    Call C{function} in this thread: a L{RunBlocking} for stores in memory, for
    C{kafscale-inspect} and for tests.
    """
    return execute(function, *args, **kwargs)
