"""
Tests of `kafscale.ops.launch`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kafscale.ops.launch import Launch, stop_at_signals


class LaunchTests(SynchronousTestCase):
    """
    The outcome of a start.
    """

    def setUp(self) -> None:
        """
        The options of twistd for a daemon.
        """
        self.log = Path(self.mktemp())
        self.options: dict[str, Any] = {
            "nodaemon": False, "debug": False, "syslog": False, "logger": None,
            "logfile": str(self.log),
        }  # fmt: skip

    def launch(self, use: Callable[[Launch], object]) -> tuple[int, str]:
        """
        Launch a daemon that does this; return the exit status of the command
        and what it shows.
        """
        shown, terminal = os.pipe()
        command = os.fork()
        if command == 0:  # as twistd does it
            os.dup2(terminal, 2)
            hooks: dict[str, Callable[[], None]] = {}
            launch = Launch(self.options, lambda **named: hooks.update(named))
            if os.fork():
                hooks["after_in_parent"]()
            if os.fork():
                hooks["after_in_parent"]()
                os._exit(0)
            os.close(terminal)
            os.close(2)
            hooks["after_in_child"]()
            try:
                use(launch)
            except Exception:
                sys.excepthook(*sys.exc_info())
            os._exit(0)
        os.close(terminal)
        with open(shown, encoding="utf-8") as text:
            seen = text.read()
        return os.waitstatus_to_exitcode(os.waitpid(command, 0)[1]), seen

    def test_succeeded(self) -> None:
        """
        The command ends with status 0 when the broker is ready. What happens
        later is not reported.
        """

        def use(launch: Launch) -> None:
            received, self.options["statusPipe"] = os.pipe()
            launch.begin()
            assert os.read(received, 1) == b"", "twistd's own report goes on"
            launch.succeeded()
            launch.failed("too late")

        self.assertEqual(self.launch(use), (0, ""))

    def test_failed(self) -> None:
        """
        It shows the whole reason of a failure, and ends with status 1.
        """
        reason = "the bucket is gone " * 100
        found = self.launch(lambda launch: launch.failed(reason))
        self.assertEqual(found, (1, f"kafscale: {reason}\n"))

    def test_died(self) -> None:
        """
        The daemon ends without a report.
        """
        found = self.launch(lambda launch: os.kill(os.getpid(), signal.SIGKILL))
        self.assertEqual(
            found, (1, "kafscale: the process has ended; its log may have the reason\n")
        )

    def test_early_error(self) -> None:
        """
        Twisted cannot start it.
        """
        found = self.launch(lambda launch: Path("/proc/twistd.pid").write_text("1"))
        self.assertEqual(found[0], 1)
        self.assertRegex(found[1], r"\Akafscale: \w+Error: .*/proc/twistd.pid.*\n\Z")

    def test_foreground(self) -> None:
        """
        There is nothing to report, and no file to make.
        """
        for options in ({**self.options, "nodaemon": True}, {**self.options, "debug": True}, None):
            launch = Launch(options, self.fail)
            self.assertFalse(launch.in_background)
            launch.begin()
            launch.failed("in the log")
        self.assertFalse(self.log.exists())

    def test_private_log(self) -> None:
        """
        A new log is its owner's; one that exists is left as it is.
        """
        self.launch(Launch.succeeded)
        self.assertEqual(self.log.stat().st_mode & 0o777, 0o600)
        self.log.chmod(0o640)
        self.log.write_text("before")
        self.launch(Launch.succeeded)
        self.assertEqual(self.log.stat().st_mode & 0o777, 0o640)
        self.assertEqual(self.log.read_text(), "before")


class SignalTests(SynchronousTestCase):
    """
    Signals that stop the process.
    """

    def setUp(self) -> None:
        """
        Restore the handlers after the test.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.soon: list[Callable[[], None]] = []
        self.stops = 0

    def stop(self) -> None:
        """
        Stop, as a reactor does that is stopping already.
        """
        self.stops += 1
        raise ReactorNotRunning

    def test_once(self) -> None:
        """
        The first signal stops the reactor, in its own turn; more are ignored.
        """
        stop_at_signals(self.soon.append, self.stop)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual((len(self.soon), self.stops), (1, 0))
        with capturedLogs() as logged:
            self.soon.pop()()
        self.assertEqual([formatEvent(each) for each in logged], ["received SIGTERM, stopping"])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        self.assertEqual((self.soon, self.stops), ([], 1))

    def test_ignored(self) -> None:
        """
        A signal that the process was started to ignore stays ignored.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop_at_signals(self.soon.append, self.stop)
        signal.raise_signal(signal.SIGINT)
        self.assertEqual(self.soon, [])
