"""
Three brokers on one etcd and one S3 server, all on this machine.

    python -m tests.bench.cluster --cases failover,chaos,rolling,scale,partitions

failover: a broker is killed again and again, and clients wait for the others.
chaos: the same under load, and all records are counted in the end. rolling: each
broker is restarted in good order. scale: what one, two and three brokers take,
with their clients on the same cores, and beside that as many brokers that have
nothing to do with each other.
partitions: how long it takes to start, to take over and to hand over many of
them, and what etcd has to do with that.

The first three have their records in SeaweedFS, the others in a server that costs
little (`tests.bench.s3_server`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.clusters import (
    LONG,
    PARTITIONS,
    Row,
    Table,
    led_by,
    running,
    seconds_until,
    spread,
)
from tests.bench.load import TOPIC
from tests.bench.on_s3 import BUCKET, Store
from tests.bench.servers import TICKS
from tests.bench.wide import partitions
from tests.clients.broker import ROOT, environment, eventually
from tests.clients.cluster import Cluster, ClusterBroker
from tests.clients.members import SHORT_MS, Job, Member
from tests.clients.raw import RawClient
from tests.clients.steady import Steady, check

# ------------------------------------------------------------------- failover


def failover(folder: Path, options: argparse.Namespace) -> Table:
    """
    From C{kill -9} until the others lead, and until a client got an
    acknowledgement from a new leader, and of each partition.
    """
    led, first, acknowledged = [], [], []
    with running(folder, 3, lease_seconds=options.lease) as cluster:
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create(TOPIC, PARTITIONS)
        producer = Steady(cluster.addresses, TOPIC, PARTITIONS, faults=True)
        producer.start()
        for number in range(options.kills):
            eventually(lambda: led_by(cluster, [TOPIC], cluster.brokers), LONG)
            time.sleep(random.uniform(2, 4))
            victim = cluster.brokers[number % 3]
            others = [each for each in cluster.brokers if each is not victim]
            leaders = cluster.leaders(TOPIC)
            mine = [i for i, leader in enumerate(leaders) if leader == victim.broker_id]
            killed = time.monotonic()
            victim.kill()
            led.append(seconds_until(lambda: led_by(cluster, [TOPIC], others), killed))  # noqa: B023
            # What comes in the first half second was acknowledged before.
            eventually(lambda: all(producer.first_after(p, killed + 0.5) for p in mine), LONG)  # noqa: B023
            firsts = [producer.first_after(p, killed + 0.5) or 0 for p in mine]
            first.append(min(firsts) - killed)
            acknowledged.append(max(firsts) - killed)
            victim.start()
        producer.finish()
        count = check(cluster.addresses, TOPIC, producer)
    rows = [
        ["kills", f"{options.kills}"],
        [
            "first acknowledgement of a new leader within the lease and 2 s",
            f"{sum(each <= options.lease + 2 for each in first)}",
        ],
        ["all partitions have a leader again: p50 and max", spread(led)],
        ["a client has an acknowledgement of a new leader: p50 and max", spread(first)],
        ["... of each partition: p50 and max", spread(acknowledged)],
        ["records, each there once and in order", f"{count:,}"],
    ]
    return f"Failover, lease of {options.lease} s", ["", "after `kill -9`"], rows


# ---------------------------------------------------------------------- chaos


def chaos(folder: Path, options: argparse.Namespace) -> Table:
    """
    Kills at a steady pace.
    """
    kills = []
    with running(folder, 3, lease_seconds=options.lease) as cluster:
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create(TOPIC, PARTITIONS)
        producer = Steady(
            cluster.addresses, TOPIC, PARTITIONS, rate=options.rate, faults=True
        )
        producer.start()
        members = [
            Member(
                folder,
                Job(library, cluster.addresses, "group", TOPIC, None, None, SHORT_MS,
                    str(folder / f"{number}-{library}.journal")),
            )
            for number, library in enumerate(("confluent-kafka", "aiokafka") * 2)
        ]  # fmt: skip
        begun = time.monotonic()
        chance = random.Random(options.seed)
        try:
            for number in itertools.count(1):
                time.sleep(max(0.0, begun + number * options.pace - time.monotonic()))
                if time.monotonic() > begun + options.minutes * 60:
                    break
                victim = chance.choice(cluster.brokers)
                kills.append(time.monotonic())
                victim.kill()
                # Not before the others have taken over.
                time.sleep(min(options.pace - 4, options.lease + 4))
                victim.start()
            producer.finish()
            # What is acknowledged after the kill was on its way.
            stalls = [max(producer.stalls(each - 1, each + 1)) for each in kills]
            count = check(cluster.addresses, TOPIC, producer)
            late = seconds_until(lambda: processed(members) >= set(all_of(producer)))
            for member in members:
                member.stop()
            cluster.verify()
        finally:
            for member in members:
                member.clear()
    rows = [
        ["kills", f"{len(kills)} in {options.minutes:g} minutes"],
        ["records acknowledged, each there once and in order", f"{count:,}"],
        ["the consumers had processed all of them after", f"{late:.1f} s"],
        ["longest time without an acknowledgement in a partition: p50 and max", spread(stalls)],
    ]
    return f"A kill every {options.pace:g} s, lease of {options.lease} s", ["", ""], rows


def processed(members: Sequence[Member]) -> set[tuple[int, int]]:
    """
    Partitions and offsets that members have done their work with.
    """
    return {(each.partition, each.offset) for member in members for each in member.read()}


def all_of(producer: Steady) -> Iterator[tuple[int, int]]:
    """
    The same of all that was acknowledged.
    """
    for partition, count in enumerate(producer.counts()):
        for offset in range(count):
            yield partition, offset


# -------------------------------------------------------------------- rolling


def rolling(folder: Path, options: argparse.Namespace) -> Table:
    """
    Each broker is stopped in good order and started again, one after the other.
    """
    stops: list[float] = []
    with running(folder, 3, lease_seconds=options.lease) as cluster:
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create(TOPIC, PARTITIONS)
        producer = Steady(cluster.addresses, TOPIC, PARTITIONS, rate=options.rate)
        producer.start()
        eventually(lambda: led_by(cluster, [TOPIC], cluster.brokers), LONG)
        time.sleep(5)
        begun = time.monotonic()
        for broker in cluster.brokers:
            stopping = time.monotonic()
            broker.terminate()
            stops.append(time.monotonic() - stopping)
            time.sleep(2)
            broker.start()
            eventually(lambda: led_by(cluster, [TOPIC], cluster.brokers), LONG)
            time.sleep(3)
        stalls = producer.stalls(begun)
        producer.finish()
        count = check(cluster.addresses, TOPIC, producer)
    rows = [
        ["longest time without an acknowledgement in a partition: p50 and max", spread(stalls)],
        ["from SIGTERM to the end of a process: p50 and max", spread(stops)],
        ["records, each there once and in order, no error at the client", f"{count:,}"],
    ]
    return "A restart of each of three brokers", ["", ""], rows


# ---------------------------------------------------------------------- scale


def scale(folder: Path, options: argparse.Namespace) -> Table:
    """
    Everything as fast as it goes, with one client process for each broker; and
    beside it as many brokers that have nothing to do with each other.
    """
    rows: list[Row] = []
    for count in (1, 2, 3):
        together, alone = [], []
        store = Store()
        try:
            with ExitStack() as stack:

                def begun(brokers: int, name: str, stack: ExitStack = stack) -> Cluster:
                    where = folder / f"{count}-{name}"  # noqa: B023 - called at once
                    given = {"endpoint": store.endpoint, "bucket": BUCKET, "namespace": name}  # noqa: B023
                    cluster = stack.enter_context(running(where, brokers, **given))
                    with RawClient(cluster.brokers[0].port) as raw:
                        raw.create(TOPIC, PARTITIONS)
                    eventually(lambda: led_by(cluster, [TOPIC], cluster.brokers), LONG)
                    return cluster

                one = [begun(count, "together")]
                several = [begun(1, f"alone-{number}") for number in range(count)]
                for _ in range(options.rounds + 1):
                    together.append(_round(one, options))
                    alone.append(_round(several, options))
        finally:
            store.stop()
        speed, cost = (statistics.median(each) for each in zip(*together[1:], strict=True))
        others, theirs = (statistics.median(each) for each in zip(*alone[1:], strict=True))
        ratio = statistics.median(
            a[1] / b[1] for a, b in zip(together[1:], alone[1:], strict=True)
        )
        rows.append(
            [
                *(str(count), f"{speed:.0f}", f"{others:.0f}"),
                *(f"{each:.2f}" for each in (cost, theirs, ratio)),
            ]
        )
    title = (
        f"Produce, {options.record} B records: brokers in one cluster, and as many that have"
        " nothing to do with each other, by turns; with their clients and stores on the same cores"
    )
    return title, [
        "Brokers", "MB/s", "MB/s, each alone", "CPU s per GB, brokers", "each alone", "ratio",
    ], rows  # fmt: skip


def _round(clusters: Sequence[Cluster], options: argparse.Namespace) -> tuple[float, float]:
    """
    MB/s of all, and seconds of CPU time per GB.
    """
    brokers = [broker for cluster in clusters for broker in cluster.brokers]
    before = sum(map(cpu, brokers))
    clients = []
    for cluster in clusters:
        leaders = cluster.leaders(TOPIC)
        for broker in cluster.brokers:
            which = [i for i, leader in enumerate(leaders) if leader == broker.broker_id]
            which = which[: PARTITIONS // len(brokers)]
            job = {
                "do": "produce",
                "port": broker.port,
                "partitions": len(which),
                "which": which,
                "record_bytes": options.record,
                "total": (options.mib << 20) // len(brokers),
            }
            command = [sys.executable, "-m", "tests.bench.load", json.dumps(job)]
            clients.append(
                subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE)
            )
    results = [json.loads(client.communicate()[0]) for client in clients]
    size = sum(each["bytes"] for each in results)
    spent = sum(map(cpu, brokers)) - before
    return size / max(each["seconds"] for each in results) / 1e6, spent / size * 1e9


def cpu(broker: ClusterBroker) -> float:
    """
    Seconds of CPU time that its process has used so far.
    """
    stat = Path(f"/proc/{broker.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / TICKS


CASES: dict[str, Callable[[Path, argparse.Namespace], Table]] = {
    "failover": failover,
    "chaos": chaos,
    "rolling": rolling,
    "scale": scale,
    "partitions": partitions,
}


def main() -> None:
    """
    Run the cases that are named, or all.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster", description=__doc__)
    add = parser.add_argument
    add("--cases", type=lambda text: text.split(","), default=list(CASES), help=", ".join(CASES))
    add("--lease", type=int, default=10, help="seconds")
    add("--kills", type=int, default=20, help="for failover")
    add("--minutes", type=float, default=5, help="of chaos")
    add("--pace", type=float, default=20, help="seconds between two kills, for chaos")
    add("--rate", type=float, default=300, help="records a second, for chaos")
    add("--seed", type=int, default=1, help="for chaos")
    add("--record", type=int, default=1024, help="bytes, for scale")
    add("--mib", type=int, default=512, help="in each round of scale")
    add("--rounds", type=int, default=3, help="of scale, to take the median of")
    add("--wide", type=int, default=10_000, help="for partitions")
    options = parser.parse_args()
    for name in options.cases:
        with tempfile.TemporaryDirectory(prefix="kafscale-bench-") as folder:
            title, head, rows = CASES[name](Path(folder), options)
        print(f"\n{title}\n")
        for row in (head, ["---"] * len(head), *rows):
            print("| " + " | ".join(row) + " |")
        print(flush=True)


if __name__ == "__main__":
    main()
