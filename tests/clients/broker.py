"""
A broker as its user has it: ``twistd -n kafscale``, a process of its own.

It is not in the test's reactor, so a test may block, and may kill it.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.raw import RawClient
from tests.clients.stored import Bucket, Directory, Stored, in_bucket
from tests.harness import s3
from tests.harness.ports import free_port as free_port
from tests.harness.s3_peers import PEERS

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 10.0


def environment(**settings: object) -> dict[str, str]:
    """
    The variables for a broker process: ours only with the given settings
    (C{data_dir} is C{KAFSCALE_DATA_DIR}), except for the choice of the walker, and the
    checkout's code.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KAFSCALE_") or name == "KAFSCALE_COMPILED"
    }
    # Many run at a time, and few of them are watched.
    settings = {"metrics_addr": "off", **settings}
    given = {f"KAFSCALE_{name.upper()}": str(value) for name, value in settings.items()}
    return {**inherited, **given, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def twistd(*options: str) -> list[str]:
    """
    The command as the README has it: C{twistd -n kafscale}, but without a
    file for the process id.
    """
    script = Path(sys.executable).with_name("twistd")
    return [str(script), "-n", "--pidfile=", "kafscale", *options]


class Broker:
    """
    One data directory, one port, and a broker process that comes and goes.

    @ivar port: Where it listens; the same for all its processes.
    @ivar settings: What its next process gets as C{KAFSCALE_*} variables.
    @ivar command: What its next process is started with.
    @ivar options: What its next process gets on the command line.
    @ivar variables: What else is in its environment.
    @ivar entering: What comes before its command, to let it run elsewhere.
    @ivar log: What its processes print, one after the other.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = folder / "broker.log"
        self.settings: dict[str, object] = {
            "broker_addr": f"127.0.0.1:{self.port}",
            "data_dir": folder / "data",
            **settings,
        }
        self.command = twistd()
        self.options: list[str] = []
        self.variables: dict[str, str] = {}
        self.entering: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """
        For a client's C{bootstrap.servers}.
        """
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """
        Its data directory.
        """
        return Path(str(self.settings["data_dir"]))

    @property
    def objects(self) -> Stored:
        """
        The broker's object store, read directly.
        """
        bucket = self.settings.get("s3_bucket")
        if bucket is None:
            return Directory(self.data / "objects")
        return Bucket(str(self.settings["s3_endpoint"]), str(bucket))

    @property
    def pid(self) -> int:
        """
        The id of the process that runs now.
        """
        assert self._process is not None, "the broker is not started"
        return self._process.pid

    def start(self, wait: bool = True) -> Broker:
        """
        Start a process; it listens when this returns, unless C{wait} is false.
        """
        assert self._process is None, "the broker runs already"
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*self.entering, *self.command, *self.options],
                cwd=self.folder,
                env={**environment(**self.settings), **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=_allow_many_files,
            )
        if wait:
            self.wait_until_listening()
        return self

    def wait_until_listening(self) -> None:
        """
        Return when the port takes a connection, and that for operators, too, if the
        broker was given one.
        """
        operators = str(self.settings.get("metrics_addr", "")).rpartition(":")[2]
        ports = [self.port, *([int(operators)] if operators.isdigit() else [])]
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            status = self._process.poll() if self._process else None
            if status is not None:
                raise AssertionError(
                    f"the broker ended with status {status} at its start:\n{self.tail()}"
                )
            if all(_accepts(port) for port in ports):
                return
            time.sleep(0.02)
        raise AssertionError(f"the broker does not listen after {START_SECONDS} s")

    def kill(self) -> None:
        """
        C{kill -9}: it gets no chance to do anything.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """
        C{kill -STOP}: it does nothing, and ends no connection.
        """
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """
        C{kill -CONT}.
        """
        os.kill(self.pid, signal.SIGCONT)

    def signal_to_stop(self) -> None:
        """
        SIGTERM.
        """
        os.kill(self.pid, signal.SIGTERM)

    def terminate(self) -> int:
        """
        SIGTERM; the exit status, which must come within ten seconds: 0 when
        it ended in good order.
        """
        self.signal_to_stop()
        return self.ended()

    def ended(self, seconds: float = STOP_SECONDS) -> int:
        """
        The exit status of a process that ends by itself.
        """
        assert self._process is not None, "the broker is not started"
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the broker still ran after {seconds} s") from None
        self._process = None
        return status

    def restart(self) -> None:
        """
        End it in good order, and start it again.
        """
        status = self.terminate()
        assert status == 0, f"the broker ended with status {status}"
        self.start()

    def has_logged(self, words: str) -> bool:
        """
        Whether the end of its log contains these words.
        """
        return words in self.tail()

    def memory(self, what: str = "VmRSS") -> int:
        """
        Bytes of memory that the process has now (VmRSS) or had at its peak
        (VmHWM).
        """
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {what} of process {self.pid}")

    def tail(self, lines: int = 60) -> str:
        """
        The end of its log.
        """
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _allow_many_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def eventually(what: Callable[[], Any], seconds: float = START_SECONDS) -> None:
    """
    Wait until C{what} is true: for effects that follow a broker's answer.
    """
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"not so after {seconds} s"
        time.sleep(0.02)


def page(port: int, path: str) -> tuple[int, str]:
    """
    Return the status and the text of an operators' page of a broker; status 0
    if there is no answer.
    """
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except URLError:
        return 0, ""


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class BrokerTestCase(SynchronousTestCase):
    """
    A test with brokers; when it fails, the end of their logs is shown with it.

    @cvar bucketed: Whether they keep their objects in a bucket however the
        tests are run.
    """

    bucketed = False

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        for name, method in list(vars(cls).items()):
            if name.startswith("test_"):
                setattr(cls, name, telling_logs(method))

    def setUp(self) -> None:
        """
        No broker yet.
        """
        self.brokers: list[Broker] = []
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

    def broker(self, **settings: object) -> Broker:
        """
        A started broker with a data directory of its own, ended with the test.
        """
        return self.prepared(**settings).start()

    def connect(
        self, broker: Broker, timeout: float = 60.0, host: str = "127.0.0.1"
    ) -> RawClient:
        """
        A raw connection, closed with the test.

        @param host: The address to connect from, see L{RawClient}.
        """
        client = RawClient(broker.port, timeout, host)
        self.addCleanup(client.close)
        return client

    def prepared(self, **settings: object) -> Broker:
        """
        Return a broker that is not started yet.
        """
        broker = Broker(self.folder / f"broker-{len(self.brokers)}", **settings)
        if self.bucketed or (in_bucket(self.id()) and "use_memory_s3" not in settings):
            self._move(broker)
        self.brokers.append(broker)
        self.addCleanup(broker.kill)
        return broker

    def _move(self, broker: Broker) -> None:
        """
        Let its objects be in a bucket: that of the brokers before it on the
        same data directory, else a new one.
        """
        settings = broker.settings
        if "s3_bucket" not in settings:
            before = [each for each in self.brokers if each.data == broker.data]
            settings["s3_bucket"] = (
                before[0].settings["s3_bucket"] if before else s3.make_bucket()
            )
        server = s3.server_of(str(settings["s3_bucket"]))
        settings.setdefault("s3_endpoint", server.endpoint)
        if server.name in PEERS:
            settings.setdefault("s3_fencing", PEERS[server.name].fencing)
            settings.setdefault("s3_checksum", PEERS[server.name].checksum)
        broker.variables |= s3.KEYS


def telling_logs(method: Callable[..., Any]) -> Callable[..., Any]:
    """
    Wrap a test method so that its failure includes the brokers' logs.
    """

    @functools.wraps(method)
    def test(self: BrokerTestCase) -> Any:
        try:
            return method(self)
        except self.failureException as failure:
            raise self.failureException(_with_logs(self, str(failure))) from failure
        except Exception as failure:
            text = f"{type(failure).__name__}: {failure}"
            raise RuntimeError(_with_logs(self, text)) from failure

    return test


def _with_logs(case: BrokerTestCase, text: str) -> str:
    return "\n".join(
        [text, *(f"--- log of the broker at {b.port}\n{b.tail()}" for b in case.brokers)]
    )
