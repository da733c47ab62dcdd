"""
Every setting once: its name, what it accepts, its default and its meaning.

All else follows from the declarations in `Settings`: the variable
(C{KAFSCALE_SEGMENT_BYTES}) and the option (C{--segment-bytes}) from the
attribute's name, the help text and the table in docs/configuration.md from
its meaning. An option wins over the variable of the same meaning; either may
be empty, which is the same as absent.
"""

# The defaults of Settings are made by setting, which is attrs.field underneath:
# ruff: noqa: RUF009

from __future__ import annotations

import difflib
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from kafscale.config.kinds import (
    ADVERTISED,
    BOOLEAN,
    BUCKET,
    GIB,
    KIB,
    LISTEN,
    LISTEN_OR_OFF,
    MIB,
    NAMESPACE,
    TEXT,
    URL,
    URLS,
    Listen,
    choice,
    fraction,
    is_wildcard,
    number,
    size,
)
from kafscale.config.setting import PREFIX as PREFIX
from kafscale.config.setting import Setting as Setting
from kafscale.config.setting import setting


@attrs.frozen(kw_only=True)
class Settings:
    """
    The value of every setting. Sizes are in bytes, times in milliseconds.
    """

    broker_addr: Listen = setting(
        LISTEN,
        "127.0.0.1:9092",
        "Where to listen: `host:port` (`0.0.0.0:9092` or `:9092` for all IPv4 interfaces, port 0"
        " for any that is free), `[::1]:9092`, or a Twisted endpoint string such as"
        " `tcp:9092:interface=10.0.0.1`.",
    )
    broker_host: str | None = setting(
        ADVERTISED,
        "",
        "The host that clients are told to connect to. Otherwise the one of"
        " `KAFSCALE_BROKER_ADDR`, or this machine's name if that is all interfaces.",
    )
    broker_port: int | None = setting(
        number(1, 65535),
        "",
        "The port that clients are told to connect to. Otherwise the one listened on.",
    )
    broker_id: int = setting(number(0, 2**31 - 1), "0", "This broker's id in its cluster.")
    broker_rack: str | None = setting(
        TEXT,
        "",
        "The rack or availability zone of this broker. Partitions are spread over racks, and"
        " consumers that say in which they are (`client.rack`) read there.",
    )
    broker_weight: float = setting(
        fraction("0.001", "1000"),
        "1.0",
        "How much of the partitions and groups this broker takes, in relation to the others.",
    )
    metrics_addr: Listen | None = setting(
        LISTEN_OR_OFF,
        "",
        "Where HTTP for operators listens (`/metrics`, `/healthz`, `/readyz`), written as"
        " `KAFSCALE_BROKER_ADDR` is; `off` for nowhere. Otherwise `127.0.0.1:9308`; and if that is"
        " taken, by another broker perhaps, nowhere, with a warning.",
    )
    data_dir: str = setting(
        TEXT,
        "./kafscale-data",
        "Where records and metadata are kept; with `KAFSCALE_S3_BUCKET` only the metadata, and with"
        " `KAFSCALE_ETCD_ENDPOINTS` nothing. One broker at a time.",
    )
    namespace: str = setting(
        NAMESPACE, "default", "Sets apart several clusters that share one store."
    )
    use_memory_s3: bool = setting(
        BOOLEAN, "0", "Keep everything in memory, and lose it at the end: for tests."
    )
    s3_bucket: str | None = setting(
        BUCKET,
        "",
        "Keep the records in this bucket of S3, or of a store that speaks its protocol. The"
        " credentials are found as the AWS command line finds them.",
    )
    s3_region: str | None = setting(
        TEXT,
        "",
        "The bucket's region. Otherwise that of `AWS_DEFAULT_REGION` or of the AWS profile, or"
        " us-east-1.",
    )
    s3_endpoint: str | None = setting(
        URL, "", "Where the store is, if it is not Amazon's: such as `http://127.0.0.1:9000`."
    )
    s3_path_style: bool | None = setting(
        BOOLEAN,
        "",
        "Whether the bucket is named in the path (1) or in the host's name (0). Otherwise in the"
        " path if `KAFSCALE_S3_ENDPOINT` is set or the bucket's name has a dot.",
    )
    s3_ca_file: str | None = setting(
        TEXT,
        "",
        "Certificates (PEM) of those who may sign the store's. Otherwise those of `AWS_CA_BUNDLE`,"
        " or those that the machine trusts.",
    )
    s3_kms_arn: str | None = setting(
        TEXT,
        "",
        "The KMS key with which S3 encrypts what is stored. Otherwise as the bucket says.",
    )
    s3_fencing: str = setting(
        choice("create", "metadata"),
        "create",
        "What keeps a broker that was replaced from writing: `create`, the bucket, which must"
        " honour `If-None-Match: *`; or `metadata`, for stores that do not.",
    )
    s3_concurrency: int = setting(
        number(1, 1024),
        "64",
        "How many requests to S3 are under way at once; writes go before reads that wait.",
    )
    etcd_endpoints: tuple[str, ...] | None = setting(
        URLS,
        "",
        "Keep the metadata in this etcd (3.4 or later), which many brokers share; the records are"
        " then in `KAFSCALE_S3_BUCKET`. Name each member.",
    )
    etcd_username: str | None = setting(TEXT, "", "Who the broker is to etcd, if etcd asks.")
    etcd_password: str | None = setting(
        TEXT, "", "The password of that user; as a variable, for options can be seen.", secret=True
    )
    etcd_ca: str | None = setting(
        TEXT,
        "",
        "Certificates (PEM) of those who may sign etcd's. Otherwise those that the machine"
        " trusts.",
    )
    etcd_cert: str | None = setting(
        TEXT,
        "",
        "The certificate (PEM, followed by those between it and its root) with which the broker"
        " proves itself to etcd.",
    )
    etcd_key: str | None = setting(TEXT, "", "The key of that certificate (PEM).")
    lease_seconds: int = setting(
        number(2, 600, "seconds"),
        "10",
        "After how long without a sign of life the others take over from a broker.",
    )
    segment_bytes: int = setting(
        size(KIB, GIB),
        "64MiB",
        "A partition's records are rolled from the journal into a segment when there are so many"
        " bytes of them.",
    )
    segment_ms: int = setting(
        number(100, 2**31 - 1, "milliseconds"), "7200000", "They are rolled at this age, too."
    )
    unrolled_bytes: int = setting(
        size(MIB, 64 * GIB),
        "96MiB",
        "Memory for records that are not rolled yet; when it is used up, the partition with most"
        " of them is rolled. A start after a crash reads no more than this.",
        on_s3="256MiB",
    )
    journal_slots: int = setting(
        number(16, 1_000_000),
        "4096",
        "How many objects of the journal may stand before the records in the oldest are rolled.",
        on_s3="16384",
    )
    orphan_ms: int = setting(
        number(0, 2**31 - 1, "milliseconds"),
        "3600000",
        "How often the stores are looked through for what is left over of operations that failed"
        " or came late; what was unneeded at one look and still is at the next is deleted."
        " 0: never.",
    )
    slot_bytes: int = setting(
        size(64 * KIB, 256 * MIB), "8MiB", "The journal is flushed when this much waits."
    )
    slots_in_flight: int = setting(
        number(1, 64),
        "4",
        "How many flushes of the journal are under way at once. What they hold is memory beyond"
        " that for records that are not rolled yet.",
        on_s3="16",
    )
    flush_interval_ms: int = setting(
        number(0, 60_000, "milliseconds"),
        "0",
        "The time from one flush to the next, unless much has come, and so the longest that a batch"
        " waits for others; when nothing was flushed for a while it waits 10 ms. With 0 each flush"
        " begins as soon as one may; what arrives meanwhile goes into the next.",
        on_s3="50",
    )
    cache_bytes: int = setting(
        size(MIB, 1024 * GIB), "64MiB", "Memory for blocks of segments that were read."
    )
    disk_cache_dir: str | None = setting(
        TEXT,
        "",
        "A directory for what was read from the bucket, so that it need not be read again, also"
        " after a restart. It must be this broker's alone, and may be lost.",
    )
    disk_cache_bytes: int = setting(
        size(MIB, 1024 * 1024 * GIB), "10GiB", "How much is kept there."
    )
    readahead_segments: int = setting(
        number(0, 64), "1", "How many blocks ahead a reader that goes through segments is served."
    )
    auto_create_topics: bool = setting(
        BOOLEAN, "1", "Create a topic when a client that permits it asks for one that is missing."
    )
    auto_create_partitions: int = setting(
        number(1, 10_000), "1", "How many partitions such a topic gets."
    )
    log_level: str = setting(
        choice("debug", "info", "warn", "error"), "info", "The least of what is logged."
    )
    max_request_bytes: int = setting(
        size(KIB, 2**31 - 1),
        "100MiB",
        "A larger request closes its connection (Kafka's `socket.request.max.bytes`).",
    )
    connections_max_idle_ms: int = setting(
        number(0, 2**31 - 1, "milliseconds"),
        "600000",
        "A connection on which nothing was asked for so long is closed; 0: never.",
    )
    max_connections: int = setting(
        number(0, 1_000_000), "20000", "Connections beyond so many are closed at once; 0: no limit."
    )
    fetch_sessions: int = setting(
        number(0, 1_000_000),
        "1000",
        "How many incremental fetch sessions are remembered"
        " (Kafka's `max.incremental.fetch.session.cache.slots`).",
    )
    group_initial_rebalance_delay_ms: int = setting(
        number(0, 600_000, "milliseconds"),
        "3000",
        "How long the first round of a group waits for more members"
        " (Kafka's `group.initial.rebalance.delay.ms`).",
    )
    group_min_session_timeout_ms: int = setting(
        number(1, 2**31 - 1, "milliseconds"),
        "6000",
        "The shortest `session.timeout.ms` that a member may ask for.",
    )
    group_max_session_timeout_ms: int = setting(
        number(1, 2**31 - 1, "milliseconds"), "1800000", "The longest."
    )
    group_max_size: int = setting(
        number(1, 2**31 - 1), "2147483647", "How many members a group may have."
    )
    offset_metadata_max_bytes: int = setting(
        size(0, MIB), "4096", "How long the note beside a committed offset may be."
    )
    offsets_retention_minutes: int = setting(
        number(1, 2**31 - 1, "minutes"),
        "10080",
        "How long commits are kept after the group has lost its last member, or, if it never"
        " had any, after the commit.",
    )
    shutdown_ms: int = setting(
        number(0, 600_000, "milliseconds"),
        "8000",
        "How long a broker that is told to stop may take to answer and to flush.",
    )

    def fencing(self) -> str:
        """
        What keeps a broker that was replaced from writing. Stores that are no
        buckets create, and never replace.
        """
        return self.s3_fencing if self.s3_bucket else "create"

    def advertised_host(self, hostname: Callable[[], str] = socket.gethostname) -> str:
        """
        The host that clients are told: one that can be dialled.
        """
        if self.broker_host is not None:
            return self.broker_host
        host = self.broker_addr.host
        return hostname() if is_wildcard(host) else host

    def advertised_port(self, listened: int) -> int:
        """
        The port that clients are told, when C{listened} is the port in use.
        """
        return listened if self.broker_port is None else self.broker_port


SETTINGS: Sequence[Setting] = [
    Setting(each.name, *each.metadata["setting"]) for each in attrs.fields(Settings)
]
"""All settings, in the order in which they are declared."""


def from_environment(
    environ: Mapping[str, str], options: Mapping[str, str | None] | None = None
) -> tuple[Settings, list[str]]:
    """
    The settings that variables and options ask for.

    @param environ: Such as C{os.environ}.
    @param options: Option name, without dashes, to what was given; it wins.
    @return: The settings, and a warning, one line each, for every variable
        with our prefix that is not understood.
    @raise SettingError: A value is not accepted.
    """
    values: dict[str, Any] = {}
    warnings = []
    for each in SETTINGS:
        option, variable = (options or {}).get(each.option), environ.get(each.variable)
        if option:
            values[each.name] = each.read(option, f"--{each.option}")
        elif variable and re.match(r"(tcp|udp|sctp)://", variable):
            # Kubernetes sets such variables for a service called "kafscale-broker".
            warnings.append(f"{each.variable}={variable!r} is from Kubernetes: ignored")
        elif variable:
            values[each.name] = each.read(variable, each.variable)
    known = {each.variable for each in SETTINGS}
    for name in sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
        hint = f"; did you mean {close[0]}?" if close else ""
        warnings.append(f"{name} is not a setting: ignored{hint}")
    return Settings(**values), warnings


def option_parameters() -> list[list[str | None]]:
    """
    The settings as C{optParameters} of L{twisted.python.usage.Options}; those
    not given are None, so that the variable counts.
    """
    parameters: list[list[str | None]] = []
    for each in SETTINGS:
        default = f" [{each.default}]" if each.default else ""
        if each.on_s3:
            default = f" [{each.default}; on S3 {each.on_s3}]"
        parameters.append([each.option, None, None, each.meaning.replace("`", "") + default])
    return parameters


def table() -> str:
    """
    The settings as the Markdown table of docs/configuration.md.
    """
    lines = ["| Variable and option | Default | Accepted | Meaning |", "|---|---|---|---|"]
    for each in SETTINGS:
        names = f"`{each.variable}`<br>`--{each.option}`"
        default = f"`{each.default}`" if each.default else "-"
        if each.on_s3:
            default += f"; on S3 `{each.on_s3}`"
        lines.append(f"| {names} | {default} | {each.kind.accepts} | {each.meaning} |")
    return "\n".join(lines) + "\n"
