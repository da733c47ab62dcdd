"""
The benchmarks. Each runs the broker and the floor side by side, with the same
client and the same load, and prints a table of ratios in Markdown: seconds
alone say more of the machine than of the broker.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import access, groups, peers, s3
from tests.bench.disk import disk
from tests.bench.load import BATCH_BYTES, IN_FLIGHT, TOPIC
from tests.bench.servers import (
    Floor,
    Kafscale,
    Server,
    load,
    percents,
    start_load,
    touch_memory,
)
from tests.clients.raw import RawClient, batch_of

MB = 1_000_000
TAIL_BYTES = 48 << 20
"""How much is read as the tail: it fits into a broker's memory at default settings."""

NAMES = ("peers", "throughput", "requests", "volume", "idle", "groups", "s3", "access")

Rows = list[list[str]]


class Bench:
    """
    The benchmarks, on two servers, with the options of the command line.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.kafscale = Kafscale(folder)
        self.floor = Floor(options.floor)
        self.servers: Sequence[Server] = (self.kafscale, self.floor)

    def start(self, partitions: int) -> None:
        """
        Both of them, empty.
        """
        touch_memory(self.options.touch_gib << 30)
        for server in self.servers:
            server.start(partitions)

    def stop(self) -> None:
        """
        Both of them, and their data goes.
        """
        for server in self.servers:
            server.stop()

    def alternate(
        self, rounds: int, measure: Callable[[Server], dict[str, Any]]
    ) -> dict[str, list[dict[str, Any]]]:
        """
        What C{measure} found for each server, by name: A B A B, the first
        round of each thrown away.
        """
        found: dict[str, list[dict[str, Any]]] = {server.name: [] for server in self.servers}
        for turn in range(rounds + 1):
            for server in self.servers:
                result = measure(server)
                if turn:
                    found[server.name].append(result)
        return found

    # ---------------------------------------------------------------- peers

    def peers(self) -> None:
        """
        The broker beside Apache Kafka.
        """
        print_table(*peers.table(self.folder, self.options))
        print(disk(self.folder))

    # ----------------------------------------------------------- throughput

    def throughput(self) -> None:
        """
        Produce and fetch, by partitions and record size.
        """
        options = self.options
        confluent = options.client == "confluent"
        client = "confluent" if confluent else "load"
        rows: Rows = []

        def row(
            what: str, shape: dict[str, int], measure: Callable[[Server], dict[str, Any]]
        ) -> None:
            self.start(shape["partitions"])
            found = self.alternate(options.rounds, measure)
            self.stop()
            ours, floors = (found[server.name] for server in self.servers)
            size = f"{shape['record_bytes']:,} B"
            rows.append([what, str(shape["partitions"]), size, *_compared(ours, floors)])

        shapes = [
            {"partitions": partitions, "record_bytes": size}
            for partitions in options.partitions
            for size in options.sizes
        ]
        for connections in [1] if confluent else options.producers:
            job: dict[str, Any] = {"total": options.mib << 20}
            if not confluent:
                job["connections"] = connections
            for shape in shapes:
                what = "produce" + (f", {connections} connections" if connections > 1 else "")
                row(what, shape, functools.partial(load, "produce", client=client, **shape, **job))
        for shape in shapes:
            row("fetch", shape, functools.partial(self.tail, client, shape))
        what = "confluent-kafka" if confluent else "pre-encoded batches"
        print(f"\n{disk(self.folder)}")
        print_table(
            f"Throughput: {what} of up to {BATCH_BYTES:,} B, {IN_FLIGHT} requests ahead on a"
            f" connection, acks=all, fsync on; rounds of {options.mib} MiB, median of"
            f" {options.rounds}; fetch: the newest {TAIL_BYTES >> 20} MiB",
            [
                "",
                "partitions",
                "record",
                "MB/s",
                "floor's",
                "ratio",
                "CPU s/GB",
                "floor's",
                "ratio",
            ],
            rows,
        )

    def tail(self, client: str, shape: dict[str, int], server: Server) -> dict[str, Any]:
        """
        Read records that were just written, again and again. Older records are
        read from segments: see L{volume}.
        """
        wrote = load("produce", server, **shape, total=TAIL_BYTES)
        passes = max(1, (self.options.mib << 20) // TAIL_BYTES)
        places = {"starts": wrote["starts"], "ends": wrote["ends"]}
        return load("fetch", server, client=client, **places, passes=passes)

    # ------------------------------------------------------------- requests

    def requests(self) -> None:
        """
        Unbatched produces, by number of connections.
        """
        rows: Rows = []
        self.start(12)
        for connections in self.options.connections:
            job = {"connections": connections, "seconds": self.options.seconds, "partitions": 12}
            measure = functools.partial(load, "requests", **job)
            found = self.alternate(self.options.rounds, measure)
            rates, costs = [], []
            for server in self.servers:
                rates.append(_median(e["requests"] / e["seconds"] for e in found[server.name]))
                costs.append(_median(e["cpu"] / e["requests"] * 1e6 for e in found[server.name]))
            rows.append([str(connections), *_pair(rates, "{:,.0f}"), *_pair(costs, "{:.0f}")])
        self.stop()
        print_table(
            f"Unbatched produces: 1 record of 100 B per request, {IN_FLIGHT} ahead on each"
            " connection, 12 partitions, acks=all, fsync on",
            ["connections", "requests/s", "floor's", "ratio", "CPU µs/request", "floor's", "ratio"],
            rows,
        )

    # --------------------------------------------------------------- volume

    def volume(self) -> None:
        """
        Much data: memory, reading from segments, and start after C{kill -9}.
        """
        options = self.options
        broker = self.kafscale
        shape = {"partitions": 12, "record_bytes": 1024}
        self.start(12)
        rows: Rows = []
        wrote = load("produce", broker, **shape, total=int(options.gb * 1e9))
        rows.append([f"peak RSS after {options.gb} GB were produced", _mib(broker.peak())])
        tails = []
        for _ in range(options.rounds + 1):
            tail = load("produce", broker, **shape, total=TAIL_BYTES)
            found = load("fetch", broker, starts=tail["starts"], ends=tail["ends"])
            tails.append(found["bytes"] / found["seconds"] / MB)
        catch_up = load("fetch", broker, starts=wrote["starts"], ends=wrote["ends"])
        rows.append(["peak RSS after all of it was read, too", _mib(broker.peak())])
        speed, tail_speed = catch_up["bytes"] / catch_up["seconds"] / MB, _median(tails[1:])
        rows.append(["reading it from segments, to reading the tail", _times(speed, tail_speed)])
        rows.append(["... in MB/s", f"{speed:.0f} to {tail_speed:.0f}"])

        broker.broker.kill()
        full = self.first_produce(broker)
        self.stop()
        empties, floors = [], []
        for _ in range(options.rounds):
            broker.start(12)
            broker.broker.kill()
            empties.append(self.first_produce(broker))
            self.stop()
            began = time.perf_counter()
            self.floor.start(12)
            load("produce", self.floor, partitions=1, record_bytes=100, total=100)
            floors.append(time.perf_counter() - began)
            self.stop()
        empty, floor = _median(empties), _median(floors)
        rows.append(
            [
                f"start after kill -9 with {options.gb} GB, to the first accepted produce",
                f"{full:.2f} s",
            ]
        )
        rows.append(["... to the same with nothing stored", _times(full, empty)])
        rows.append(["... to the floor's start", _times(full, floor)])
        print(f"\n{disk(self.folder)}")
        print_table(
            f"{options.gb} GB at default settings: 12 partitions, records of 1 KiB", ["", ""], rows
        )

    def first_produce(self, broker: Kafscale) -> float:
        """
        Start a broker that was killed; seconds until it has accepted a record.
        """
        began = time.perf_counter()
        broker.broker.start()
        with RawClient(broker.port) as raw:
            part = raw.produce(TOPIC, 0, batch_of([b"first"]))
            assert part.error_code == 0, f"Produce: {part.error_code}"
        return time.perf_counter() - began

    # ----------------------------------------------------------------- idle

    def idle(self) -> None:
        """
        A thousand partitions in which nothing happens.
        """
        options = self.options
        rows: Rows = []
        began = time.perf_counter()
        self.kafscale.start(1)
        started = time.perf_counter()
        with RawClient(self.kafscale.port, 300.0) as raw:
            raw.create("wide", options.wide)
            created = time.perf_counter() - started
            raw.delete(TOPIC)
            raw.create(TOPIC, options.wide)
        self.floor.start(options.wide)
        rows.append(
            [
                f"creating {options.wide} partitions, to starting the broker",
                _times(created, started - began),
            ]
        )
        rows.append(["... in seconds", f"{created:.2f}"])
        time.sleep(2)
        for server in self.servers:
            share = percents(server.shares(options.seconds))
            rows.append([f"CPU of one core, no connection: {server.name}", share])
        for wait in options.waits:
            kinds = [(server, False) for server in self.servers] + [(self.kafscale, True)]
            for server, sessions in kinds:
                share = self.polled(server, wait, sessions)
                how = f"that poll for {wait} ms{' in fetch sessions' if sessions else ''}"
                what = f"CPU of one core, 200 connections {how}: {server.name}"
                rows.append([what, share])
        self.stop()
        print_table(f"{options.wide} partitions, nothing produced", ["", ""], rows)

    def polled(self, server: Server, wait_ms: int, sessions: bool) -> str:
        """
        The part of a core that 200 long polls take, which find nothing.
        """
        options = self.options
        job = {
            "connections": 200,
            "partitions": options.wide,
            "wait_ms": wait_ms,
            "sessions": sessions,
            "seconds": options.seconds + 4,
        }
        with start_load("poll", server, **job) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(2)
            share = percents(server.shares(options.seconds))
            process.communicate()
        return share

    # --------------------------------------------------------------- groups

    def groups(self) -> None:
        """
        Consumer groups: settling, heartbeats, commits.
        """
        print_table("Consumer groups", ["", ""], groups.measure(self.kafscale, self.options))

    # ------------------------------------------------------------------- S3

    def s3(self) -> None:
        """
        A store that answers late, and has a price.
        """
        for table in s3.tables(self.kafscale.folder.parent, self.options):
            print_table(*table)

    # --------------------------------------------------------------- access

    def access(self) -> None:
        """
        TLS and logins beside Apache Kafka, and decisions by ACLs.
        """
        for table in access.tables(self.folder, self.options):
            print_table(*table)


# --------------------------------------------------------------------------
# Figures
# --------------------------------------------------------------------------


def _median(values: Any) -> float:
    return float(statistics.median(values))


def _times(one: float, other: float) -> str:
    return f"{one / other:.2f}"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"


def _pair(values: Sequence[float], layout: str) -> list[str]:
    ours, floors = values
    return [layout.format(ours), layout.format(floors), _times(ours, floors) if floors else "-"]


def _compared(ours: list[dict[str, Any]], floors: list[dict[str, Any]]) -> list[str]:
    speeds = [_median(e["bytes"] / e["seconds"] / MB for e in each) for each in (ours, floors)]
    costs = [_median(e["cpu"] / e["bytes"] * 1e9 for e in each) for each in (ours, floors)]
    return [*_pair(speeds, "{:.0f}"), *_pair(costs, "{:.2f}")]


def print_table(title: str, head: list[str], rows: Rows) -> None:
    """
    In Markdown.
    """
    print(f"\n{title}\n")
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |")
    print(flush=True)


# --------------------------------------------------------------------------
# Command line
# --------------------------------------------------------------------------


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def main() -> None:
    """
    Run the benchmarks that are named, or all.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    add = parser.add_argument
    add("what", nargs="*", metavar="BENCHMARK", help=", ".join(NAMES))
    add("--floor", type=Path, default=Path(__file__).with_name("floor.py"), help="its script")
    add("--folder", type=Path, help="where to put data (on a disk, not in memory)")
    add("--before", type=Path, help="root of a checkout of an earlier build, for peers")
    add("--rounds", type=int, default=3, help="rounds to take the median of")
    add("--client", choices=["raw", "confluent"], default="raw", help="for throughput")
    add("--partitions", type=_numbers, default=[1, 12], help="for throughput")
    add("--sizes", type=_numbers, default=[100, 1024, 10240], help="of records, for throughput")
    add("--producers", type=_numbers, default=[1, 4], help="connections, for throughput")
    add("--mib", type=int, default=256, help="in each round of throughput")
    add("--connections", type=_numbers, default=[1, 2, 4, 8, 16], help="for requests")
    add("--seconds", type=float, default=5, help="of each round of requests, and of idling")
    add("--gb", type=float, default=4, help="for volume")
    add("--wide", type=int, default=1000, help="partitions for idle")
    add("--waits", type=_numbers, default=[500, 5000], help="of long polls, in ms, for idle")
    add("--members", type=int, default=200, help="of the group that settles, for groups")
    add("--beating", type=int, default=2000, help="members that send heartbeats, for groups")
    s3.add_options(add)
    add("--touch-gib", type=int, default=2, help="memory to touch before each start")
    options = parser.parse_args()
    if unknown := set(options.what) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="kafscale-bench-", dir=options.folder) as folder:
        bench = Bench(options, Path(folder))
        try:
            for name in options.what or NAMES:
                getattr(bench, name)()
        finally:
            bench.stop()


if __name__ == "__main__":
    main()
