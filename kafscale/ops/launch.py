"""
How a broker is launched and stopped: what the user's command hears of the start,
and what signals do.

In the foreground that is the log and the exit status. In the background the
process that the user has called is twistd's parent process. twistd has it wait
for one message of the daemon, which is sent as soon as the ports are taken, and
has room for 100 bytes of a reason. Here it waits until the broker is ready, or
has failed, or has died; it shows the whole reason, and its exit status tells.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

LOG_FILE = "twistd.log"
"""The name that twistd gives the log of a daemon if no other is set."""

READY = "ready"


class Launch:
    """
    Reports the outcome of a start. Made before twistd opens the log and before
    the process becomes a daemon.

    @ivar in_background: Whether the process becomes a daemon.
    """

    def __init__(
        self,
        twistd: MutableMapping[str, Any] | None = None,
        at_fork: Callable[..., None] = os.register_at_fork,
    ) -> None:
        """
        @param twistd: The options of twistd, if it runs the broker.
        @param at_fork: Registers what is to be called after a fork.
        """
        self._twistd = twistd
        self._reader = self._writer = -1
        self.in_background = twistd is not None and not (twistd["nodaemon"] or twistd["debug"])
        if twistd is not None and self.in_background:
            if not (twistd["syslog"] or twistd["logger"]):
                _make_private(twistd["logfile"] or LOG_FILE)
            self._reader, self._writer = os.pipe()
            self._launcher = os.getpid()
            at_fork(after_in_parent=self._wait, after_in_child=self._forked)

    def _wait(self) -> None:
        """
        In the process that the user has called: wait for the report, and end.
        """
        if os.getpid() != self._launcher:
            return  # the daemon's own parent, which ends at once
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.close(self._writer)  # so that the end of the daemon is seen
        with open(self._reader, encoding="utf-8", errors="replace") as report:
            outcome = report.read() or "the process has ended; its log may have the reason"
        if outcome != READY:
            os.write(2, f"kafscale: {outcome}\n".encode())  # sys.stderr is the log already
        os._exit(0 if outcome == READY else 1)

    def _forked(self) -> None:
        """
        In the daemon: report what ends it before L{begin}.
        """

        def report(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            self.failed(f"{kind.__name__}: {error}")

        sys.excepthook = report

    def begin(self) -> None:
        """
        Take over the report from twistd.
        """
        if self._twistd is not None:
            pipe = self._twistd.pop("statusPipe", None)
            if pipe is not None:
                os.close(pipe)

    def succeeded(self) -> None:
        """
        Report that the broker is ready: the command ends with status 0.
        """
        self._report(READY)

    def failed(self, reason: str) -> None:
        """
        Report why the start has failed: the command shows the reason, and ends
        with status 1. After a report this does nothing.
        """
        self._report(reason)

    def _report(self, outcome: str) -> None:
        if self._writer < 0:
            return
        with suppress(OSError):  # the command may have been interrupted
            os.write(self._writer, outcome.encode())
        os.close(self._writer)
        os.close(self._reader)
        self._reader = self._writer = -1


def _make_private(path: str) -> None:
    """
    Make the file of the log before twistd does, which would let every user of
    the machine read it. A file that exists keeps its permissions, and the files
    that follow it get the same.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    with suppress(OSError):  # twistd reports what is wrong with the path
        os.close(os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR))


_log = Logger()


def stop_at_signals(
    call_soon: Callable[[Callable[[], None]], object],
    stop: Callable[[], object],
    numbers: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> None:
    """
    Stop at these signals, in order and with exit status 0: twistd would end the
    process by the signal after that. A signal that comes while the process stops
    changes nothing, as the time for that is limited anyway. To be called when
    the reactor runs.

    @param call_soon: Calls a function in the reactor's thread; safe in a handler
        of signals.
    @param stop: Stops the reactor.
    """
    # A shell has SIGINT ignored by its jobs in the background.
    obeyed = [each for each in numbers if signal.getsignal(each) is not signal.SIG_IGN]

    def received(number: int, _: object) -> None:
        for each in obeyed:
            signal.signal(each, signal.SIG_IGN)

        def stop_now() -> None:
            _log.info("received {signal}, stopping", signal=signal.Signals(number).name)
            with suppress(ReactorNotRunning):  # it is stopping already
                stop()

        call_soon(stop_now)

    for each in obeyed:
        signal.signal(each, received)
