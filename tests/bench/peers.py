"""
The broker beside Apache Kafka and the floor, in one run and by turns.

    python -m tests.bench peers --folder FOLDER-ON-A-DISK

Apache Kafka is measured twice, as it is shipped, which leaves it to the system when
records are written to the disk, and with C{log.flush.interval.messages=1}, which syncs
each write as this broker does. All servers run all the time. The first round of each
load is thrown away: the JVM compiles in it.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tests.bench.servers import ApacheKafka, Build, Floor, Kafscale, Server, load, touch_memory

PARTITIONS = 12
TAIL_BYTES = 48 << 20
HEAD = ["", "", *["Kafscale", "Kafka, fsync each", "Kafka", "floor"]]

Figures: TypeAlias = tuple[float, float]
"""What a server does in a second, and its CPU time for each of that."""


def requests(connections: int, seconds: float) -> Callable[[Server], Figures]:
    """
    Produces of one record of 100 B: requests a second, and CPU microseconds for each.
    """

    def measure(server: Server) -> Figures:
        job: dict[str, Any] = {"connections": connections, "seconds": seconds}
        found = load("requests", server, partitions=PARTITIONS, **job)
        return found["requests"] / found["seconds"], found["cpu"] / found["requests"] * 1e6

    return measure


def produce(mib: int) -> Callable[[Server], Figures]:
    """
    Batches of 1 MB: MB a second, and CPU seconds for each GB.
    """

    def measure(server: Server) -> Figures:
        job: dict[str, Any] = {"record_bytes": 1024, "total": mib << 20}
        return _per_byte(load("produce", server, partitions=PARTITIONS, **job))

    return measure


def fetch(mib: int) -> Callable[[Server], Figures]:
    """
    What was just produced, again and again: MB a second, and CPU seconds for each GB.
    """

    def measure(server: Server) -> Figures:
        job: dict[str, Any] = {"record_bytes": 1024, "total": TAIL_BYTES}
        wrote = load("produce", server, partitions=PARTITIONS, **job)
        places = {"starts": wrote["starts"], "ends": wrote["ends"]}
        passes = max(1, (mib << 20) // TAIL_BYTES)
        return _per_byte(load("fetch", server, **places, passes=passes))

    return measure


def _per_byte(found: dict[str, Any]) -> Figures:
    return found["bytes"] / found["seconds"] / 1e6, found["cpu"] / found["bytes"] * 1e9


def by_turns(
    servers: Sequence[Server], rounds: int, measure: Callable[[Server], Figures]
) -> list[Figures]:
    """
    The medians of each server, of rounds that go through all servers, every second one
    in the other direction.
    """
    found: dict[Server, list[Figures]] = {server: [] for server in servers}
    for turn in range(rounds + 1):
        for server in servers[:: -1 if turn % 2 else 1]:
            figures = measure(server)
            if turn:
                found[server].append(figures)
    return [
        (statistics.median(rate for rate, _ in each), statistics.median(cost for _, cost in each))
        for each in found.values()
    ]


def table(folder: Path, options: argparse.Namespace) -> tuple[str, list[str], list[list[str]]]:
    """
    Measure all of it. Return title, head and rows of the table.

    @param options: Of the command line; with C{before} the build in that checkout is
        measured, too.
    """
    servers: list[Server] = [
        Kafscale(folder),
        ApacheKafka(folder, {"log.flush.interval.messages": 1}),
        ApacheKafka(folder),
        Floor(options.floor),
    ]
    head = list(HEAD)
    if options.before is not None:
        servers.append(Build(folder, "before", options.before))
        head.append("Kafscale before")
    single = "produces of one record of 100 B, 5 ahead, connections: {}".format
    cases = [
        (single(16), "requests/s", "CPU µs each", "{:,.0f}", requests(16, options.seconds)),
        (single(1), "requests/s", "CPU µs each", "{:,.0f}", requests(1, options.seconds)),
        ("produce, 1 connection", "MB/s", "CPU s/GB", "{:.2f}", produce(options.mib)),
        ("fetch, 1 connection", "MB/s", "CPU s/GB", "{:.2f}", fetch(8 * options.mib)),
    ]
    rows = []
    touch_memory(options.touch_gib << 30)
    try:
        for server in servers:
            server.start(PARTITIONS)
        for what, rate_unit, cost_unit, layout, measure in cases:
            figures = by_turns(servers, options.rounds, measure)
            rows.append([what, rate_unit, *(f"{rate:,.0f}" for rate, _ in figures)])
            rows.append(["...", cost_unit, *(layout.format(cost) for _, cost in figures)])
    finally:
        for server in servers:
            server.stop()
    title = (
        f"In one run, by turns, medians of {options.rounds}: {PARTITIONS} partitions,"
        " acks=all; produce and fetch: batches of 1 MB in records of 1 KiB"
    )
    return title, head, rows
