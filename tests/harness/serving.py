"""
Servers of others that tests use: each is the child of a Python process that prints its
port, and that ends with the process that started it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.harness.ports import free_port

ROOT = Path(__file__).resolve().parents[2]

ATTEMPTS = 3
"""How often a server is started, each time on another port: a process of others may
take the one that was free."""


class NotStarted(Exception):
    """
    A server ended, or did not answer in time. The text is the end of its log.
    """


def start(
    folder: Path,
    commands: Sequence[Sequence[object]],
    is_ready: Callable[[], bool],
    seconds: float,
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """
    Start a server, and wait until it is ready.

    @param folder: Where it runs, and has its log; it exists.
    @param commands: Its command line, after those that prepare it.
    @param seconds: How long it may take.
    @param environment: Its environment variables, beside those of this process.
    @raise NotStarted: If it ended before, or takes longer. It does not run then.
    """
    path = folder / "log"
    with path.open("wb") as log:
        *before, command = ([str(word) for word in each] for each in commands)

        def run(command: Sequence[str]) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_prepare,
            )

        for each in before:
            if run(each).wait():
                raise NotStarted(path.read_text(errors="replace")[-4000:])
        process = run(command)
    until = time.monotonic() + seconds
    while not is_ready():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            process.wait()
            raise NotStarted(path.read_text(errors="replace")[-4000:])
        time.sleep(0.05)
    return process


def _prepare() -> None:
    # As many open files as the machine lets a process have.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # If the process that waits for it is killed, so is the server.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def serve(name: str, begin: Callable[[Path, int], subprocess.Popen[bytes]]) -> None:
    """
    Run a server until standard input is closed, and print its port when it is ready.

    @param begin: Starts it in an empty folder, on a port of 127.0.0.1; may raise
        L{NotStarted}.
    @raise NotStarted: If no attempt was successful.
    """
    for attempt in range(1, ATTEMPTS + 1):
        with tempfile.TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as folder:
            port = free_port()
            try:
                process = begin(Path(folder), port)
            except NotStarted as error:
                if attempt == ATTEMPTS:
                    raise
                print(f"{name} is started again on another port: {error}", file=sys.stderr)
                continue
            try:
                print(port, flush=True)
                with contextlib.suppress(KeyboardInterrupt):
                    sys.stdin.read()
                return
            finally:
                process.kill()
                process.wait()


def port_of(*module: str) -> int:
    """
    Start one of these modules in a process, which ends with this one, and return the
    port that it prints.

    @param module: Its name, and its arguments.
    @raise NotStarted: If it ends before.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        atexit.register(process.wait)
        atexit.register(process.stdin.close)  # called first: this ends it
        line = process.stdout.readline()
        if not line:
            errors.seek(0)
            raise NotStarted(errors.read().decode(errors="replace")[-8000:])
    return int(line)
