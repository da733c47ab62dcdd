"""
Reads the counters of the other rooms and turns them into families of metrics.

Each function reads one room's counters when /metrics is requested. No work is
done between requests.
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
    DenialCounts,
    Histogram,
    LogCounts,
    LoginCounts,
    LogState,
    QuotaCounts,
    StoreCounts,
    TurnCounts,
)
from kafscale.errors import BY_CODE, KafkaError, NotLeaderOrFollower
from kafscale.interfaces import GroupState, IGroupCoordinator, ILog
from kafscale.ops import metrics
from kafscale.ops.metrics import Metric

Reading: TypeAlias = Callable[[], Iterable[Family]]
"""Returns the families of one room, with their present values."""

_BOUNDS = [*(str(bound) for bound in SECONDS), "+Inf"]


class Requests(Protocol):
    """
    The net room's counters of requests.
    """

    counts: dict[int, ApiCounts]
    refused: int


class Connections(Protocol):
    """
    The net room's counters of connections.
    """

    accepted: int
    rejected: int

    @property
    def connections(self) -> int:
        """
        The number of open connections.
        """


class Cache(Protocol):
    """
    The counters of a cache of segment blocks.

    @ivar size: In bytes.
    """

    size: int
    hits: int
    misses: int


class Replicas(Protocol):
    """
    The read replicas of partitions that other brokers lead (KIP-392).

    @ivar size: Bytes of their records in memory.
    @ivar fetched: Bytes fetched from leaders.
    """

    size: int
    fetched: int

    def __len__(self) -> int:
        """
        The number of replicas.
        """


class ClusterRecords(Protocol):
    """
    Small records of the cluster, such as ACLs.
    """

    def behind(self) -> float:
        """
        For how many seconds the metadata store has not been heard of; 0 while it is
        connected.
        """


class IssuerKeys(Protocol):
    """
    The keys of an issuer of tokens.

    @ivar failures: How often they could not be read.
    @ivar read_at: When they were last read, in seconds since 1970; None: not yet.
    """

    failures: int
    read_at: float | None


class Log(Protocol):
    """
    The log's counters.
    """

    counts: LogCounts

    def state(self) -> LogState:
        """
        The log's present state.
        """


def of_requests(dispatch: Requests) -> Iterator[Family]:
    """
    Requests, by API. APIs without requests since the start are left out.
    """
    asked = [each for each in dispatch.counts.values() if each.received]
    yield _counter(
        metrics.REQUESTS,
        [
            ((each.name, _error_name(code)), count)
            for each in asked
            for code, count in each.answers.items()
        ],
    )
    yield _histogram(metrics.REQUEST_SECONDS, [((each.name,), each.seconds) for each in asked])
    yield _counter(metrics.REQUEST_BYTES, [((each.name,), each.received) for each in asked])
    yield _counter(metrics.RESPONSE_BYTES, [((each.name,), each.sent) for each in asked])
    yield _counter(metrics.REFUSED, dispatch.refused)


def of_conversions(counts: ConversionCounts) -> Iterator[Family]:
    """
    Records converted for old clients.
    """
    yield _counter(
        metrics.CONVERTED, [(("Produce",), counts.produced), (("Fetch",), counts.fetched)]
    )


def of_connections(factory: Connections) -> Iterator[Family]:
    """
    Client connections.
    """
    yield _gauge(metrics.CONNECTIONS, factory.connections)
    yield _counter(metrics.ACCEPTED, factory.accepted)
    yield _counter(metrics.REJECTED, factory.rejected)


def of_certificates(expiries: Callable[[], Sequence[tuple[str, float]]]) -> Iterator[Family]:
    """
    The certificates of listeners.

    @param expiries: Returns names of listeners, with the time in seconds since 1970.
    """
    yield _gauge(metrics.CERTIFICATE_EXPIRES, [((name,), when) for name, when in expiries()])


def of_logins(counts: LoginCounts) -> Iterator[Family]:
    """
    Logins by SASL, of all listeners.
    """
    yield _counter(
        metrics.LOGINS,
        [
            ((mechanism, result), count)
            for result, counted in (("success", counts.succeeded), ("failure", counts.failed))
            for mechanism, count in counted.items()
        ],
    )
    yield _counter(metrics.RENEWED, counts.renewed)
    yield _counter(metrics.EXPIRED, counts.expired)


def of_issuer_keys(keys: IssuerKeys, now: Callable[[], float]) -> Iterator[Family]:
    """
    The keys of the issuer of tokens.

    @param now: The time, in seconds since 1970.
    """
    yield _counter(metrics.ISSUER_KEYS_FAILURES, keys.failures)
    read_at = keys.read_at
    age = [] if read_at is None else [((), max(0.0, now() - read_at))]
    yield _gauge(metrics.ISSUER_KEYS_AGE, age)


def of_denials(counts: DenialCounts) -> Iterator[Family]:
    """
    What the authorizer has denied.
    """
    yield _counter(metrics.DENIED, list(counts.denied.items()))


def of_quotas(counts: QuotaCounts) -> Iterator[Family]:
    """
    Quotas of clients.
    """
    yield _counter(
        metrics.QUOTA_EXCEEDED, [((key,), count) for key, count in counts.throttled.items()]
    )
    yield _gauge(metrics.QUOTA_ACCOUNTS, counts.accounts)


def of_log(log: Log, names: Callable[[], Mapping[UUID, str]]) -> Iterator[Family]:
    """
    The journal, the segments, and the records by topic.

    @param names: Returns the names of topics; others are left out.
    """
    counts, state = log.counts, log.state()
    yield _gauge(metrics.PARTITIONS, state.partitions)
    known = names()
    topics = sorted(
        (known[topic_id], each)
        for topic_id, each in counts.topics.items()
        if topic_id in known and (each.bytes_in or each.bytes_out)
    )
    yield _counter(metrics.TOPIC_BYTES_IN, [((name,), each.bytes_in) for name, each in topics])
    yield _counter(
        metrics.TOPIC_RECORDS_IN, [((name,), each.records_in) for name, each in topics]
    )
    yield _counter(metrics.TOPIC_BYTES_OUT, [((name,), each.bytes_out) for name, each in topics])
    yield _counter(metrics.SLOTS, counts.slots)
    yield _counter(metrics.SLOT_BYTES, counts.slot_bytes)
    yield _histogram(metrics.FLUSH_SECONDS, [((), counts.flush_seconds)])
    yield _gauge(metrics.SLOTS_STANDING, state.journal_slots)
    yield _gauge(metrics.SLOTS_UNDER_WAY, state.slots_under_way)
    yield _gauge(metrics.UNSETTLED_BYTES, state.unsettled_bytes)
    yield _gauge(metrics.UNROLLED_BYTES, state.unrolled_bytes)
    yield _counter(metrics.SEGMENTS, counts.segments)
    yield _counter(metrics.SEGMENT_BYTES, counts.segment_bytes)
    yield _counter(metrics.ORPHANS, counts.orphans)


def of_groups(
    coordinator: IGroupCoordinator, log: ILog, names: Callable[[], Mapping[UUID, str]]
) -> Iterator[Family]:
    """
    Groups and their lag. While groups are being loaded there are none.

    @param names: Returns the names of topics; others are left out.
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
    yield _gauge(metrics.GROUPS, [((state,), count) for state, count in states.items()])
    yield _gauge(metrics.LAG, [(place, sum(each)) for place, each in lags.items()])
    yield _gauge(metrics.LAG_MAX, [(place, max(each)) for place, each in lags.items()])


def of_cache(cache: Cache) -> Iterator[Family]:
    """
    The cache of segment blocks in memory.
    """
    yield _counter(metrics.CACHE_HITS, cache.hits)
    yield _counter(metrics.CACHE_MISSES, cache.misses)
    yield _gauge(metrics.CACHE_BYTES, cache.size)


def of_disk_cache(cache: Cache) -> Iterator[Family]:
    """
    The cache of segment blocks on disk.
    """
    yield _counter(metrics.DISK_CACHE_HITS, cache.hits)
    yield _counter(metrics.DISK_CACHE_MISSES, cache.misses)
    yield _gauge(metrics.DISK_CACHE_BYTES, cache.size)


def of_replicas(replicas: Replicas) -> Iterator[Family]:
    """
    Read replicas of partitions that other brokers lead.
    """
    yield _gauge(metrics.REPLICAS, len(replicas))
    yield _gauge(metrics.REPLICA_BYTES, replicas.size)
    yield _counter(metrics.FETCHED_BYTES, replicas.fetched)


def of_records(records: Iterable[ClusterRecords]) -> Iterator[Family]:
    """
    How old the small records of the cluster may be.
    """
    yield _gauge(
        metrics.RECORDS_BEHIND, max((each.behind() for each in records), default=0.0)
    )


def of_stores(stores: Sequence[StoreCounts]) -> Iterator[Family]:
    """
    Operations of the stores.
    """
    asked = [
        ((store.name, name), each)
        for store in stores
        for name, each in store.operations.items()
        if each.done
    ]
    yield _counter(metrics.STORE_OPERATIONS, [(labels, each.done) for labels, each in asked])
    yield _counter(metrics.STORE_ERRORS, [(labels, each.errors) for labels, each in asked])
    yield _histogram(metrics.STORE_SECONDS, [(labels, each.seconds) for labels, each in asked])
    yield _counter(
        metrics.STORE_BYTES, [(labels, each.size) for labels, each in asked if each.size]
    )


def of_s3(requests: Mapping[str, int]) -> Iterator[Family]:
    """
    Requests to S3.
    """
    yield _counter(
        metrics.S3_REQUESTS, [((operation,), count) for operation, count in requests.items()]
    )


def of_build(version: str, python: str) -> Iterator[Family]:
    """
    The versions of Kafscale and Python.
    """
    yield _gauge(metrics.BUILD, [((version, python), 1)])


def of_turns(counts: TurnCounts) -> Iterator[Family]:
    """
    Turns of the reactor.
    """
    yield _gauge(metrics.LONGEST_TURN, counts.longest)
    yield _counter(metrics.LONG_TURNS, [((), counts.long)])


def of_walker(is_compiled: Callable[[], bool]) -> Iterator[Family]:
    """
    What walks over records.
    """
    yield _gauge(metrics.COMPILED, int(is_compiled()))


def _error_name(code: int) -> str:
    if code == 0:
        return "NONE"
    error = BY_CODE.get(code)
    return str(code) if error is None else error.name


_Values: TypeAlias = float | Sequence[tuple[Sequence[str], float]]
"""One value, or one for each combination of labels."""


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
