"""
The benchmarks on S3: a store whose answers take a while and cost money. The
store is `tests.bench.s3_server`, over loopback.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench.load import TOPIC, one_batch
from tests.bench.on_s3 import BUCKET, OnS3, Store
from tests.bench.pacing import AHEAD
from tests.bench.servers import Floor, Kafscale, Server, load, start_load, touch_memory
from tests.clients.raw import RawClient, batch_of

MB = 1_000_000
UNROLLED = 256 << 20
"""What the broker keeps in memory before it rolls, by default."""

PUT_PRICE, GET_PRICE = 0.005 / 1000, 0.0004 / 1000
"""In US$, of Amazon S3 Standard in us-east-1; to be compared with the price list."""

Table = tuple[str, list[str], list[list[str]]]


def tables(folder: Path, options: argparse.Namespace) -> Iterator[Table]:
    """
    Those that were asked for.
    """
    for name in options.cases:
        yield CASES[name](folder, options)


# --------------------------------------------------------------------------
# Latency
# --------------------------------------------------------------------------


def latency(folder: Path, options: argparse.Namespace) -> Table:
    """
    Measure the latency of one producer with a slow store.
    """
    broker = OnS3(folder)
    partitions, total = 12, options.mib << 20
    rows = []
    speeds: dict[str, dict[float, list[float]]] = {}
    waits: dict[float, list[dict[str, Any]]] = {}
    raw: dict[str, Any] = {"client": "load", "in_flight": AHEAD}
    broker.start(partitions)
    try:
        for turn in range(options.rounds + 1):
            for delay in (1.0, 100.0):
                broker.slow(PUT=delay, POST=delay)
                for name, do, job in (
                    ("confluent-kafka, records of 1 KiB", "flood", {"client": "pacing"}),
                    ("encoded batches, 100 requests ahead", "produce", raw),
                ):
                    job = {"record_bytes": 1024, **job}
                    found = load(do, broker, partitions=partitions, total=total, **job)
                    if turn:
                        speed = found["bytes"] / found["seconds"] / MB
                        speeds.setdefault(name, {}).setdefault(delay, []).append(speed)
        broker.slow(PUT=100.0, POST=100.0)
        for rate in (10.0, 100.0, 1000.0, 10_000.0):
            for turn in range(options.rounds + 1):
                job = {"rate": rate, "seconds": options.seconds + 1, "client": "pacing"}
                found = load("paced", broker, partitions=partitions, record_bytes=1024, **job)
                if turn:
                    waits.setdefault(rate, []).append(found)
    finally:
        broker.stop()
    for name, by_delay in speeds.items():
        fast, slow = (statistics.median(by_delay[delay]) for delay in (1.0, 100.0))
        rows.append([f"MB/s: {name}", f"{fast:.0f}", f"{slow:.0f}", f"{slow / fast:.2f}"])
    for rate, each in waits.items():
        p50, p99 = (statistics.median(found[what] for found in each) for what in ("p50", "p99"))
        what = f"ms until acknowledged, p50 and p99: confluent-kafka, {rate:,.0f} records/s"
        rows.append([what, "", f"{p50:.0f}, {p99:.0f}", f"{p50 / 100:.2f}"])
    return (
        "One producer on one connection, 12 partitions, acks=all, where a PUT takes 1 ms or 100 ms"
        f"; rounds of {options.mib} MiB, median of {options.rounds}",
        ["", "1 ms", "100 ms", "ratio (to 100 ms)"],
        rows,
    )


# --------------------------------------------------------------------------
# Requests
# --------------------------------------------------------------------------


def puts(folder: Path, options: argparse.Namespace) -> Table:
    """
    Measure the requests to the store, by load and by number of partitions.
    """
    rows = []
    for rate in options.rates:
        for partitions in options.spread:
            broker = OnS3(folder)
            broker.start(partitions)
            broker.slow(PUT=30.0, POST=30.0, GET=15.0)
            try:
                rows += _asked(broker, partitions, rate, options)
            finally:
                broker.stop()
    return (
        "Requests to S3, where a PUT takes 30 ms: one producer, batches of"
        f" {options.batch:,} B, one to a request, to the partitions in turn; from /metrics, over"
        f" {options.window:.0f} s",
        [
            "MB/s",
            "partitions",
            "memory for records",
            "slots/s",
            "segments/s",
            "PUT and LIST/s",
            "an hour",
            "GET an hour",
            "price of an hour",
        ],
        rows,
    )


def _asked(
    broker: OnS3, partitions: int, rate: float, options: argparse.Namespace
) -> list[list[str]]:
    """
    At first nothing has to be rolled; when memory is full, as much as comes.
    """
    filling = UNROLLED * 1.1 / (rate * MB)
    waits = [("not full", 2.0)]
    if filling < options.patience:
        waits.append(("full", filling))
    seconds = waits[-1][1] + options.window + 3
    job = {"batch_bytes": options.batch, "rate": rate * MB, "seconds": seconds}
    rows = []
    with start_load("steady", broker, client="pacing", partitions=partitions, **job) as process:
        began = time.monotonic()
        for memory, wait in waits:
            time.sleep(max(0.0, began + wait - time.monotonic()))
            before = broker.counts()
            short = memory == "not full"  # not for long
            time.sleep(min(options.window, filling * 0.7) if short else options.window)
            found = broker.counts().rates(before)
            price = (found.puts() * PUT_PRICE + found.gets() * GET_PRICE) * 3600
            rows.append(
                [
                    f"{found.bytes_in / MB:.2f}",
                    f"{partitions:,}",
                    memory,
                    *(f"{each:.1f}" for each in (found.slots, found.segments, found.puts())),
                    *(f"{each * 3600:,.0f}" for each in (found.puts(), found.gets())),
                    f"${price:.3f}",
                ]
            )
        process.communicate()
    assert process.returncode == 0, "the producer failed"
    return rows


# --------------------------------------------------------------------------
# Throughput
# --------------------------------------------------------------------------


def throughput(folder: Path, options: argparse.Namespace) -> Table:
    """
    The broker on S3, on a directory, and the floor.
    """
    servers: Sequence[Server] = (OnS3(folder), Kafscale(folder), Floor(options.floor))
    partitions, tail = 12, 48 << 20
    shape: dict[str, Any] = {"partitions": partitions, "record_bytes": 1024}
    touch_memory(options.touch_gib << 30)
    for server in servers:
        server.start(partitions)

    def fetch(server: Server) -> dict[str, Any]:
        wrote = load("produce", server, total=tail, **shape)
        passes = max(1, (options.mib << 20) // tail)
        return load("fetch", server, starts=wrote["starts"], ends=wrote["ends"], passes=passes)

    kinds: list[tuple[str, Callable[[Server], dict[str, Any]]]] = [
        ("produce", functools.partial(load, "produce", total=options.mib << 20, **shape)),
        ("fetch", fetch),
    ]
    rows = []
    try:
        for name, measure in kinds:
            found: list[list[dict[str, Any]]] = [[] for _ in servers]
            for turn in range(options.rounds + 1):
                for results, server in zip(found, servers, strict=True):
                    result = measure(server)
                    if turn:
                        results.append(result)
            speeds = [statistics.median(e["bytes"] / e["seconds"] / MB for e in r) for r in found]
            costs = [statistics.median(e["cpu"] / e["bytes"] * 1e9 for e in r) for r in found]
            rows.append([f"{name}: MB/s", *(f"{each:.0f}" for each in speeds)])
            rows.append(["... to the floor's", *(f"{each / speeds[-1]:.2f}" for each in speeds)])
            rows.append([f"{name}: CPU s/GB", *(f"{each:.2f}" for each in costs)])
    finally:
        for server in servers:
            server.stop()
    return (
        "Beside the directory and the floor: encoded batches, 5 requests ahead, records of 1 KiB,"
        f" {partitions} partitions; rounds of {options.mib} MiB, median of {options.rounds}",
        ["", *(server.name for server in servers)],
        rows,
    )


# --------------------------------------------------------------------------
# Many objects
# --------------------------------------------------------------------------


def objects(folder: Path, options: argparse.Namespace) -> Table:
    """
    Measure whether a start and the first requests slow down with the number of
    objects in the bucket.
    """
    partitions = options.many_partitions
    broker = OnS3(folder, segment_bytes=1024)
    rows = []
    broker.start(partitions)
    try:
        _two_segments_each(broker, partitions)
        broker.slow(PUT=10.0, POST=10.0, GET=10.0)
        for count in (0, options.many_objects):
            store = broker.store
            assert store is not None
            if count:
                _fill(store, count)
            _starts(broker)  # what stood in the journal is rolled after this
            times = [_starts(broker) for _ in range(options.rounds)]
            medians = [statistics.median(each) for each in zip(*times, strict=True)]
            have = len(store.keys())
            rows.append([f"{have:,}", *(f"{each * 1000:.0f} ms" for each in medians)])
    finally:
        broker.stop()
    return (
        f"{partitions:,} partitions, kill -9, start (every request to the store takes 10 ms);"
        f" median of {options.rounds}",
        ["objects in the bucket", "start to the first accepted produce", "produce", "fetch"],
        rows,
    )


def _two_segments_each(broker: OnS3, partitions: int) -> None:
    """
    Records in two segments of each partition.
    """
    batch = batch_of([bytes(20)] * 100)
    for _ in range(2):
        with RawClient(broker.port, 120.0) as raw:
            requests = [raw.produce_request(TOPIC, index, batch) for index in range(partitions)]
            for at in range(0, partitions, AHEAD):
                sent = [(each, raw.send(each, 9)) for each in requests[at : at + AHEAD]]
                for request, correlation in sent:
                    ((part,),) = [
                        topic.partition_responses
                        for topic in raw.receive(request, 9, correlation).responses
                    ]
                    assert part.error_code == 0, f"Produce: {part.error_code}"
        store = broker.store
        assert store is not None
        until = time.monotonic() + 120
        have = -1
        while have != (have := len(store.keys("default/topics/"))):
            assert time.monotonic() < until
            time.sleep(1)


def _fill(store: Store, count: int) -> None:
    """
    Copies of the segments of all but the first partitions, where more would be.
    """
    have = store.keys()
    firsts = [key for key in have if key.endswith(f"/{0:020d}.kfs") and "/0/" not in key]
    each, more = divmod(count - len(have), len(firsts))
    for number, key in enumerate(firsts):
        prefix = key.rpartition("/")[0]
        copies = each + (number < more)
        wanted = [f"{prefix}/{base + 1:020d}.kfs" for base in range(copies)]
        store.tell(copy=[BUCKET, key, wanted])


def _starts(broker: OnS3) -> tuple[float, float, float]:
    """
    Seconds from a start after C{kill -9} to the first accepted produce, of a
    first produce to another partition, and of a first fetch from its start.
    """
    broker.broker.kill()
    batch, _ = one_batch(100, 1)
    began = time.perf_counter()
    broker.broker.start()
    with RawClient(broker.port, 300.0) as raw:
        part = raw.produce(TOPIC, 0, batch)
        started = time.perf_counter()
        assert part.error_code == 0, f"Produce: {part.error_code}"
        part = raw.produce(TOPIC, 1, batch)
        produced = time.perf_counter()
        assert part.error_code == 0, f"Produce: {part.error_code}"
        found = raw.fetch(TOPIC, 0, 0)
        fetched = time.perf_counter()
        assert found.error_code == 0, f"Fetch: {found.error_code}"
        assert found.records, "the first records are not there"
    return started - began, produced - started, fetched - produced


CASES: dict[str, Callable[[Path, argparse.Namespace], Table]] = {
    "latency": latency,
    "puts": puts,
    "throughput": throughput,
    "objects": objects,
}


def add_options(add: Callable[..., object]) -> None:
    """
    Add the options of these benchmarks.
    """
    add("--cases", type=_names, default=list(CASES), help="of s3: " + ", ".join(CASES))
    add("--rates", type=_rates, default=[1.0, 10.0], help="in MB/s, for s3's puts")
    add("--spread", type=_numbers, default=[1, 100, 2000], help="partitions, for s3's puts")
    add("--batch", type=int, default=10_120, help="size in bytes, for s3's puts")
    add("--window", type=float, default=20, help="seconds to count in, for s3's puts")
    add("--patience", type=float, default=120, help="seconds to fill the memory, for s3's puts")
    add("--many-partitions", type=int, default=2000, help="for s3's objects")
    add("--many-objects", type=int, default=100_000, help="for s3's objects")


def _names(text: str) -> list[str]:
    return text.split(",")


def _rates(text: str) -> list[float]:
    return [float(each) for each in _names(text)]


def _numbers(text: str) -> list[int]:
    return [int(each) for each in _names(text)]
