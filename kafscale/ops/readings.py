"""
From what rooms count to families of metrics.

Each function looks at what one room has counted, at the moment at which it is
asked. Nothing here is done while nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Protocol, TypeAlias
from uuid import UUID

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as Family

from kafscale.counts import (
    SECONDS,
    ApiCounts,
    ConversionCounts,
    Histogram,
    LogCounts,
    LogState,
    StoreCounts,
)
from kafscale.errors import BY_CODE, KafkaError, NotLeaderOrFollower
from kafscale.interfaces import GroupState, IGroupCoordinator, ILog
from kafscale.ops import catalogue
from kafscale.ops.catalogue import Metric

Reading: TypeAlias = Callable[[], Iterable[Family]]
"""Gives the families of one room, as they are now."""

_BOUNDS = [*(str(bound) for bound in SECONDS), "+Inf"]


class Requests(Protocol):
    """
    What the net room counts of requests.
    """

    counts: dict[int, ApiCounts]
    refused: int


class Connections(Protocol):
    """
    What it counts of connections.
    """

    accepted: int
    rejected: int

    @property
    def connections(self) -> int:
        """
        How many are open.
        """


class Cache(Protocol):
    """
    What a cache of segments counts.
    """

    size: int
    hits: int
    misses: int


class Followed(Protocol):
    """
    What there is of partitions that other brokers lead.
    """

    size: int
    fetched: int

    def __len__(self) -> int:
        """
        How many there are.
        """


class Log(Protocol):
    """
    What the log counts.
    """

    counts: LogCounts

    def state(self) -> LogState:
        """
        How it is now.
        """


def of_requests(dispatch: Requests) -> Iterator[Family]:
    """
    Requests of the APIs that were asked for since the start.
    """
    asked = [each for each in dispatch.counts.values() if each.received]
    yield _counter(
        catalogue.REQUESTS,
        [
            ((each.name, _error_name(code)), count)
            for each in asked
            for code, count in each.answers.items()
        ],
    )
    yield _histogram(catalogue.REQUEST_SECONDS, [((each.name,), each.seconds) for each in asked])
    yield _counter(catalogue.REQUEST_BYTES, [((each.name,), each.received) for each in asked])
    yield _counter(catalogue.RESPONSE_BYTES, [((each.name,), each.sent) for each in asked])
    yield _counter(catalogue.REFUSED, dispatch.refused)


def of_conversions(counts: ConversionCounts) -> Iterator[Family]:
    """
    What is converted for old clients.
    """
    yield _counter(
        catalogue.CONVERTED, [(("Produce",), counts.produced), (("Fetch",), counts.fetched)]
    )


def of_connections(factory: Connections) -> Iterator[Family]:
    """
    Clients' connections.
    """
    yield _gauge(catalogue.CONNECTIONS, factory.connections)
    yield _counter(catalogue.ACCEPTED, factory.accepted)
    yield _counter(catalogue.REJECTED, factory.rejected)


def of_log(log: Log, names: Callable[[], Mapping[UUID, str]]) -> Iterator[Family]:
    """
    The journal, the segments, and the records by topic.

    @param names: The names of topics; what is counted of others is left out.
    """
    counts, state = log.counts, log.state()
    yield _gauge(catalogue.PARTITIONS, state.partitions)
    known = names()
    topics = sorted(
        (known[topic_id], each)
        for topic_id, each in counts.topics.items()
        if topic_id in known and (each.bytes_in or each.bytes_out)
    )
    yield _counter(catalogue.TOPIC_BYTES_IN, [((name,), each.bytes_in) for name, each in topics])
    yield _counter(
        catalogue.TOPIC_RECORDS_IN, [((name,), each.records_in) for name, each in topics]
    )
    yield _counter(catalogue.TOPIC_BYTES_OUT, [((name,), each.bytes_out) for name, each in topics])
    yield _counter(catalogue.SLOTS, counts.slots)
    yield _counter(catalogue.SLOT_BYTES, counts.slot_bytes)
    yield _histogram(catalogue.FLUSH_SECONDS, [((), counts.flush_seconds)])
    yield _gauge(catalogue.SLOTS_STANDING, state.journal_slots)
    yield _gauge(catalogue.SLOTS_UNDER_WAY, state.slots_under_way)
    yield _gauge(catalogue.UNSETTLED_BYTES, state.unsettled_bytes)
    yield _gauge(catalogue.UNROLLED_BYTES, state.unrolled_bytes)
    yield _counter(catalogue.SEGMENTS, counts.segments)
    yield _counter(catalogue.SEGMENT_BYTES, counts.segment_bytes)
    yield _counter(catalogue.ORPHANS, counts.orphans)


def of_groups(
    coordinator: IGroupCoordinator, log: ILog, names: Callable[[], Mapping[UUID, str]]
) -> Iterator[Family]:
    """
    Groups, and how far they are behind. While they are being loaded there are
    none.

    @param names: The names of topics; what was read of others is left out.
    """
    known = names()
    states = {state.value: 0 for state in GroupState}
    lags: dict[tuple[str, str], list[int]] = {}
    with suppress(KafkaError):
        for group in coordinator.groups():
            states[group.state] += 1
            for (topic_id, index), committed in coordinator.committed_offsets(group.name).items():
                topic = known.get(topic_id)
                if topic is None:
                    continue
                try:
                    end = log.partition(topic_id, index).high_watermark
                except NotLeaderOrFollower:
                    continue
                lags.setdefault((group.name, topic), []).append(max(0, end - committed.offset))
    yield _gauge(catalogue.GROUPS, [((state,), count) for state, count in states.items()])
    yield _gauge(catalogue.LAG, [(place, sum(each)) for place, each in lags.items()])
    yield _gauge(catalogue.LAG_MAX, [(place, max(each)) for place, each in lags.items()])


def of_cache(cache: Cache) -> Iterator[Family]:
    """
    The cache of segments in memory.
    """
    yield _counter(catalogue.CACHE_HITS, cache.hits)
    yield _counter(catalogue.CACHE_MISSES, cache.misses)
    yield _gauge(catalogue.CACHE_BYTES, cache.size)


def of_disk_cache(cache: Cache) -> Iterator[Family]:
    """
    The one on disk.
    """
    yield _counter(catalogue.DISK_CACHE_HITS, cache.hits)
    yield _counter(catalogue.DISK_CACHE_MISSES, cache.misses)
    yield _gauge(catalogue.DISK_CACHE_BYTES, cache.size)


def of_following(following: Followed) -> Iterator[Family]:
    """
    Partitions that are read here, and led elsewhere.
    """
    yield _gauge(catalogue.FOLLOWED, len(following))
    yield _gauge(catalogue.FOLLOWED_BYTES, following.size)
    yield _counter(catalogue.FETCHED_BYTES, following.fetched)


def of_stores(stores: Sequence[StoreCounts]) -> Iterator[Family]:
    """
    What the stores were asked for.
    """
    asked = [
        ((store.name, name), each)
        for store in stores
        for name, each in store.operations.items()
        if each.done
    ]
    yield _counter(catalogue.STORE_OPERATIONS, [(labels, each.done) for labels, each in asked])
    yield _counter(catalogue.STORE_ERRORS, [(labels, each.errors) for labels, each in asked])
    yield _histogram(catalogue.STORE_SECONDS, [(labels, each.seconds) for labels, each in asked])
    yield _counter(
        catalogue.STORE_BYTES, [(labels, each.size) for labels, each in asked if each.size]
    )


def of_s3(requests: Mapping[str, int]) -> Iterator[Family]:
    """
    What S3 was asked for.
    """
    yield _counter(
        catalogue.S3_REQUESTS, [((operation,), count) for operation, count in requests.items()]
    )


def of_build(version: str, python: str) -> Iterator[Family]:
    """
    What runs.
    """
    yield _gauge(catalogue.BUILD, [((version, python), 1)])


def _error_name(code: int) -> str:
    if code == 0:
        return "NONE"
    error = BY_CODE.get(code)
    return str(code) if error is None else error.name


_Values: TypeAlias = float | Sequence[tuple[Sequence[str], float]]
"""One value, or one for each set of labels."""


def _each(values: _Values) -> Sequence[tuple[Sequence[str], float]]:
    return [((), values)] if isinstance(values, int | float) else values


def _counter(metric: Metric, values: _Values) -> Family:
    family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in _each(values):
        family.add_metric(labels, value)
    return family


def _gauge(metric: Metric, values: _Values) -> Family:
    family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in _each(values):
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, values: Sequence[tuple[Sequence[str], Histogram]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, each in values:
        family.add_metric(
            labels,
            [
                (bound, float(count))
                for bound, count in zip(_BOUNDS, accumulate(each.counts), strict=True)
            ],
            each.total,
        )
    return family
