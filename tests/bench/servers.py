"""
The measured servers: the broker and the floor, each a process whose CPU time
and memory are read from the kernel.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.load import TOPIC
from tests.clients.broker import Broker, free_port
from tests.clients.raw import RawClient
from tests.harness import apache_kafka

TICKS = os.sysconf("SC_CLK_TCK")
SECONDS = 900.0

JVM_OPTIONS = [
    "-XX:TieredStopAtLevel=4",
    "-XX:-UseSerialGC",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
]
"""Compiler and garbage collector as C{kafka-server-start.sh} has them: those of the tests
start fast, and run slower."""


class Server:
    """
    A process on a port.

    @cvar ca: Path of the certificate with which clients verify that of the port; None: the
        port is a plain one.
    """

    name = ""
    port = 0
    ca: str | None = None

    @property
    def pid(self) -> int:
        """
        The id of the process that runs now.
        """
        raise AssertionError("no process")

    def start(self, partitions: int) -> None:
        """
        Start it, with a topic of so many partitions.
        """

    def stop(self) -> None:
        """
        End it, and forget all that it stored.
        """

    def cpu(self) -> float:
        """
        Seconds of CPU time that all threads of the process have used so far.
        """
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS

    def shares(self, seconds: float) -> list[float]:
        """
        The part of a core that its threads take, in one window of up to five
        seconds after the other. The median is the figure. (What comes in
        rounds, as polls that end together do, is in some seconds more often
        than in others.)
        """
        found = []
        windows = max(1, round(seconds / 5))
        for _ in range(windows):
            began, before = time.perf_counter(), self._running()
            time.sleep(seconds / windows)
            found.append((self._running() - before) / (time.perf_counter() - began) / 1e9)
        return found

    def _running(self) -> int:
        """
        Nanoseconds for which the threads that are there now have run.
        """
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((each / "schedstat").read_text().split()[0]) for each in threads)

    def peak(self) -> int:
        """
        The most memory that it had, in bytes.
        """
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")


class Kafscale(Server):
    """
    The broker, at its default settings, with its data on a real disk.
    """

    name = "kafscale"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "kafscale"
        self.broker = Broker(self.folder)
        self.port = self.broker.port

    @property
    def pid(self) -> int:
        """
        See `Server`.
        """
        return self.broker.pid

    def start(self, partitions: int) -> None:
        """
        See `Server`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.broker.start()
        with RawClient(self.port, 120.0) as raw:
            raw.create(TOPIC, partitions)

    def stop(self) -> None:
        """
        See `Server`.
        """
        self.broker.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Build(Kafscale):
    """
    The broker of one checkout, with data of its own.
    """

    def __init__(self, folder: Path, name: str, code: Path | None) -> None:
        """
        @param code: Root of the checkout whose code it runs; None: this one.
        """
        super().__init__(folder / name)
        self.name = name
        # Each half of a pair opens 200 sessions, which stay for two minutes.
        self.broker.settings["fetch_sessions"] = 100_000
        if code is not None:
            self.broker.variables["PYTHONPATH"] = str(code.resolve())


class ApacheKafka(Server):
    """
    Apache Kafka of the version that tests use, at its default settings.

    @ivar others: Settings that are not the defaults.
    """

    name = "kafka"

    def __init__(self, folder: Path, others: Mapping[str, object] | None = None) -> None:
        """
        @param others: See L{ApacheKafka.others}.
        """
        self.port = free_port()
        self.folder = folder / f"kafka-{self.port}"
        # As it is shipped there is no authorizer; other tests have one.
        self.others = {"authorizer.class.name": "", **(others or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """
        See `Server`.
        """
        assert self._process is not None
        return self._process.pid

    def start(self, partitions: int) -> None:
        """
        See `Server`.
        """
        self.folder.mkdir(parents=True)
        self._process = apache_kafka.start(
            self.folder, self.port, self.others, JVM_OPTIONS
        )
        with RawClient(self.port, 120.0) as raw:
            raw.create(TOPIC, partitions)

    def stop(self) -> None:
        """
        See `Server`.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)


class Floor(Server):
    """
    The protocol with nothing behind it.
    """

    name = "floor"

    def __init__(self, script: Path) -> None:
        self.script = script
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """
        See `Server`.
        """
        assert self._process is not None
        return self._process.pid

    def start(self, partitions: int) -> None:
        """
        See `Server`.
        """
        options = ["--port", str(self.port), "--partitions", str(partitions)]
        self._process = subprocess.Popen([sys.executable, str(self.script), *options])
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.005)
        raise AssertionError("the floor does not listen")

    def stop(self) -> None:
        """
        See `Server`.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def load(do: str, server: Server, **job: Any) -> dict[str, Any]:
    """
    Run one job of `tests.bench.load` against a server; its result, with the
    CPU seconds that the server used for it.
    """
    before = server.cpu()
    with start_load(do, server, **job) as process:
        out, _ = process.communicate(timeout=SECONDS)
    if process.returncode:
        raise RuntimeError(f"{do} on {server.name} failed with status {process.returncode}")
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    result["cpu"] = server.cpu() - before
    return result


def start_load(
    do: str, server: Server, *, client: str = "load", **job: Any
) -> subprocess.Popen[bytes]:
    """
    Begin a job of C{client}, a module of this package.
    """
    if server.ca is not None:
        job["ca"] = server.ca
    text = json.dumps({"do": do, "port": server.port, **job})
    command = [sys.executable, "-m", f"tests.bench.{client}", text]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)


def percents(shares: list[float]) -> str:
    """
    The median of L{Server.shares}.
    """
    return f"{statistics.median(shares):.1%}"


def touch_memory(size: int) -> None:
    """
    Have the machine's memory behind the pages once, in a process that ends:
    on some virtual machines the first touch of a page costs more than all
    that is measured here, and the floor, which keeps everything, would pay.
    """
    script = f"bytearray({size}).__setitem__(slice(None, None, 4096), bytes({size} // 4096))"
    subprocess.run([sys.executable, "-c", script], check=True)
