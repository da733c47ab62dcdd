"""
A real etcd for tests, in a process of its own. C{etcd} must be on the PATH;
Debian's package is C{etcd-server}.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from tests.clients.broker import eventually, free_port

START_SECONDS = 60.0

_namespaces = count(1)


class Etcd:
    """
    A cluster of one member.

    @ivar url: The URL for clients.
    """

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        """
        @param options: Command-line options beside directory and addresses,
            such as C{{"cert-file": ...}}. With any, clients must use TLS.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="kafscale-etcd-"))
        port = free_port()
        self.url = f"https://localhost:{port}" if options else f"http://127.0.0.1:{port}"
        listening = self.url.replace("localhost", "127.0.0.1")
        peer = f"http://127.0.0.1:{free_port()}"
        self._health = f"http://127.0.0.1:{free_port()}"
        given = {
            "data-dir": str(self._folder / "data"),
            "listen-client-urls": listening,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "listen-metrics-urls": self._health,
            "log-level": "error",
            **(options or {}),
        }
        self._options = [f"--{name}={value}" for name, value in given.items()]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Etcd:
        """
        Start the process, with the data it has, and wait until it answers.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                ["etcd", *self._options], env=environment, stdout=log, stderr=log
            )
        eventually(self._is_healthy, START_SECONDS)
        return self

    def _is_healthy(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            with urllib.request.urlopen(self._health + "/health", timeout=5):
                return True
        except OSError:
            return False

    def ask(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        """
        Send a request, as another program does, and return the answer. Blocks.
        """
        data = json.dumps(body).encode()
        with urllib.request.urlopen(self.url + path, data, timeout=60) as answer:
            said: dict[str, Any] = json.load(answer)
        return said

    def size(self) -> int:
        """
        The size of its data, in bytes.
        """
        with urllib.request.urlopen(self._health + "/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        name = "etcd_mvcc_db_total_size_in_use_in_bytes "
        return int(float(next(line for line in lines if line.startswith(name)).split()[1]))

    def kill(self) -> None:
        """
        Kill the process (SIGKILL).
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """
        Stop the process (SIGSTOP): it does not answer, and its connections stay
        open.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """
        Let the process go on (SIGCONT).
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def save(self, to: Path) -> None:
        """
        Copy its data. The process must not run.
        """
        shutil.copytree(self._folder / "data", to)

    def load(self, backup: Path | None) -> None:
        """
        Replace its data, for the next start.

        @param backup: A copy that L{save} has made; None: no data.
        """
        shutil.rmtree(self._folder / "data")
        if backup is not None:
            shutil.copytree(backup, self._folder / "data")

    def remove(self) -> None:
        """
        Kill the process, and delete its data.
        """
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@cache
def server() -> Etcd:
    """
    The etcd that is shared by all tests which do not disturb it.
    """
    etcd = Etcd()
    atexit.register(etcd.remove)
    return etcd.start()


def base64(text: str) -> str:
    """
    A key or a value, as etcd's JSON gateway has it.
    """
    return b64encode(text.encode()).decode()


def namespace() -> str:
    """
    A namespace that no other test uses.
    """
    return f"test-{os.getpid()}-{next(_namespaces)}"
