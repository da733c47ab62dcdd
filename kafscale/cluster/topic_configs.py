"""
The configurations of topics: all of Kafka's.

Tools and connectors set any of Kafka's configurations, so all are accepted, checked
and described, also those without an effect on a log in an object store. Unknown
names are refused, as in Kafka, because they are misspellings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from zope.interface import implementer

from kafscale.errors import InvalidConfig
from kafscale.interfaces import MAX_INFLATED, AppendRules, ITopicConfigs, LogRules, TopicConfig
from kafscale.wire.compression import Codec

_INT = 2**31 - 1
_LONG = 2**63 - 1
_DAY = 24 * 60 * 60 * 1000

#: Converts text to a value, or raises ValueError with a description of valid text.
Parse = Callable[[str], Any]


@attrs.frozen
class Known:
    """
    One configuration: a row of the table.

    @ivar kind: See `TopicConfig.kind`.
    @ivar default: The default value, as text.
    @ivar parse: Checks a text, and converts it to the type of the configuration.
    @ivar meaning: A description in one line.
    @ivar accept: Checks a text that is to be stored, if some values that may be stored
        already are no longer accepted.
    """

    name: str
    kind: str
    default: str
    parse: Parse
    meaning: str
    accept: Parse | None = None


def _boolean(text: str) -> bool:
    match text.strip().lower():
        case "true":
            return True
        case "false":
            return False
    raise ValueError("true or false")


def _integer(lowest: int, highest: int) -> Parse:
    def parse(text: str) -> int:
        stripped = text.strip()
        # Java does not parse some numbers that int() does: 1_000, ١٢.
        digits = stripped[1:] if stripped[:1] in ("-", "+") else stripped
        if digits.isascii() and digits.isdigit() and len(digits) < 20:
            value = int(stripped)
            if lowest <= value <= highest:
                return value
        raise ValueError(f"a whole number from {lowest} to {highest}")

    return parse


def _double(lowest: float, highest: float) -> Parse:
    def parse(text: str) -> float:
        try:
            value = float(text.strip().replace("_", "?"))
        except ValueError:
            value = float("nan")
        if lowest <= value <= highest:
            return value
        raise ValueError(f"a number from {lowest:g} to {highest:g}")

    return parse


def _one_of(*choices: str) -> Parse:
    def parse(text: str) -> str:
        if text in choices:
            return text
        raise ValueError("one of " + ", ".join(choices))

    return parse


def _several_of(*choices: str) -> Parse:
    def parse(text: str) -> tuple[str, ...]:
        items = _list(text)
        if all(item in choices for item in items):
            return items
        raise ValueError("empty, or one or more of " + ", ".join(choices))

    return parse


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",")) if text.strip() else ()


def _replicas(text: str) -> tuple[str, ...]:
    """
    Parse throttled replicas: ``*``, or ``partition:broker`` pairs.
    """
    items = _list(text)
    if items == ("*",):
        return items
    for item in items:
        partition, colon, broker = item.partition(":")
        if not (colon and partition.isdigit() and broker.isdigit()):
            raise ValueError("*, or partition:broker pairs with commas between")
    return items


def _gzip_level(text: str) -> int:
    level = int(_integer(-1, 9)(text))
    if level == 0:
        raise ValueError("-1, or from 1 to 9")
    return level


def _compression(text: str) -> str:
    return str(_one_of("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")(text.lower()))


def _any(text: str) -> str:
    return text


def _boolean_row(name: str, default: bool, meaning: str) -> Known:
    return Known(name, "boolean", str(default).lower(), _boolean, meaning)


def _int_row(name: str, default: int, lowest: int, meaning: str, highest: int = _INT) -> Known:
    return Known(name, "int", str(default), _integer(lowest, highest), meaning)


def _long_row(name: str, default: int, lowest: int, meaning: str) -> Known:
    return Known(name, "long", str(default), _integer(lowest, _LONG), meaning)


# One row each, in the order of their names.
# fmt: off
_ROWS = (
    Known("cleanup.policy", "list", "delete", _several_of("compact", "delete"),
          "How old records are removed: delete, by age and size; compact, by key, which is not"
          " implemented; empty: not at all."),
    Known("compression.gzip.level", "int", "-1", _gzip_level,
          "Compression level if compression.type is gzip; -1 is the default level of gzip."),
    _int_row("compression.lz4.level", 9, 1,
             "Compression level if compression.type is lz4.", highest=17),
    Known("compression.type", "string", "producer", _compression,
          "Codec in which the broker stores batches; producer: as the producer compressed"
          " them."),
    _int_row("compression.zstd.level", 3, -131072,
             "Compression level if compression.type is zstd.", highest=22),
    _long_row("delete.retention.ms", _DAY, 0,
              "Time for which compaction keeps tombstones."),
    _boolean_row("errors.deadletterqueue.group.enable", False,
                 "Whether share groups may use the topic as their dead letter queue; there are no"
                 " share groups here."),
    _long_row("file.delete.delay.ms", 60_000, 0,
              "Delay before the files of deleted data are removed."),
    _long_row("flush.messages", _LONG, 1,
              "Number of records after which Kafka syncs to disk; every acknowledged record is"
              " durable here."),
    _long_row("flush.ms", _LONG, 0,
              "Time after which Kafka syncs to disk; every acknowledged record is durable here."),
    Known("follower.replication.throttled.replicas", "list", "", _replicas,
          "Follower replicas with throttled replication; there are no followers here."),
    _int_row("index.interval.bytes", 4096, 0,
             "Bytes between two entries of the offset index."),
    Known("leader.replication.throttled.replicas", "list", "", _replicas,
          "Leader replicas with throttled replication; there are no followers here."),
    _long_row("local.retention.bytes", -2, -2,
              "Size kept on local disks with tiered storage; -2 means retention.bytes."),
    _long_row("local.retention.ms", -2, -2,
              "Time kept on local disks with tiered storage; -2 means retention.ms."),
    _long_row("max.compaction.lag.ms", _LONG, 1,
              "Maximum time that a record remains uncompacted."),
    _int_row("max.decompressed.message.bytes", 2_147_483_639, 1,
             "Maximum size of a record batch after decompression, and at most 64 MiB."),
    _int_row("max.message.bytes", 1_048_588, 0,
             "Maximum size of a record batch, as the producer sends it (compressed)."),
    _boolean_row("message.downconversion.enable", True,
                 "Convert records for consumers older than Kafka 0.11; if false, they get"
                 " UNSUPPORTED_VERSION."),
    Known("message.format.version", "string", "3.0-IV1", _any,
          "Version of the record format; accepted from old tools, the format is always v2."),
    _long_row("message.timestamp.after.max.ms", 3_600_000, 0,
              "Maximum time by which a record's timestamp may be ahead of the broker's clock."),
    _long_row("message.timestamp.before.max.ms", _LONG, 0,
              "Maximum time by which a record's timestamp may be behind the broker's clock."),
    _long_row("message.timestamp.difference.max.ms", _LONG, 0,
              "Older limit in both directions; applies together with the two newer ones."),
    Known("message.timestamp.type", "string", "CreateTime",
          _one_of("CreateTime", "LogAppendTime"),
          "Timestamp of records: CreateTime, the producer's; LogAppendTime, the broker's on"
          " arrival."),
    Known("min.cleanable.dirty.ratio", "double", "0.5", _double(0, 1),
          "Minimum uncompacted share of a log for compaction to start."),
    _long_row("min.compaction.lag.ms", 0, 0,
              "Minimum time that a record remains uncompacted."),
    _int_row("min.insync.replicas", 1, 1,
             "Replicas required for acks=all; always met, as the object store keeps the copies."),
    _boolean_row("preallocate", False,
                 "Preallocate files of segments; there are no such files here."),
    _long_row("remote.copy.lag.bytes", -1, -1,
              "Size of records that are not copied to tiered storage yet; all data is in the object"
              " store here."),
    _long_row("remote.copy.lag.ms", 0, -1,
              "Time for which records are not copied to tiered storage yet; all data is in the"
              " object store here."),
    _boolean_row("remote.log.copy.disable", False,
                 "Make tiered data read-only; all data is in the object store here."),
    _boolean_row("remote.log.delete.on.disable", False,
                 "Delete tiered data when tiering is disabled; all data is in the object store"
                 " here."),
    _boolean_row("remote.storage.enable", False,
                 "Move old data to remote storage; all data is in the object store here."),
    _long_row("retention.bytes", -1, -1,
              "Size of a partition beyond which its oldest segments are deleted; -1: no limit."),
    _long_row("retention.ms", 7 * _DAY, -1,
              "Age beyond which records are deleted; -1: no limit."),
    Known("segment.bytes", "int", "1073741824", _integer(14, _INT),
          "Size of records that are written to a segment, 1 MiB or more;"
          " KAFSCALE_SEGMENT_BYTES applies if smaller.", accept=_integer(1_048_576, _INT)),
    _int_row("segment.index.bytes", 10_485_760, 4,
             "Maximum size of an index; an index grows with its segment here."),
    _long_row("segment.jitter.ms", 0, 0,
              "Random variation of segment.ms."),
    _long_row("segment.ms", 7 * _DAY, 1,
              "Age of records that are written to a segment; KAFSCALE_SEGMENT_MS applies if"
              " shorter."),
    _boolean_row("unclean.leader.election.enable", False,
                 "Allow a replica that lacks records to lead; no replica can lack records here."),
)
# fmt: on

TABLE: Mapping[str, Known] = {row.name: row for row in _ROWS}

IN_FORCE = frozenset(
    {
        "cleanup.policy",
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.type",
        "compression.zstd.level",
        "max.decompressed.message.bytes",
        "max.message.bytes",
        "message.downconversion.enable",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.difference.max.ms",
        "message.timestamp.type",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.ms",
    }
)
"""The configurations with an effect. The others are stored, and have none."""

#: The codec of each C{compression.type}; None: as the producer compressed.
_CODECS = {
    "producer": None,
    "uncompressed": Codec.NONE,
    "gzip": Codec.GZIP,
    "snappy": Codec.SNAPPY,
    "lz4": Codec.LZ4,
    "zstd": Codec.ZSTD,
}

#: Kafka's broker configurations behind topic configurations, if the name is neither
#: that of the topic configuration nor that after ``log.``.
_SYNONYMS = {
    "delete.retention.ms": "log.cleaner.delete.retention.ms",
    "file.delete.delay.ms": "log.segment.delete.delay.ms",
    "flush.messages": "log.flush.interval.messages",
    "flush.ms": "log.flush.interval.ms",
    "max.compaction.lag.ms": "log.cleaner.max.compaction.lag.ms",
    "max.message.bytes": "message.max.bytes",
    "min.cleanable.dirty.ratio": "log.cleaner.min.cleanable.ratio",
    "min.compaction.lag.ms": "log.cleaner.min.compaction.lag.ms",
    "segment.index.bytes": "log.index.size.max.bytes",
    "segment.jitter.ms": "log.roll.jitter.ms",
    "segment.ms": "log.roll.ms",
}
_SAME_NAME = ("compression.", "max.decompressed.", "min.insync.", "unclean.")
_OF_TOPICS_ALONE = ("errors.", "follower.", "leader.", "remote.log.", "remote.storage.")


def synonym(name: str) -> str:
    """
    Return Kafka's name of the broker configuration that is the default of a topic
    configuration; empty if there is none (C{ServerTopicConfigSynonyms}).
    """
    if name.startswith(_OF_TOPICS_ALONE):
        return ""
    if name.startswith(_SAME_NAME):
        return name
    return _SYNONYMS.get(name, f"log.{name}")


@implementer(ITopicConfigs)
class TopicConfigs:
    """
    The configurations of topics, with defaults of the brokers.
    """

    def __init__(self, defaults: Mapping[str, str] | None = None) -> None:
        """
        @param defaults: The values that the settings of brokers replace defaults with.
        @raise InvalidConfig: a value is not valid.
        """
        self._defaults = dict(defaults or {})
        self.check(self._defaults)

    def check(
        self, overrides: Mapping[str, str | None], stored: Mapping[str, str] | None = None
    ) -> None:
        """
        See L{ITopicConfigs.check}.
        """
        for name, text in overrides.items():
            if stored is not None and text is not None and stored.get(name) == text:
                continue
            row = TABLE.get(name)
            if row is None:
                raise InvalidConfig(f"Unknown topic config name: {name}")
            if text is None:
                raise InvalidConfig(f"Null value not supported for topic configs: {name}")
            try:
                (row.accept or row.parse)(text)
            except ValueError as right:
                raise InvalidConfig(
                    f"Invalid value {_shown(text)} for configuration {name}: it must be {right}"
                ) from None
        given = {name: text for name, text in overrides.items() if text is not None}
        if self.value(given, "min.compaction.lag.ms") > self.value(given, "max.compaction.lag.ms"):
            raise InvalidConfig(
                "min.compaction.lag.ms must not be greater than max.compaction.lag.ms"
            )

    def describe(self, overrides: Mapping[str, str]) -> Sequence[TopicConfig]:
        """
        See L{ITopicConfigs.describe}.
        """
        return [self._described(row, overrides) for row in _ROWS]

    def value(self, overrides: Mapping[str, str], name: str) -> Any:
        """
        See L{ITopicConfigs.value}.
        """
        row = TABLE[name]
        return row.parse(self._described(row, overrides).value)

    def append_rules(self, overrides: Mapping[str, str]) -> AppendRules:
        """
        See L{ITopicConfigs.append_rules}.
        """
        # The older limit, if set, applies together with the two newer ones (KIP-937).
        widest = self.value(overrides, "message.timestamp.difference.max.ms")
        compression = self.value(overrides, "compression.type")
        level = f"compression.{compression}.level"
        return AppendRules(
            max_bytes=self.value(overrides, "max.message.bytes"),
            log_append_time=self.value(overrides, "message.timestamp.type") == "LogAppendTime",
            before_ms=min(widest, self.value(overrides, "message.timestamp.before.max.ms")),
            after_ms=min(widest, self.value(overrides, "message.timestamp.after.max.ms")),
            compacted="compact" in self.value(overrides, "cleanup.policy"),
            max_inflated=min(
                MAX_INFLATED, self.value(overrides, "max.decompressed.message.bytes")
            ),
            codec=_CODECS[compression],
            level=self.value(overrides, level) if level in TABLE else None,
        )

    def log_rules(self, overrides: Mapping[str, str]) -> LogRules:
        """
        See L{ITopicConfigs.log_rules}.
        """
        return LogRules(
            retention_ms=self.value(overrides, "retention.ms"),
            retention_bytes=self.value(overrides, "retention.bytes"),
            segment_bytes=self.value(overrides, "segment.bytes"),
            segment_ms=self.value(overrides, "segment.ms"),
            delete="delete" in self.value(overrides, "cleanup.policy"),
        )

    def _described(self, row: Known, overrides: Mapping[str, str]) -> TopicConfig:
        if row.name in overrides:
            source, text = "topic", overrides[row.name]
        elif row.name in self._defaults:
            source, text = "broker", self._defaults[row.name]
        else:
            source, text = "default", row.default
        return TopicConfig(
            row.name, text, row.kind, source, row.meaning, synonym(row.name), row.default
        )


def _shown(text: str) -> str:
    """
    Return a value for an error message, shortened if it is long.
    """
    return text if len(text) <= 100 else text[:100] + "..."
