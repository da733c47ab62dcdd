"""
The declaration of every metric: name, type, labels and meaning.

The help in Prometheus' text format and the table in docs/operations.md follow
from these. The values come from `kafscale.ops.metric_values`.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen
class Metric:
    """
    One metric, as its readers see it.

    @ivar name: The full name, as in Prometheus' text format.
    @ivar kind: ``counter``, ``gauge`` or ``histogram``.
    @ivar labels: The names of its labels.
    @ivar meaning: A description with the unit, which can be read without its
        neighbours; may contain Markdown.
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
    "Requests answered, by Kafka's names of the API and of the first error in the response; `NONE`"
    " if there is no error. A produce request with acks=0 counts when it is finished.",
)  # fmt: skip
REQUEST_SECONDS = _metric(
    "kafscale_request_duration_seconds", "histogram", "api",
    "Time from the start of a request's processing to its response. The time that a Fetch,"
    " JoinGroup or SyncGroup request waits is included.",
)  # fmt: skip
REQUEST_BYTES = _metric(
    "kafscale_request_bytes_total", "counter", "api", "Bytes of requests received."
)
RESPONSE_BYTES = _metric(
    "kafscale_response_bytes_total", "counter", "api", "Bytes of responses made."
)
REFUSED = _metric(
    "kafscale_requests_refused_total", "counter", "",
    "Requests to which the broker responded by closing the connection: malformed requests, APIs or"
    " versions that are not supported, and failed produce requests with acks=0.",
)  # fmt: skip
CONVERTED = _metric(
    "kafscale_converted_records_total", "counter", "api",
    "Records converted for clients older than Kafka 0.11, in `Produce` requests before version 3"
    " and `Fetch` requests before version 4. Conversion needs much CPU time.",
)  # fmt: skip
CONNECTIONS = _metric("kafscale_connections", "gauge", "", "Open client connections.")
ACCEPTED = _metric(
    "kafscale_connections_accepted_total", "counter", "", "Client connections accepted."
)
CERTIFICATE_EXPIRES = _metric(
    "kafscale_certificate_expires_timestamp_seconds", "gauge", "listener",
    "When the TLS certificate of a listener expires, in seconds since 1970: the first of its chain"
    " to expire.",
)  # fmt: skip
REJECTED = _metric(
    "kafscale_connections_rejected_total", "counter", "",
    "Client connections closed because a limit was reached (`KAFSCALE_MAX_CONNECTIONS`, also of a"
    " listener, or `KAFSCALE_MAX_CONNECTIONS_PER_IP`), or the quota of an address.",
)  # fmt: skip
LOGINS = _metric(
    "kafscale_logins_total", "counter", "mechanism result",
    "Logins of clients by SASL, by mechanism and result: `success` or `failure`. Failures include"
    " those of clients that authenticate again; `NONE`: before a mechanism was agreed on.",
)  # fmt: skip
RENEWED = _metric(
    "kafscale_sessions_renewed_total", "counter", "",
    "Sessions on which the client authenticated again, on the open connection (KIP-368).",
)  # fmt: skip
EXPIRED = _metric(
    "kafscale_sessions_expired_total", "counter", "",
    "Connections closed because their client sent requests after the end of its session, without"
    " authenticating again.",
)  # fmt: skip
ISSUER_KEYS_FAILURES = _metric(
    "kafscale_issuer_keys_failures_total", "counter", "",
    "Attempts to read the keys of the issuer of tokens"
    " (`KAFSCALE_SASL_OAUTHBEARER_JWKS_ENDPOINT_URL`) that failed.",
)  # fmt: skip
ISSUER_KEYS_AGE = _metric(
    "kafscale_issuer_keys_age_seconds", "gauge", "",
    "Seconds since the keys of the issuer of tokens were last read. Missing until they were read"
    " once: no token is accepted before.",
)  # fmt: skip
DENIED = _metric(
    "kafscale_denied_total", "counter", "operation resource",
    "Rights that clients lacked, by Kafka's names of the operation and of the type of the resource."
    " A request counts once for each resource.",
)  # fmt: skip
QUOTA_EXCEEDED = _metric(
    "kafscale_quota_exceeded_total", "counter", "quota",
    "How often a client had exceeded a quota and was slowed down, or refused, by the key of the"
    " quota.",
)  # fmt: skip
QUOTA_ACCOUNTS = _metric(
    "kafscale_quota_accounts", "gauge", "",
    "Users, client ids and addresses, with each quota, of which it is known what they used lately.",
)  # fmt: skip
PARTITIONS = _metric(
    "kafscale_partitions_led", "gauge", "", "Partitions that this broker leads."
)
TOPIC_BYTES_IN = _metric(
    "kafscale_topic_bytes_in_total", "counter", "topic",
    "Bytes of record batches appended, as they are stored. Topics without traffic since the start"
    " of the broker are left out.",
)  # fmt: skip
TOPIC_RECORDS_IN = _metric(
    "kafscale_topic_records_in_total", "counter", "topic", "Records appended."
)
TOPIC_BYTES_OUT = _metric(
    "kafscale_topic_bytes_out_total", "counter", "topic",
    "Bytes of record batches read for consumers.",
)  # fmt: skip
SLOTS = _metric(
    "kafscale_journal_slots_flushed_total", "counter", "",
    "Journal slots made durable; a slot is one object, written by one flush.",
)  # fmt: skip
SLOT_BYTES = _metric(
    "kafscale_journal_bytes_total", "counter", "",
    "Bytes of journal slots made durable.",
)  # fmt: skip
FLUSH_SECONDS = _metric(
    "kafscale_journal_flush_duration_seconds", "histogram", "",
    "Time from sending a journal slot until it is durable, including retries.",
)  # fmt: skip
SLOTS_STANDING = _metric(
    "kafscale_journal_slots", "gauge", "",
    "Journal slots that are not deleted yet and would be read by recovery after a crash; bounded by"
    " `KAFSCALE_JOURNAL_SLOTS`.",
)  # fmt: skip
SLOTS_UNDER_WAY = _metric(
    "kafscale_journal_slots_in_flight", "gauge", "",
    "Journal slots being written to the object store.",
)  # fmt: skip
UNSETTLED_BYTES = _metric(
    "kafscale_journal_unsettled_bytes", "gauge", "", "Bytes appended that are not durable yet."
)
UNROLLED_BYTES = _metric(
    "kafscale_unrolled_bytes", "gauge", "",
    "Bytes of records in memory that are not in a segment yet; bounded by"
    " `KAFSCALE_UNROLLED_BYTES`.",
)  # fmt: skip
SEGMENTS = _metric("kafscale_segments_rolled_total", "counter", "", "Segments written.")
SEGMENT_BYTES = _metric("kafscale_segment_bytes_total", "counter", "", "Bytes of segments written.")
ORPHANS = _metric(
    "kafscale_orphans_deleted_total", "counter", "",
    "Unreferenced objects deleted by garbage collection.",
)  # fmt: skip
CACHE_HITS = _metric(
    "kafscale_cache_hits_total", "counter", "",
    "Reads of segment blocks that were served from the cache in memory.",
)  # fmt: skip
CACHE_MISSES = _metric(
    "kafscale_cache_misses_total", "counter", "",
    "Reads of segment blocks that were not in the cache in memory.",
)  # fmt: skip
CACHE_BYTES = _metric(
    "kafscale_cache_bytes", "gauge", "",
    "Bytes of segment blocks cached in memory; bounded by `KAFSCALE_CACHE_BYTES`.",
)  # fmt: skip
DISK_CACHE_HITS = _metric(
    "kafscale_disk_cache_hits_total", "counter", "",
    "Reads of segment blocks that were served from `KAFSCALE_DISK_CACHE_DIR`.",
)  # fmt: skip
DISK_CACHE_MISSES = _metric(
    "kafscale_disk_cache_misses_total", "counter", "",
    "Reads of segment blocks that went to the bucket.",
)  # fmt: skip
DISK_CACHE_BYTES = _metric(
    "kafscale_disk_cache_bytes", "gauge", "",
    "Bytes in `KAFSCALE_DISK_CACHE_DIR`; bounded by `KAFSCALE_DISK_CACHE_BYTES`.",
)  # fmt: skip
REPLICAS = _metric(
    "kafscale_partitions_followed", "gauge", "",
    "Partitions led in other racks for which this broker is a read replica (KIP-392).",
)  # fmt: skip
REPLICA_BYTES = _metric(
    "kafscale_followed_bytes", "gauge", "",
    "Bytes of records of read replicas in memory; at most 64 MiB and one response of each leader.",
)  # fmt: skip
FETCHED_BYTES = _metric(
    "kafscale_fetched_bytes_total", "counter", "",
    "Bytes of records of read replicas fetched from leaders, not from the object store.",
)  # fmt: skip
GROUPS = _metric(
    "kafscale_groups", "gauge", "state",
    "Groups coordinated by this broker, by state: `Empty`, `PreparingRebalance`,"
    " `CompletingRebalance`, `Stable`, `Dead`.",
)  # fmt: skip
LAG = _metric(
    "kafscale_consumer_lag_records", "gauge", "group topic",
    "Consumer lag: how many offsets a group's commits are behind the high watermarks, summed over"
    " the partitions of a topic. Partitions without a commit, or led by another broker, are left"
    " out.",
)  # fmt: skip
LAG_MAX = _metric(
    "kafscale_consumer_lag_max_records", "gauge", "group topic",
    "Consumer lag of the partition of a topic that is farthest behind.",
)  # fmt: skip
RECORDS_BEHIND = _metric(
    "kafscale_metadata_behind_seconds", "gauge", "",
    "Seconds since this broker last heard from the metadata store, if it has lost it: ACLs are in"
    " force as they were then. 0 while it is connected.",
)  # fmt: skip
STORE_OPERATIONS = _metric(
    "kafscale_store_operations_total", "counter", "store operation",
    "Finished operations of the object store (`objects`) and the metadata store (`metadata`). Each"
    " attempt counts.",
)  # fmt: skip
STORE_ERRORS = _metric(
    "kafscale_store_errors_total", "counter", "store operation",
    "Operations that failed because a store was unavailable, full or broken. That an object is"
    " missing or exists already, or that a commit conflicts, is not an error.",
)  # fmt: skip
STORE_SECONDS = _metric(
    "kafscale_store_operation_duration_seconds", "histogram", "store operation",
    "Time that each operation of a store took.",
)  # fmt: skip
STORE_BYTES = _metric(
    "kafscale_store_bytes_total", "counter", "store operation",
    "Bytes of objects written (`create`) and read (`get`, `get_suffix`).",
)  # fmt: skip
S3_REQUESTS = _metric(
    "kafscale_s3_requests_total", "counter", "operation",
    "Requests sent to S3, by S3's names, as they are billed: a large object takes several, and"
    " failed requests count.",
)  # fmt: skip
BUILD = _metric(
    "kafscale_build_info", "gauge", "version python",
    "Always 1; the labels have the versions of Kafscale and Python.",
)  # fmt: skip
LONGEST_TURN = _metric(
    "kafscale_reactor_longest_turn_seconds", "gauge", "",
    "CPU time of the longest turn of the reactor since the broker was ready. All connections wait"
    " that long.",
)  # fmt: skip
LONG_TURNS = _metric(
    "kafscale_reactor_long_turns_total", "counter", "",
    "Turns of the reactor that took more than 10 ms of CPU time.",
)  # fmt: skip
COMPILED = _metric(
    "kafscale_compiled_walker", "gauge", "",
    "1 if the compiled module walks over the records of batches; 0 if Python does, some 400 times"
    " slower (`KAFSCALE_COMPILED`).",
)  # fmt: skip

PROCESS: Sequence[Metric] = [
    _metric("process_cpu_seconds_total", "counter", "", "CPU time of the process, all threads."),
    _metric("process_resident_memory_bytes", "gauge", "", "Resident memory of the process (RSS)."),
    _metric("process_virtual_memory_bytes", "gauge", "", "Virtual memory of the process."),
    _metric("process_open_fds", "gauge", "", "Open file descriptors, including connections."),
    _metric("process_max_fds", "gauge", "", "Maximum number of open file descriptors."),
    _metric(
        "process_start_time_seconds", "gauge", "",
        "Start time of the process, in seconds since 1970.",
    ),
]
"""Provided by prometheus-client, on systems with ``/proc``."""

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
