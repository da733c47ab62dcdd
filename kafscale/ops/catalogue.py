"""
Every metric once: its name, its kind, its labels and what it means.

The help text of the exposition and the table in docs/operations.md are made
from these; `kafscale.ops.readings` has where their values come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen
class Metric:
    """
    One metric, as its reader meets it.

    @ivar name: In full, as in the exposition.
    @ivar kind: ``counter``, ``gauge`` or ``histogram``.
    @ivar meaning: In plain words, with its unit; may hold Markdown.
    """

    name: str
    kind: str
    labels: Sequence[str]
    meaning: str


_all: list[Metric] = []


def _metric(name: str, kind: str, labels: str, meaning: str) -> Metric:
    made = Metric(name, kind, tuple(labels.split()), meaning)
    _all.append(made)
    return made


REQUESTS = _metric(
    "kafscale_requests_total", "counter", "api error",
    "Requests answered, by API and by the first error in the answer, under Kafka's names; `NONE`"
    " if there is no error. A produce with acks=0 counts when it is done.",
)  # fmt: skip
REQUEST_SECONDS = _metric(
    "kafscale_request_duration_seconds", "histogram", "api",
    "From a request's turn to its answer; a Fetch, JoinGroup or SyncGroup that waits includes its"
    " wait.",
)  # fmt: skip
REQUEST_BYTES = _metric(
    "kafscale_request_bytes_total", "counter", "api", "Bytes of requests received."
)
RESPONSE_BYTES = _metric(
    "kafscale_response_bytes_total", "counter", "api", "Bytes of answers made."
)
REFUSED = _metric(
    "kafscale_requests_refused_total", "counter", "",
    "Requests whose only answer was a closed connection: malformed, not served, or failed with"
    " acks=0.",
)  # fmt: skip
CONVERTED = _metric(
    "kafscale_converted_records_total", "counter", "api",
    "Records converted for clients from before Kafka 0.11, which costs much CPU: by `Produce`"
    " before version 3, and by `Fetch` before version 4.",
)  # fmt: skip
CONNECTIONS = _metric("kafscale_connections", "gauge", "", "Client connections open.")
ACCEPTED = _metric(
    "kafscale_connections_accepted_total", "counter", "", "Client connections made."
)
REJECTED = _metric(
    "kafscale_connections_rejected_total", "counter", "",
    "Client connections closed at once, because there were `KAFSCALE_MAX_CONNECTIONS`.",
)  # fmt: skip
PARTITIONS = _metric(
    "kafscale_partitions_led", "gauge", "", "Partitions that this broker leads."
)
TOPIC_BYTES_IN = _metric(
    "kafscale_topic_bytes_in_total", "counter", "topic",
    "Bytes of record batches appended, as they are stored. Topics without traffic since the start"
    " are left out.",
)  # fmt: skip
TOPIC_RECORDS_IN = _metric(
    "kafscale_topic_records_in_total", "counter", "topic", "Records appended."
)
TOPIC_BYTES_OUT = _metric(
    "kafscale_topic_bytes_out_total", "counter", "topic",
    "Bytes of record batches read for consumers.",
)  # fmt: skip
SLOTS = _metric(
    "kafscale_journal_slots_flushed_total", "counter", "", "Slots of the journal made durable."
)
SLOT_BYTES = _metric("kafscale_journal_bytes_total", "counter", "", "Their bytes.")
FLUSH_SECONDS = _metric(
    "kafscale_journal_flush_duration_seconds", "histogram", "",
    "From sending a slot to its being durable, repeated attempts included.",
)  # fmt: skip
SLOTS_STANDING = _metric(
    "kafscale_journal_slots", "gauge", "",
    "Slots that stand: a start after a crash reads them. `KAFSCALE_JOURNAL_SLOTS` bounds them.",
)  # fmt: skip
SLOTS_UNDER_WAY = _metric(
    "kafscale_journal_slots_in_flight", "gauge", "", "Slots on their way to the object store."
)
UNSETTLED_BYTES = _metric(
    "kafscale_journal_unsettled_bytes", "gauge", "", "Bytes appended and not yet durable."
)
UNROLLED_BYTES = _metric(
    "kafscale_unrolled_bytes", "gauge", "",
    "Bytes of records in memory that no segment has yet; `KAFSCALE_UNROLLED_BYTES` bounds them.",
)  # fmt: skip
SEGMENTS = _metric("kafscale_segments_rolled_total", "counter", "", "Segments made.")
SEGMENT_BYTES = _metric("kafscale_segment_bytes_total", "counter", "", "Their bytes.")
ORPHANS = _metric(
    "kafscale_orphans_deleted_total", "counter", "",
    "Objects deleted that were left over of operations that failed or came late.",
)  # fmt: skip
CACHE_HITS = _metric(
    "kafscale_cache_hits_total", "counter", "",
    "Runs of segments that readers asked for and that were in memory.",
)  # fmt: skip
CACHE_MISSES = _metric(
    "kafscale_cache_misses_total", "counter", "", "Those that had to be waited for."
)
CACHE_BYTES = _metric(
    "kafscale_cache_bytes", "gauge", "",
    "Bytes of segments in memory; `KAFSCALE_CACHE_BYTES` bounds them.",
)  # fmt: skip
DISK_CACHE_HITS = _metric(
    "kafscale_disk_cache_hits_total", "counter", "",
    "Runs that were not in memory and were in `KAFSCALE_DISK_CACHE_DIR`.",
)  # fmt: skip
DISK_CACHE_MISSES = _metric(
    "kafscale_disk_cache_misses_total", "counter", "", "Those that the bucket was asked for."
)
DISK_CACHE_BYTES = _metric(
    "kafscale_disk_cache_bytes", "gauge", "",
    "Bytes in that directory; `KAFSCALE_DISK_CACHE_BYTES` bounds them.",
)  # fmt: skip
FOLLOWED = _metric(
    "kafscale_partitions_followed", "gauge", "",
    "Partitions of leaders in other racks that clients of this one's read here.",
)  # fmt: skip
FOLLOWED_BYTES = _metric(
    "kafscale_followed_bytes", "gauge", "",
    "Bytes of their records in memory; at most 64 MiB, and an answer of each leader.",
)  # fmt: skip
FETCHED_BYTES = _metric(
    "kafscale_fetched_bytes_total", "counter", "",
    "Bytes of their records that came from their leaders, not from the object store.",
)  # fmt: skip
GROUPS = _metric(
    "kafscale_groups", "gauge", "state",
    "Groups that this broker coordinates, by state: `Empty`, `PreparingRebalance`,"
    " `CompletingRebalance`, `Stable`, `Dead`.",
)  # fmt: skip
LAG = _metric(
    "kafscale_consumer_lag_records", "gauge", "group topic",
    "How many offsets a group's commits are behind the high watermarks, all partitions of a topic"
    " together. Partitions without a commit, or led by another broker, are left out.",
)  # fmt: skip
LAG_MAX = _metric(
    "kafscale_consumer_lag_max_records", "gauge", "group topic",
    "The same of the partition that is farthest behind.",
)  # fmt: skip
STORE_OPERATIONS = _metric(
    "kafscale_store_operations_total", "counter", "store operation",
    "Operations of the `objects` or `metadata` store that came to an end, each attempt by itself.",
)  # fmt: skip
STORE_ERRORS = _metric(
    "kafscale_store_errors_total", "counter", "store operation",
    "Those that the store did not answer: it was away, full or broken. (That an object exists or"
    " is missing, or that a commit lost a race, is an answer.)",
)  # fmt: skip
STORE_SECONDS = _metric(
    "kafscale_store_operation_duration_seconds", "histogram", "store operation",
    "How long each took.",
)  # fmt: skip
STORE_BYTES = _metric(
    "kafscale_store_bytes_total", "counter", "store operation",
    "Bytes of objects written (`create`) and read (`get`, `get_suffix`).",
)  # fmt: skip
S3_REQUESTS = _metric(
    "kafscale_s3_requests_total", "counter", "operation",
    "Requests sent to S3, under S3's names, as its bill counts them: large objects take several,"
    " and what failed was sent, too.",
)  # fmt: skip
BUILD = _metric(
    "kafscale_build_info", "gauge", "version python", "Always 1; the labels say what runs."
)

PROCESS: Sequence[Metric] = [
    _metric(
        "process_cpu_seconds_total", "counter", "", "CPU time of the process, all threads."
    ),
    _metric("process_resident_memory_bytes", "gauge", "", "Memory that it has (RSS)."),
    _metric("process_virtual_memory_bytes", "gauge", "", "Its address space."),
    _metric("process_open_fds", "gauge", "", "Its open files, connections among them."),
    _metric("process_max_fds", "gauge", "", "How many it may have."),
    _metric(
        "process_start_time_seconds", "gauge", "", "When it was started, in seconds since 1970."
    ),
]
"""Made by prometheus-client, on systems that have ``/proc``."""

METRICS: Sequence[Metric] = tuple(_all)
"""All metrics, in the order in which they are declared."""


def table() -> str:
    """
    The metrics as the Markdown table of docs/operations.md.
    """
    lines = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for each in METRICS:
        labels = ", ".join(f"`{label}`" for label in each.labels) or "-"
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.meaning} |")
    return "\n".join(lines) + "\n"
