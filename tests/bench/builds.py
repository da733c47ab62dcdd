"""
Compares two builds of the broker: the cost of a change in CPU time.

    git worktree add ../before REVISION
    python -m tests.bench.builds --before ../before
    python -m tests.bench.builds --kafka lz4 zstd gzip

With C{--kafka} the other one is Apache Kafka (`tests.harness.apache_kafka`).

Both brokers run all the time, each with its own data; the same client gives
them the same load in turns, A B, B A, A B ... A machine whose speed drifts
slows both halves of a pair, so the ratio of a pair says more than two
averages. The figure is the median of the ratios (new build to old), with the
90 % interval that order statistics give without assuming a distribution.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench.load import TOPIC
from tests.bench.servers import ApacheKafka, Build, Server, load, start_load, touch_memory
from tests.clients.raw import RawClient

PARTITIONS = 12
POLLED = "polled"
"""A topic of its own for idle polls, to which nothing is ever written."""

Measure = Callable[[Server], float]


def interval(ratios: Sequence[float], confidence: float = 0.9) -> tuple[float, float]:
    """
    The bounds of the median: the innermost pair of order statistics whose
    coverage (binomial, p = 1/2) is at least C{confidence}; the extremes where
    there are too few values.
    """
    count, ordered = len(ratios), sorted(ratios)
    outside, best = 0.0, 0
    for rank in range(count // 2):
        outside += 2 * math.comb(count, rank) / 2**count
        if 1 - outside < confidence:
            break
        best = rank
    return ordered[best], ordered[count - 1 - best]


def produce(mib: int, record_bytes: int = 1024, codec: str = "none") -> Measure:
    """
    CPU seconds per GB produced: batches of 1 MB before compression.
    """

    def measure(server: Server) -> float:
        job: dict[str, Any] = {"record_bytes": record_bytes, "total": mib << 20, "codec": codec}
        found = load("produce", server, partitions=PARTITIONS, **job)
        return float(found["cpu"] / found["bytes"] * 1e9)

    return measure


def requests(seconds: float) -> Measure:
    """
    CPU microseconds per produce of one record of 100 B, 16 connections.
    """

    def measure(server: Server) -> float:
        found = load(
            "requests", server, connections=16, seconds=seconds, partitions=PARTITIONS
        )
        return float(found["cpu"] / found["requests"] * 1e6)

    return measure


def fetch(mib: int) -> Measure:
    """
    CPU seconds per GB fetched from the tail of the log.
    """

    def measure(server: Server) -> float:
        size = 48 << 20
        wrote = load("produce", server, partitions=PARTITIONS, record_bytes=1024, total=size)
        places = {"starts": wrote["starts"], "ends": wrote["ends"]}
        found = load("fetch", server, **places, passes=max(1, (mib << 20) // size))
        return float(found["cpu"] / found["bytes"] * 1e9)

    return measure


def polls(seconds: float, sessions: bool) -> Measure:
    """
    CPU microseconds per long poll of 500 ms that finds nothing: 200
    connections, five partitions each.

    @param sessions: Whether the polls are of incremental fetch sessions.
    """

    def measure(server: Server) -> float:
        job: dict[str, Any] = {"connections": 200, "partitions": 1000, "wait_ms": 500}
        job.update(topic=POLLED, sessions=sessions, seconds=seconds + 3)
        with start_load("poll", server, **job) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(1.5)
            (share,) = server.shares(min(seconds, 5.0))
            process.communicate()
        return share * 0.5 / 200 * 1e6

    return measure


def other(folder: Path, before: Path | None) -> Server:
    """
    What this build is compared with.

    @param before: Root of a checkout of another build; None: Apache Kafka.
    """
    server = ApacheKafka(folder) if before is None else Build(folder, "old", before)
    server.name = "old"
    return server


def main() -> None:
    """
    Run the named measurements, or all, and print a table in Markdown.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench.builds", description=__doc__)
    add = parser.add_argument
    add("what", nargs="*", help="names of cases; default: all")
    add("--before", type=Path, help="root of a checkout of the old build")
    add("--kafka", action="store_true", help="compare with Apache Kafka, and not with a build")
    add("--warm-up", type=int, default=1, help="rounds that are discarded")
    add("--folder", type=Path, help="where to put data (on a disk, not in memory)")
    add("--pairs", type=int, default=12)
    add("--mib", type=int, default=192, help="produced, and fetched, in each half of a pair")
    add("--seconds", type=float, default=5, help="of small requests and of polls in each half")
    options = parser.parse_args()
    if options.kafka == (options.before is not None):
        parser.error("either --before or --kafka is required")
    cases: dict[str, tuple[str, Measure]] = {
        "produce": ("CPU s/GB", produce(options.mib)),
        "produce-100": ("CPU s/GB", produce(options.mib, record_bytes=100)),
        "lz4": ("CPU s/GB", produce(options.mib, codec="lz4")),
        "zstd": ("CPU s/GB", produce(options.mib, codec="zstd")),
        "gzip": ("CPU s/GB", produce(options.mib, codec="gzip")),
        "snappy": ("CPU s/GB", produce(options.mib, codec="snappy")),
        "requests": ("CPU µs each", requests(options.seconds)),
        "fetch": ("CPU s/GB", fetch(8 * options.mib)),
        "polls": ("CPU µs each", polls(options.seconds, sessions=False)),
        "session-polls": ("CPU µs each", polls(options.seconds, sessions=True)),
    }
    names = options.what or list(cases)
    if unknown := set(names) - set(cases):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="kafscale-builds-", dir=options.folder) as folder:
        new, old = Build(Path(folder), "new", None), other(Path(folder), options.before)
        touch_memory(2 << 30)
        try:
            for name in names:
                unit, measure = cases[name]
                found: dict[str, list[float]] = {new.name: [], old.name: []}
                for build in (new, old):
                    build.start(PARTITIONS)
                    with RawClient(build.port, 120.0) as raw:
                        raw.create(POLLED, 1000)
                    for _ in range(options.warm_up):
                        measure(build)
                for pair in range(options.pairs):
                    for build in (new, old) if pair % 2 else (old, new):
                        found[build.name].append(measure(build))
                for build in (new, old):
                    build.stop()
                ratios = [a / b for a, b in zip(found["new"], found["old"], strict=True)]
                low, high = interval(ratios)
                ours, theirs = (statistics.median(found[each]) for each in ("new", "old"))
                rows.append(
                    f"| {name} | {unit} | {ours:.3g} | {theirs:.3g} |"
                    f" {statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} |"
                )
                print(rows[-1], file=sys.stderr, flush=True)
        finally:
            new.stop()
            old.stop()
    print(f"\n{options.pairs} alternating pairs; topic {TOPIC!r}, {PARTITIONS} partitions\n")
    print("| load | unit | new | old | median of the ratios | 90 % interval |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
