"""
Tests of the metrics: declarations, values and text format.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prometheus_client.core import CounterMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.counts import (
    ApiCounts,
    ConversionCounts,
    DenialCounts,
    LogCounts,
    LoginCounts,
    LogState,
    QuotaCounts,
    StoreCounts,
    TurnCounts,
)
from kafscale.errors import CoordinatorLoadInProgress
from kafscale.format.offset import CommittedOffset
from kafscale.interfaces import GroupDescription
from kafscale.ops import metric_values, metrics
from kafscale.ops.exposition import Metrics
from tests.log.fakes import FakeLog

ROOT = Path(__file__).parents[2]
TOPIC = UUID(int=1)


class FakeDispatch:
    """
    Counts of the net room: two APIs, one of which had requests.
    """

    def __init__(self) -> None:
        self.counts = {0: ApiCounts("Produce"), 1: ApiCounts("Fetch")}
        self.refused = 3
        self.counts[0].received = 100
        self.counts[0].answered(0, 0.002, 10)
        self.counts[0].answered(3, 40.0, 20)
        self.counts[0].answered(9999, 0.002, 0)


class FakeFactory:
    """
    Connections of the net room.
    """

    accepted = 5
    rejected = 1
    connections = 2


class FakeKeys:
    """
    The keys of an issuer of tokens, which were read when the clock was at 100.
    """

    failures = 2
    read_at: float | None = 100.0


class FakeRecords:
    """
    Small records of the cluster.
    """

    def __init__(self, behind: float) -> None:
        self._behind = behind

    def behind(self) -> float:
        """
        For how many seconds changes may be missing.
        """
        return self._behind


class FakeReplicas:
    """
    Three read replicas.
    """

    size = 11
    fetched = 12

    def __len__(self) -> int:
        return 3


class FakeCache:
    """
    A cache of the log room.
    """

    size = 1000
    hits = 7
    misses = 2


class FakeCoordinator:
    """
    Two groups, of which one has commits for a topic with three partitions.
    """

    def __init__(self) -> None:
        self.loading = False
        self.commits = {
            (TOPIC, 0): CommittedOffset(60),
            (TOPIC, 1): CommittedOffset(195),
            (TOPIC, 2): CommittedOffset(7),
            (UUID(int=9), 0): CommittedOffset(7),
        }

    def groups(self) -> list[GroupDescription]:
        """
        See L{IGroupCoordinator.groups}.
        """
        if self.loading:
            raise CoordinatorLoadInProgress
        return [
            GroupDescription("billing", "Stable", "consumer", "range", ()),
            GroupDescription("idle", "Empty", "", "", ()),
        ]

    def committed_offsets(self, group: str) -> dict[tuple[UUID, int], CommittedOffset]:
        """
        See L{IGroupCoordinator.committed_offsets}.
        """
        return self.commits if group == "billing" else {}


class MeasuredLog(FakeLog):
    """
    A log with counts, and partitions with 100 and 200 records; another broker
    leads the third.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere.add((TOPIC, 2))
        for index in (0, 1):
            self.partition(TOPIC, index).high_watermark = (index + 1) * 100
        self.counts = LogCounts(slots=4, slot_bytes=400, segments=2, segment_bytes=300)
        self.counts.flush_seconds.add(0.004)

    def state(self) -> LogState:
        """
        See L{Log.state}.
        """
        return LogState(
            partitions=9,
            unrolled_bytes=500,
            unsettled_bytes=50,
            journal_slots=3,
            slots_under_way=1,
        )


class MetricsTestCase(SynchronousTestCase):
    """
    The metrics of a broker with some of every count.
    """

    def setUp(self) -> None:
        """
        The readings, as in kafscale.tap.
        """
        self.clock = Clock()
        self.metrics = Metrics(self.clock)
        self.log = MeasuredLog()
        self.coordinator = FakeCoordinator()
        topic = self.log.counts.topic(TOPIC)
        topic.bytes_in, topic.records_in, topic.bytes_out = 70, 7, 140
        self.store = StoreCounts("objects")
        create = self.store.operation("create")
        create.done, create.errors, create.size = 6, 2, 600
        create.seconds.add(0.02)
        self.store.operation("list").under_way[object()] = 0.0
        self.names = {TOPIC: "orders"}
        logins = LoginCounts()
        logins.offer(["PLAIN"])
        logins.succeed("PLAIN")
        logins.fail("PLAIN")
        logins.fail("")
        logins.renewed, logins.expired = 5, 6
        denials = DenialCounts()
        denials.deny("READ", "TOPIC")
        self.keys = FakeKeys()
        for reading in (
            partial(metric_values.of_requests, FakeDispatch()),
            partial(metric_values.of_connections, FakeFactory()),
            partial(metric_values.of_certificates, lambda: [("SSL", 1.8e9)]),
            partial(metric_values.of_logins, logins),
            partial(metric_values.of_issuer_keys, self.keys, lambda: 160.5),
            partial(metric_values.of_denials, denials),
            partial(metric_values.of_conversions, ConversionCounts(produced=5)),
            partial(
                metric_values.of_quotas,
                QuotaCounts(throttled={"producer_byte_rate": 3}, accounts=4),
            ),
            partial(metric_values.of_log, self.log, lambda: self.names),
            partial(
                metric_values.of_groups,
                cast(Any, self.coordinator),
                cast(Any, self.log),
                lambda: self.names,
            ),
            partial(metric_values.of_cache, FakeCache()),
            partial(metric_values.of_records, [FakeRecords(0.0), FakeRecords(2.5)]),
            partial(metric_values.of_replicas, FakeReplicas()),
            partial(metric_values.of_disk_cache, FakeCache()),
            partial(metric_values.of_stores, [self.store]),
            partial(metric_values.of_s3, {"PutObject": 7, "UploadPart": 2}),
            partial(metric_values.of_build, "1.2.3", "3.11.0"),
            partial(metric_values.of_walker, lambda: True),
            partial(metric_values.of_turns, TurnCounts(0.25, 3)),
        ):
            self.metrics.add(reading)

    def text(self) -> str:
        """
        The metrics in Prometheus' text format.
        """
        telling = Deferred.fromCoroutine(self.metrics.text())
        while not telling.called:
            self.clock.advance(0)
        return self.successResultOf(telling).decode()

    def value(self, name: str, **labels: str) -> float | None:
        """
        A sample's value, read by Prometheus' own parser.
        """
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None


class ReadingsTests(MetricsTestCase):
    """
    From counts to samples.
    """

    def test_certificates(self) -> None:
        """
        When the certificate of each listener expires.
        """
        name = "kafscale_certificate_expires_timestamp_seconds"
        self.assertEqual(self.value(name, listener="SSL"), 1.8e9)

    def test_logins(self) -> None:
        """
        Logins by mechanism and result, sessions that were renewed or ended, and what was
        denied.
        """
        for mechanism, result, count in (
            ("PLAIN", "success", 1),
            ("PLAIN", "failure", 1),
            ("NONE", "failure", 1),
            ("NONE", "success", None),
        ):
            found = self.value("kafscale_logins_total", mechanism=mechanism, result=result)
            self.assertEqual(found, count)
        self.assertEqual(self.value("kafscale_sessions_renewed_total"), 5)
        self.assertEqual(self.value("kafscale_sessions_expired_total"), 6)
        denied = self.value("kafscale_denied_total", operation="READ", resource="TOPIC")
        self.assertEqual(denied, 1)

    def test_issuer_keys(self) -> None:
        """
        How old the keys are, if there are any, and how often they could not be read.
        """
        self.assertEqual(self.value("kafscale_issuer_keys_failures_total"), 2)
        self.assertEqual(self.value("kafscale_issuer_keys_age_seconds"), 60.5)
        self.keys.read_at = None
        self.assertIsNone(self.value("kafscale_issuer_keys_age_seconds"))

    def test_quotas(self) -> None:
        """
        Excesses by quota, and accounts.
        """
        exceeded = "kafscale_quota_exceeded_total"
        self.assertEqual(self.value(exceeded, quota="producer_byte_rate"), 3)
        self.assertEqual(self.value("kafscale_quota_accounts"), 4)

    def test_requests(self) -> None:
        """
        Requests by API and name of the error; APIs without requests are left
        out.
        """
        name = "kafscale_requests_total"
        self.assertEqual(self.value(name, api="Produce", error="NONE"), 1)
        self.assertEqual(self.value(name, api="Produce", error="UNKNOWN_TOPIC_OR_PARTITION"), 1)
        self.assertEqual(self.value(name, api="Produce", error="9999"), 1)
        self.assertEqual(self.value("kafscale_request_bytes_total", api="Produce"), 100)
        self.assertEqual(self.value("kafscale_response_bytes_total", api="Produce"), 30)
        self.assertIsNone(self.value("kafscale_request_bytes_total", api="Fetch"))
        self.assertEqual(self.value("kafscale_requests_refused_total"), 3)

    def test_walker(self) -> None:
        """
        Which walker is in use.
        """
        self.assertEqual(self.value("kafscale_compiled_walker"), 1)

    def test_turns(self) -> None:
        """
        The turns of the reactor.
        """
        self.assertEqual(self.value("kafscale_reactor_longest_turn_seconds"), 0.25)
        self.assertEqual(self.value("kafscale_reactor_long_turns_total"), 3)

    def test_histogram(self) -> None:
        """
        A bucket counts all durations up to its bound.
        """
        name = "kafscale_request_duration_seconds"
        for bound, count in (("0.001", 0), ("0.0025", 2), ("30.0", 2), ("+Inf", 3)):
            self.assertEqual(self.value(f"{name}_bucket", api="Produce", le=bound), count)
        self.assertEqual(self.value(f"{name}_count", api="Produce"), 3)
        self.assertAlmostEqual(self.value(f"{name}_sum", api="Produce") or 0.0, 40.004)
        self.assertEqual(self.value("kafscale_journal_flush_duration_seconds_count"), 1)

    def test_topics(self) -> None:
        """
        Traffic by topic name. Deleted topics, and those without traffic, are
        left out.
        """
        self.log.counts.topic(UUID(int=2)).bytes_in = 1
        self.log.counts.topic(UUID(int=3))
        self.names[UUID(int=3)] = "quiet"
        self.assertEqual(self.value("kafscale_topic_bytes_in_total", topic="orders"), 70)
        self.assertEqual(self.value("kafscale_topic_records_in_total", topic="orders"), 7)
        self.assertEqual(self.value("kafscale_topic_bytes_out_total", topic="orders"), 140)
        self.assertEqual(self.text().count("kafscale_topic_bytes_in_total{"), 1)

    def test_gauges(self) -> None:
        """
        Gauges have the present values.
        """
        for name, value in {
            "kafscale_connections": 2,
            "kafscale_partitions_led": 9,
            "kafscale_unrolled_bytes": 500,
            "kafscale_journal_unsettled_bytes": 50,
            "kafscale_journal_slots": 3,
            "kafscale_journal_slots_in_flight": 1,
            "kafscale_cache_bytes": 1000,
        }.items():
            self.assertEqual(self.value(name), value, name)

    def test_groups(self) -> None:
        """
        Groups by state, including states without groups.
        """
        for state, count in (("Stable", 1), ("Empty", 1), ("Dead", 0), ("PreparingRebalance", 0)):
            self.assertEqual(self.value("kafscale_groups", state=state), count)
        self.coordinator.loading = True
        self.assertEqual(self.value("kafscale_groups", state="Stable"), 0)

    def test_lag(self) -> None:
        """
        Lag is from commits to high watermarks, for the partitions led here of
        existing topics. A commit beyond the high watermark, as after the
        restore of a backup, counts as no lag.
        """
        labels = {"group": "billing", "topic": "orders"}
        self.assertEqual(self.value("kafscale_consumer_lag_records", **labels), 45)
        self.assertEqual(self.value("kafscale_consumer_lag_max_records", **labels), 40)
        self.assertEqual(self.text().count("kafscale_consumer_lag_records{"), 1)
        self.coordinator.commits[TOPIC, 0] = CommittedOffset(101)
        self.assertEqual(self.value("kafscale_consumer_lag_records", **labels), 5)

    def test_stores(self) -> None:
        """
        Finished operations by store and operation.
        """
        labels = {"store": "objects", "operation": "create"}
        self.assertEqual(self.value("kafscale_store_operations_total", **labels), 6)
        self.assertEqual(self.value("kafscale_store_errors_total", **labels), 2)
        self.assertEqual(self.value("kafscale_store_bytes_total", **labels), 600)
        self.assertNotIn('operation="list"', self.text())

    def test_s3(self) -> None:
        """
        Requests by S3's names.
        """
        self.assertEqual(self.value("kafscale_s3_requests_total", operation="PutObject"), 7)
        self.assertEqual(self.value("kafscale_s3_requests_total", operation="UploadPart"), 2)

    def test_now(self) -> None:
        """
        Each text has the values of its time.
        """
        self.log.counts.slots = 5
        self.assertEqual(self.value("kafscale_journal_slots_flushed_total"), 5)

    def test_two_brokers(self) -> None:
        """
        Two brokers in one process have separate metrics.
        """
        other = Metrics(self.clock)
        names = [family.name for family in other.families()]
        self.assertEqual([name for name in names if name.startswith("kafscale")], [])

    def test_other_work(self) -> None:
        """
        Other work gets a turn between two metrics, and yet all values are of
        one moment.
        """

        def many() -> list[Family]:
            return [
                CounterMetricFamily(f"kafscale_{number}", "x", value=self.log.counts.slots)
                for number in range(3)
            ]

        self.metrics.add(many)
        telling = Deferred.fromCoroutine(self.metrics.text())
        self.assertNoResult(telling)
        self.log.counts.slots = 1000
        while not telling.called:
            self.clock.advance(0)
        self.assertIn("kafscale_2_total 4.0", self.successResultOf(telling).decode())


class CatalogueTests(MetricsTestCase):
    """
    The declarations and the documentation.
    """

    def test_all_are_there(self) -> None:
        """
        A broker has exactly the declared metrics, with their types and
        labels.
        """
        declared = {
            each.name: (each.kind, each.meaning, set(each.labels)) for each in metrics.METRICS
        }
        process = {each.name for each in metrics.PROCESS}
        found = {}
        for family in self.metrics.families():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            # prometheus-client describes its own metrics in other words.
            meaning = declared[name][1] if name in process else family.documentation
            found[name] = (family.type, meaning, labels)
        self.assertEqual(found, declared)

    def test_documented(self) -> None:
        """
        The table in docs/operations.md is made from the declarations:
        C{python -c "from kafscale.ops import metrics; print(metrics.table())"}.
        """
        text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
        self.assertIn("\n\n" + metrics.table() + "\n", text)
        named = set(re.findall(r"\b(?:kafscale|process)_[a-z0-9_]+", text))
        self.assertEqual(named - {each.name for each in metrics.METRICS}, set())
