"""
What a broker asks of its process: files, memory, log lines, exit status.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.error import ReactorNotRunning
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
)


def collect_seldom() -> None:
    """
    Keep the garbage collector from going over and over what stays. Requests
    make few cycles, and what waits in long polls by the thousand is looked at
    for nothing: at Python's thresholds that was half the cost of a poll.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def allow_many_files() -> None:
    """
    A connection is an open file, and many systems allow 1,024 of them unless
    asked for more.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # "unlimited" may be more than the kernel takes
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def restrict_log(level: str) -> None:
    """
    Let only events of this level and above reach the observers that twistd has
    installed. Its options say where the log goes, so they stay; there is no
    public way to put a filter before them.
    """
    least = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    for observer in list(globalLogPublisher._observers):
        globalLogPublisher.removeObserver(observer)
        globalLogPublisher.addObserver(FilteringLogObserver(observer, [least]))


def end_with_failure(stop: Callable[[], object]) -> None:
    """
    Stop, and end the process with exit status 1, for which twistd has no way:
    registered last, this is what the interpreter does first at its end.

    @param stop: Stops the reactor.
    """

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    atexit.register(leave)
    with suppress(ReactorNotRunning):  # it is stopping already
        stop()
