"""
The configuration of this broker, as DescribeConfigs shows it.

Every setting of the broker is a configuration of its own name,
C{kafscale.segment.bytes} for C{KAFSCALE_SEGMENT_BYTES}. A setting with an
equivalent in Kafka has Kafka's name and type, too, because tools look for that. A
setting that was given for one listener has the name of that before its own. All of
them are read-only: settings are given when the broker is started.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kafscale.config import SETTINGS, Setting, Settings
from kafscale.config.kinds import Listen
from kafscale.config.listeners import ListenerSettings, listeners_of
from kafscale.interfaces import Broker, ITopicConfigs

PREFIX = "kafscale."

#: Kafka's names of settings, by our names.
KAFKA_NAMES = {
    "auto_create_partitions": "num.partitions",
    "auto_create_topics": "auto.create.topics.enable",
    "broker_id": "broker.id",
    "broker_rack": "broker.rack",
    "connection_failed_authentication_delay_ms": "connection.failed.authentication.delay.ms",
    "connections_max_idle_ms": "connections.max.idle.ms",
    "connections_max_reauth_ms": "connections.max.reauth.ms",
    "data_dir": "log.dirs",
    "delegation_token_expiry_check_interval_ms": "delegation.token.expiry.check.interval.ms",
    "delegation_token_expiry_time_ms": "delegation.token.expiry.time.ms",
    "delegation_token_max_lifetime_ms": "delegation.token.max.lifetime.ms",
    "delegation_token_secret_key": "delegation.token.secret.key",
    "fetch_sessions": "max.incremental.fetch.session.cache.slots",
    "group_initial_rebalance_delay_ms": "group.initial.rebalance.delay.ms",
    "group_max_session_timeout_ms": "group.max.session.timeout.ms",
    "group_max_size": "group.max.size",
    "group_min_session_timeout_ms": "group.min.session.timeout.ms",
    "max_connections": "max.connections",
    "max_connections_per_ip": "max.connections.per.ip",
    "max_connections_per_ip_overrides": "max.connections.per.ip.overrides",
    "max_request_bytes": "socket.request.max.bytes",
    "offset_metadata_max_bytes": "offset.metadata.max.bytes",
    "offsets_retention_minutes": "offsets.retention.minutes",
    "sasl_enabled_mechanisms": "sasl.enabled.mechanisms",
    "sasl_mechanism_inter_broker_protocol": "sasl.mechanism.inter.broker.protocol",
    "sasl_oauthbearer_clock_skew_seconds": "sasl.oauthbearer.clock.skew.seconds",
    "sasl_oauthbearer_expected_audience": "sasl.oauthbearer.expected.audience",
    "sasl_oauthbearer_expected_issuer": "sasl.oauthbearer.expected.issuer",
    "sasl_oauthbearer_jwks_endpoint_refresh_ms": "sasl.oauthbearer.jwks.endpoint.refresh.ms",
    "sasl_oauthbearer_jwks_endpoint_url": "sasl.oauthbearer.jwks.endpoint.url",
    "sasl_oauthbearer_scope_claim_name": "sasl.oauthbearer.scope.claim.name",
    "sasl_oauthbearer_sub_claim_name": "sasl.oauthbearer.sub.claim.name",
    "ssl_ca": "ssl.truststore.location",
    "ssl_cert": "ssl.keystore.location",
    "ssl_client_auth": "ssl.client.auth",
    "ssl_enabled_protocols": "ssl.enabled.protocols",
    "ssl_key_password": "ssl.key.password",
    "ssl_principal_mapping_rules": "ssl.principal.mapping.rules",
}

#: Kafka's types, where they differ from what the values are here.
_KINDS = {
    "log.dirs": "list",
    "max.connections.per.ip.overrides": "string",
    "sasl.oauthbearer.expected.audience": "list",
    **dict.fromkeys(
        (
            "broker.id",
            "connection.failed.authentication.delay.ms",
            "group.initial.rebalance.delay.ms",
            "group.max.session.timeout.ms",
            "group.max.size",
            "group.min.session.timeout.ms",
            "max.connections",
            "max.connections.per.ip",
            "max.incremental.fetch.session.cache.slots",
            "num.partitions",
            "offset.metadata.max.bytes",
            "offsets.retention.minutes",
            "sasl.oauthbearer.clock.skew.seconds",
            "socket.request.max.bytes",
        ),
        "int",
    ),
}

#: Kafka's names of settings that only its authorizer knows: it hides their values. They
#: are there if they are set.
_OF_AUTHORIZER = {
    "allow_everyone_if_no_acl_found": "allow.everyone.if.no.acl.found",
    "super_users": "super.users",
}

_AUTHORIZERS = {"acl": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "none": ""}

#: Configurations of Kafka that have one possible value here: name, value, type
#: and documentation.
_FIXED = (
    ("controller.quota.window.num", "11", "int",
     "Samples over which a quota of partitions created and deleted is counted."),
    ("controller.quota.window.size.seconds", "1", "int", "Length of each of these samples."),
    ("default.replication.factor", "1", "int",
     "Replicas of a topic that does not set them; the object store replicates the records."),
    ("delete.topic.enable", "true", "boolean", "Whether topics may be deleted."),
    ("inter.broker.protocol.version", "4.0-IV3", "string",
     "The version of Kafka whose protocol this broker speaks."),
    ("log.retention.check.interval.ms", "300000", "long",
     "How often expired records are looked for; an altered retention is in force at once."),
    ("process.roles", "broker,controller", "list", "Every broker is a controller, too."),
    ("quota.window.num", "11", "int", "Samples over which a quota of clients is counted."),
    ("quota.window.size.seconds", "1", "int", "Length of each of these samples."),
    ("sasl.server.max.receive.size", "524288", "int",
     "Maximum size of what a client sends before it has authenticated."),
    ("ssl.endpoint.identification.algorithm", "https", "string",
     "Brokers compare the names in one another's certificates with the advertised hosts."),
    ("ssl.keystore.type", "PEM", "string", "The format of certificates and keys."),
    ("ssl.truststore.type", "PEM", "string", "The format of CA certificates."),
)  # fmt: skip


@attrs.frozen
class BrokerConfig:
    """
    One configuration of the broker.

    @ivar value: As text; None if there is none, or it is hidden.
    @ivar kind: See `TopicConfig.kind`; or C{password}, or C{unknown}.
    @ivar source: C{broker} if it was set, else C{default}.
    @ivar sensitive: Whether the value is hidden.
    @ivar default: The value if it is not set; None if there is none then.
    """

    name: str
    value: str | None
    kind: str
    source: str
    meaning: str
    sensitive: bool = False
    default: str | None = None


def broker_configs(
    settings: Settings, broker: Broker, topic_configs: ITopicConfigs
) -> Sequence[BrokerConfig]:
    """
    All configurations of the broker, by name.

    @param broker: This broker, with the address that it advertises.
    @param topic_configs: Knows the defaults of topics, which in Kafka are
        configurations of brokers.
    """
    table = _Table(_ON_S3 if settings.s3_bucket else _DEFAULTS)
    for config in topic_configs.describe({}):
        if config.synonym:
            is_set = config.source != "default"
            table.add(
                config.synonym, config.value, config.kind, config.meaning, is_set, config.default
            )
    for name, value, kind, meaning in _FIXED:
        table.add(name, value, kind, meaning, False, value)
    listeners = listeners_of(settings)
    for setting in SETTINGS:
        table.add_setting(setting, settings)
        for each in listeners if setting.by_listener else ():
            if getattr(each.settings, setting.name) != getattr(settings, setting.name):
                table.add_setting(setting, each.settings, f"listener.name.{each.name.lower()}.")
    table.add(
        "authorizer.class.name", _AUTHORIZERS[settings.authorizer], "string",
        "What decides what clients may do.", settings.authorizer != "none", "",
    )  # fmt: skip
    broker_id = table.found["broker.id"]
    table.found["node.id"] = attrs.evolve(
        broker_id, name="node.id", value=str(broker.broker_id), default=None
    )
    (between_brokers,) = (each.name for each in listeners if each.is_between_brokers)
    table.add(
        "inter.broker.listener.name", between_brokers, "string",
        "The listener on which brokers connect to one another.",
        settings.inter_broker_listener_name is not None,
    )  # fmt: skip
    _add_listeners(table, listeners, broker)
    return [table.found[name] for name in sorted(table.found)]


class _Table:
    """
    Configurations, as they are added.

    @ivar found: By name.
    """

    def __init__(self, defaults: Settings) -> None:
        self.found: dict[str, BrokerConfig] = {}
        self._defaults = defaults

    def add(
        self,
        name: str,
        value: str | None,
        kind: str,
        meaning: str,
        is_set: bool,
        default: str | None = None,
    ) -> None:
        source = "broker" if is_set else "default"
        hidden = kind in ("password", "unknown")
        shown = None if hidden else value
        self.found[name] = BrokerConfig(name, shown, kind, source, meaning, hidden, default)

    def add_setting(self, setting: Setting, settings: Settings, before: str = "") -> None:
        """
        Add a setting under all its names.

        @param settings: Have its value.
        @param before: What comes before the names; that of a listener, if it was given for
            that.
        """
        value, kind = _written(getattr(settings, setting.name))
        default, _ = _written(getattr(self._defaults, setting.name))
        is_set = bool(before) or value != default
        meaning = setting.meaning.replace("`", "")
        if setting.secret:
            kind, default = "password", None
        own = PREFIX + before + setting.name.replace("_", ".")
        self.add(own, value, kind, meaning, is_set, default)
        if setting.name in KAFKA_NAMES:
            name = KAFKA_NAMES[setting.name]
            self.add(before + name, value, _KINDS.get(name, kind), meaning, is_set, default)
        if setting.name in _OF_AUTHORIZER and is_set:
            self.add(_OF_AUTHORIZER[setting.name], value, "unknown", meaning, True)


def _add_listeners(table: _Table, listeners: Sequence[ListenerSettings], broker: Broker) -> None:
    reached: list[str] = []
    listened: list[str] = []
    protocols: list[str] = []
    for each in listeners:
        host, port = broker.address(each.name) or (broker.host, broker.port)
        reached.append(f"{each.name}://{_host(host)}:{port}")
        listened.append(f"{each.name}://{_host(each.listen.host)}:{each.listen.port or port}")
        protocols.append(f"{each.name}:{each.protocol}")
    for name, values, kind, meaning in (
        ("advertised.listeners", reached, "list", "The addresses that clients connect to."),
        ("listeners", listened, "list", "The addresses that the broker listens on."),
        ("listener.security.protocol.map", protocols, "string", "The protocols of the listeners."),
    ):
        is_set = kind == "list" or not listeners[0].is_implied
        table.add(name, ",".join(values), kind, meaning, is_set)


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
            return ",".join(_item(each) for each in value), "list"
        case Listen():
            return value.endpoint, "string"
    return str(value), "string"


def _item(value: object) -> str:
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
