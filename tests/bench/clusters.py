"""
Shared code of the benchmarks of clusters.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.on_s3 import KEYS
from tests.clients.broker import eventually
from tests.clients.cluster import Cluster, ClusterBroker
from tests.clients.raw import RawClient

Row = list[str]
Table = tuple[str, list[str], list[Row]]
PARTITIONS = 12
LONG = 300.0


@contextmanager
def running(folder: Path, count: int, **settings: Any) -> Iterator[Cluster]:
    """
    A cluster, for a while.
    """
    cluster = Cluster(folder, count, **settings)
    for broker in cluster.brokers:
        broker.variables |= KEYS if "endpoint" in settings else {}
    try:
        yield cluster.start()
    except BaseException:
        for broker in cluster.brokers:
            print(f"--- {broker.broker_id}\n{broker.tail(30)}", file=sys.stderr)
        raise
    finally:
        cluster.close()


def led_by(cluster: Cluster, topics: Sequence[str], brokers: Sequence[ClusterBroker]) -> bool:
    """
    Whether all partitions of topics are led by one of these brokers, as the
    first of them tells.
    """
    ids = {each.broker_id for each in brokers}
    with RawClient(brokers[0].port, LONG) as raw:
        told = raw.metadata(*topics).topics
        leaders = {part.leader_id for topic in told for part in topic.partitions}
        return bool(leaders) and leaders <= ids and len(leaders) == len(ids)


def seconds_until(what: Callable[[], bool], since: float | None = None) -> float:
    """
    Return how many seconds pass until the condition is true.
    """
    begun = time.monotonic() if since is None else since
    eventually(what, LONG)
    return time.monotonic() - begun


def spread(values: Sequence[float], of: str = "s") -> str:
    """
    Median and maximum.
    """
    return f"{statistics.median(values):.2f} {of}, at most {max(values):.2f} {of}"
