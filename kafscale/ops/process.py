"""
The process of a broker: garbage collector, open files, log level, exit status.
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
    Make the garbage collector run less often. Requests make few reference
    cycles, and with Python's thresholds the collector visits thousands of
    waiting long polls in vain: that was half the cost of a poll. The threshold
    of the youngest generation bounds a turn: to visit 50,000 objects took 15 to
    43 ms on a busy machine.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 100, 50)


def allow_many_files() -> None:
    """
    Raise the soft limit of open files to the hard one. Each connection is an
    open file, and many systems have a soft limit of 1,024.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # "unlimited" may be more than the kernel accepts
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def restrict_log(level: str) -> None:
    """
    Log only events of at least this level. twistd's options say where the log
    goes, so its observers stay, and a filter is put before each. Twisted has no
    public interface for that.

    @param level: A value of C{KAFSCALE_LOG_LEVEL}.
    """
    least = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    for observer in list(globalLogPublisher._observers):
        globalLogPublisher.removeObserver(observer)
        globalLogPublisher.addObserver(FilteringLogObserver(observer, [least]))


def end_with_failure(stop: Callable[[], object]) -> None:
    """
    Stop the reactor and end the process with exit status 1. twistd has no means
    for that, so an exit handler does it; the one registered last runs first.

    @param stop: Stops the reactor.
    """

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    atexit.register(leave)
    with suppress(ReactorNotRunning):  # it is stopping already
        stop()
