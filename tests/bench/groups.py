"""
The benchmarks of groups. The floor has none, so these are figures of the
broker alone: seconds, parts of a core, and writes to the metadata store.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
import urllib.request
from typing import Any

from tests.bench.servers import Kafscale, percents, start_load
from tests.clients.broker import free_port

WRITES = 'kafscale_store_operations_total{operation="commit",store="metadata"}'


def measure(broker: Kafscale, options: argparse.Namespace) -> list[list[str]]:
    """
    A table's rows: what, and how much.
    """
    metrics = f"127.0.0.1:{free_port()}"
    broker.broker.settings["metrics_addr"] = metrics
    rows: list[list[str]] = []
    for case in (_settle, _heartbeats, _commits):
        broker.start(max(options.members, 50))
        try:
            rows += case(broker, metrics, options)
        finally:
            broker.stop()
    return rows


def _settle(broker: Kafscale, metrics: str, options: argparse.Namespace) -> list[list[str]]:
    members = options.members
    before = broker.cpu()
    with start_load(
        "settle", broker, client="members", members=members, partitions=members
    ) as process:
        first = _stage(process)["first"]
        cost = broker.cpu() - before
        again = _stage(process)["again"]
    what = f"{members} members over {members} partitions"
    return [
        [f"{what}: all have their parts after (a new group waits 3 to 6 s)", f"{first:.2f} s"],
        ["... CPU of the broker for it", f"{cost:.2f} s"],
        ["... one more comes (heartbeats every 3 s): all have theirs after", f"{again:.2f} s"],
    ]


def _heartbeats(broker: Kafscale, metrics: str, options: argparse.Namespace) -> list[list[str]]:
    members, groups, seconds = options.beating, 20, options.seconds * 4
    job = {"members": members, "groups": groups, "seconds": seconds + 12}
    with start_load("heartbeats", broker, client="members", **job) as process:
        settled = _stage(process)["settled"]
        time.sleep(5)
        writes = _writes(metrics)
        share = percents(broker.shares(seconds))
        writes = _writes(metrics) - writes
        process.communicate()
    return [
        [f"{members} members in {groups} groups: all have their parts after", f"{settled:.2f} s"],
        ["... their heartbeats, every 3 s, take of a core", share],
        [f"... writes to the metadata store in {seconds:.0f} s", f"{writes:.0f}"],
    ]


def _commits(broker: Kafscale, metrics: str, options: argparse.Namespace) -> list[list[str]]:
    rows = []
    for groups in (1, 50):
        job = {"connections": 50, "groups": groups, "seconds": options.seconds}
        with start_load("commits", broker, client="members", **job) as process:
            _stage(process)
            writes, before = _writes(metrics), broker.cpu()
            done = _stage(process)
            cost, writes = broker.cpu() - before, _writes(metrics) - writes
        rate = done["commits"] / done["seconds"]
        what = "one group" if groups == 1 else f"{groups} groups"
        rows += [
            [f"commits of 50 connections in {what}, one ahead on each", f"{rate:,.0f}/s"],
            ["... writes to the metadata store", f"{writes / done['seconds']:,.0f}/s"],
            ["... CPU of the broker for a commit", f"{cost / done['commits'] * 1e6:.0f} µs"],
        ]
    return rows


def _stage(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the members ended with status {process.wait()}"
    found: dict[str, Any] = json.loads(line)
    return found


def _writes(metrics: str) -> float:
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(WRITES))
