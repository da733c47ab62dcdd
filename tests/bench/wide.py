"""
Very many partitions over three brokers.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.bench.clusters import LONG, Row, Table, led_by, running, seconds_until
from tests.bench.on_s3 import BUCKET, Store
from tests.clients.broker import eventually
from tests.clients.cluster import ClusterBroker
from tests.clients.raw import RawClient
from tests.clients.steady import Steady
from tests.harness import etcd as etcds


def partitions(folder: Path, options: argparse.Namespace) -> Table:
    """
    Very many of them.
    """
    rows: list[Row] = []
    topics = [f"wide-{number}" for number in range(10)]
    store = Store()

    def row(what: str, value: str) -> None:
        rows.append([what, value])
        print(f"{what}: {value}", file=sys.stderr)

    try:
        with running(
            folder,
            3,
            endpoint=store.endpoint,
            bucket=BUCKET,
            lease_seconds=options.lease,
            shutdown_ms=120_000,
        ) as cluster:
            begun = time.monotonic()
            with RawClient(cluster.brokers[0].port, LONG) as raw:
                for topic in topics:
                    raw.create(topic, options.wide // len(topics))
            everyone = cluster.brokers
            eventually(lambda: led_by(cluster, topics, everyone), LONG)
            row("created, and all led", f"{time.monotonic() - begun:.1f} s")
            etcd = cluster.etcd
            keys, revision = _keys(etcd)
            row("keys in etcd", f"{keys:,}")
            row("bytes of etcd", f"{etcd.size():,}")
            time.sleep(20)
            row("commits in etcd a second, idle", f"{(_keys(etcd)[1] - revision) / 20:.1f}")
            producer = Steady(cluster.addresses, topics[0], options.wide // len(topics), rate=500)
            producer.start()
            time.sleep(10)
            revision = _keys(etcd)[1]
            time.sleep(20)
            row(
                "commits in etcd a second, 500 records a second to 1000 partitions",
                f"{(_keys(etcd)[1] - revision) / 20:.1f}",
            )
            producer.finish()
            last, others = everyone[2], everyone[:2]
            begun = time.monotonic()
            status = last_terminated(last)
            row("SIGTERM to the end of one", f"{time.monotonic() - begun:.1f} s ({status})")
            row(
                "... until all is led by the others",
                f"{seconds_until(lambda: led_by(cluster, topics, others), begun):.1f} s",
            )
            begun = time.monotonic()
            last.start()
            row(
                "start of one, until it has its share",
                f"{seconds_until(lambda: led_by(cluster, topics, everyone), begun):.1f} s",
            )
            begun = time.monotonic()
            last.kill()
            row(
                f"`kill -9` of one, until all is led (lease {options.lease} s)",
                f"{seconds_until(lambda: led_by(cluster, topics, others), begun):.1f} s",
            )
            last.start()
            eventually(lambda: led_by(cluster, topics, everyone), LONG)
            for broker in everyone:
                broker.kill()
            begun = time.monotonic()
            for broker in everyone:
                broker.start(wait=False)
            for broker in everyone:
                broker.wait_until_listening()
            row(
                "start of all three after `kill -9`, until all is led",
                f"{seconds_until(lambda: led_by(cluster, topics, everyone), begun):.1f} s",
            )
            peak = max(broker.memory("VmHWM") for broker in everyone)
            row("memory of a broker, at most", f"{peak >> 20} MiB")
    finally:
        store.stop()
    return f"{options.wide:,} partitions, three brokers", ["", ""], rows


def last_terminated(broker: ClusterBroker) -> str:
    """
    How a broker ends that may take its time.
    """
    broker.signal_to_stop()
    broker.ended(LONG)
    return "handed over" if broker.count("that was acknowledged is stored") else "not in time"


def _keys(etcd: etcds.Etcd) -> tuple[int, int]:
    """
    How many keys it has, and its revision.
    """
    everything = {"key": etcds.base64("/"), "range_end": etcds.base64("0"), "count_only": True}
    answer = etcd.ask("/v3/kv/range", everything)
    return int(answer["count"]), int(answer["header"]["revision"])
