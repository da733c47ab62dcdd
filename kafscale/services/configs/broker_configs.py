"""
The configuration of this broker, as DescribeConfigs shows it.

Every setting of the broker is a configuration of its own name,
C{kafscale.segment.bytes} for C{KAFSCALE_SEGMENT_BYTES}. A setting with an
equivalent in Kafka has Kafka's name, too, because tools look for that. All of
them are read-only: settings are given when the broker is started.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from kafscale.config import SETTINGS, Settings
from kafscale.config.kinds import Listen
from kafscale.config.listeners import listeners_of
from kafscale.interfaces import Broker, ITopicConfigs

PREFIX = "kafscale."

#: Kafka's names of settings, by our names.
KAFKA_NAMES = {
    "auto_create_partitions": "num.partitions",
    "auto_create_topics": "auto.create.topics.enable",
    "broker_id": "broker.id",
    "broker_rack": "broker.rack",
    "connections_max_idle_ms": "connections.max.idle.ms",
    "data_dir": "log.dirs",
    "fetch_sessions": "max.incremental.fetch.session.cache.slots",
    "group_initial_rebalance_delay_ms": "group.initial.rebalance.delay.ms",
    "group_max_session_timeout_ms": "group.max.session.timeout.ms",
    "group_max_size": "group.max.size",
    "group_min_session_timeout_ms": "group.min.session.timeout.ms",
    "max_connections": "max.connections",
    "max_connections_per_ip": "max.connections.per.ip",
    "max_request_bytes": "socket.request.max.bytes",
    "offset_metadata_max_bytes": "offset.metadata.max.bytes",
    "offsets_retention_minutes": "offsets.retention.minutes",
}

#: Configurations of Kafka that have one possible value here: name, value, type
#: and documentation.
_FIXED = (
    ("default.replication.factor", "1", "int",
     "Replicas of a topic that does not set them; the object store replicates the records."),
    ("delete.topic.enable", "true", "boolean", "Whether topics may be deleted."),
    ("inter.broker.protocol.version", "4.0-IV3", "string",
     "The version of Kafka whose protocol this broker speaks."),
    ("log.retention.check.interval.ms", "300000", "long",
     "How often expired records are looked for; an altered retention is in force at once."),
    ("node.id", "", "long", "This broker's id in its cluster."),
    ("process.roles", "broker,controller", "list", "Every broker is a controller, too."),
)  # fmt: skip

_SECRET = re.compile(r"(^|\.)(secret|password|token)(\.|$)")


@attrs.frozen
class BrokerConfig:
    """
    One configuration of the broker.

    @ivar value: As text; None if there is none, or it is a secret.
    @ivar kind: See `TopicConfig.kind`.
    @ivar source: C{broker} if it was set, else C{default}.
    """

    name: str
    value: str | None
    kind: str
    source: str
    meaning: str
    sensitive: bool = False


def broker_configs(
    settings: Settings, broker: Broker, topic_configs: ITopicConfigs
) -> Sequence[BrokerConfig]:
    """
    All configurations of the broker, by name.

    @param broker: This broker, with the address that it advertises.
    @param topic_configs: Knows the defaults of topics, which in Kafka are
        configurations of brokers.
    """
    found: dict[str, BrokerConfig] = {}

    def add(name: str, value: str | None, kind: str, meaning: str, default: bool = True) -> None:
        source = "default" if default else "broker"
        secret = _SECRET.search(name) is not None
        shown = None if secret and value else value
        found[name] = BrokerConfig(name, shown, kind, source, meaning, secret)

    for config in topic_configs.describe({}):
        if config.synonym:
            is_default = config.source == "default"
            add(config.synonym, config.value, config.kind, config.meaning, is_default)
    for fixed in _FIXED:
        add(*fixed)
    for setting in SETTINGS:
        value, kind = _written(getattr(settings, setting.name))
        names = [PREFIX + setting.name.replace("_", ".")]
        if setting.name in KAFKA_NAMES:
            names.append(KAFKA_NAMES[setting.name])
        defaults = _ON_S3 if settings.s3_bucket else _DEFAULTS
        is_default = getattr(settings, setting.name) == getattr(defaults, setting.name)
        for name in names:
            add(name, value, kind, setting.meaning.replace("`", ""), is_default)
    listeners = listeners_of(settings)
    reached: list[str] = []
    listened: list[str] = []
    protocols: list[str] = []
    add("node.id", str(broker.broker_id), "long", found["broker.id"].meaning,
        found["broker.id"].source == "default")  # fmt: skip
    for each in listeners:
        host, port = broker.address(each.name) or (broker.host, broker.port)
        reached.append(f"{each.name}://{_host(host)}:{port}")
        listened.append(f"{each.name}://{_host(each.listen.host)}:{each.listen.port or port}")
        protocols.append(f"{each.name}:{each.protocol}")
    add("advertised.listeners", ",".join(reached), "string",
        "The addresses that clients connect to.", False)  # fmt: skip
    add("listeners", ",".join(listened), "string",
        "The addresses that the broker listens on.", False)  # fmt: skip
    add("listener.security.protocol.map", ",".join(protocols), "string",
        "The protocols of the listeners.", settings.listeners is None)  # fmt: skip
    (between_brokers,) = (each.name for each in listeners if each.is_between_brokers)
    add("inter.broker.listener.name", between_brokers, "string",
        "The listener on which brokers connect to one another.",
        settings.inter_broker_listener_name is None)  # fmt: skip
    return [found[name] for name in sorted(found)]


_DEFAULTS = Settings()
_ON_S3 = Settings(s3_bucket="any")


def _written(value: object) -> tuple[str | None, str]:
    """
    The value of a setting as text, None if it has none; and its type.
    """
    match value:
        case None:
            return None, "string"
        case bool():
            return str(value).lower(), "boolean"
        case int():
            return str(value), "long"
        case float():
            return str(value), "double"
        case tuple():
            return ",".join(map(str, value)), "list"
        case Listen():
            return value.endpoint, "string"
    return str(value), "string"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
