"""
The declaration of every setting, in the order of help and documentation. The module is
long because it is a table.
"""

# The defaults of Settings are made by setting, which is attrs.field underneath:
# ruff: noqa: RUF009

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from kafscale.config.kinds import (
    ADVERTISED,
    ADVERTISED_LISTENERS,
    BOOLEAN,
    BUCKET,
    COUNTS,
    GIB,
    KEYS,
    KIB,
    LISTEN,
    LISTEN_OR_OFF,
    LISTENER_NAME,
    LISTENERS,
    MIB,
    NAMESPACE,
    NETWORKS,
    PATH,
    PRINCIPALS,
    PROTOCOL_MAP,
    TEXT,
    URL,
    URLS,
    WORDS,
    Listen,
    NamedAddress,
    choice,
    choices,
    fraction,
    is_wildcard,
    number,
    size,
)
from kafscale.config.needs import Need
from kafscale.config.setting import Setting, setting

MAX_SLOTS_IN_FLIGHT = 64
"""The highest value of C{KAFSCALE_SLOTS_IN_FLIGHT}."""

_INT = 2**31 - 1
_LONG = 2**63 - 1

_network = partial(setting, "Network")
_tls = partial(setting, "TLS", by_listener=True, needs=[Need.TLS])
_sasl = partial(setting, "Authentication", needs=[Need.SASL])
_passwords = partial(setting, "Authentication", needs=[Need.PASSWORDS])
_peer_login = partial(setting, "Authentication", needs=[Need.SASL_BETWEEN_BROKERS])
_delegation = partial(setting, "Authentication", needs=[Need.SCRAM])
_tokens = partial(setting, "Authentication", needs=[Need.TOKENS])
_authorization = partial(setting, "Authorization")
_storage = partial(setting, "Storage")
_s3 = partial(setting, "S3", needs=[Need.BUCKET])
_etcd = partial(setting, "etcd", needs=[Need.ETCD])
_cluster = partial(setting, "Cluster")
_log = partial(setting, "Log")
_reading = partial(setting, "Reading")
_topics = partial(setting, "Topics")
_groups = partial(setting, "Consumer groups")
_process = partial(setting, "HTTP, logging and shutdown")


@attrs.frozen(kw_only=True)
class Settings:
    """
    The value of every setting. Sizes are in bytes; times are in milliseconds
    unless the name says otherwise.
    """

    broker_addr: Listen = _network(
        LISTEN,
        "127.0.0.1:9092",
        "Address to listen on: `host:port`, `[IPv6 address]:port`, or a Twisted endpoint string"
        " such as `tcp:9092:interface=10.0.0.1`. `0.0.0.0:9092` and `:9092` listen on all IPv4"
        " interfaces; port 0 selects a free port.",
    )
    broker_host: str | None = _network(
        ADVERTISED,
        "",
        "Host name or IP address that the broker advertises to clients, which must be able to"
        " connect to it.",
        otherwise="the host in `KAFSCALE_BROKER_ADDR`, or this machine's host name if that is all"
        " interfaces",
    )
    broker_port: int | None = _network(
        number(1, 65535),
        "",
        "Port that the broker advertises to clients.",
        otherwise="the port that it listens on",
    )
    listeners: tuple[NamedAddress, ...] | None = _network(
        LISTENERS,
        "",
        "Listeners of the broker, for example `INTERNAL://10.0.0.1:9092,EXTERNAL://:9093` (Kafka's"
        " `listeners`). They take the place of the one in `KAFSCALE_BROKER_ADDR`. Without a host:"
        " all IPv4 interfaces.",
        otherwise="one listener on `KAFSCALE_BROKER_ADDR`, called `PLAINTEXT`",
    )
    advertised_listeners: tuple[NamedAddress, ...] | None = _network(
        ADVERTISED_LISTENERS,
        "",
        "Addresses that the broker advertises, by listener (Kafka's `advertised.listeners`): a"
        " client is given the addresses of the listener that it has connected to.",
        otherwise="where each listener listens; for all interfaces `KAFSCALE_BROKER_HOST`, or this"
        " machine's host name",
        needs=[Need.LISTENERS],
    )
    listener_security_protocol_map: tuple[str, ...] | None = _network(
        PROTOCOL_MAP,
        "",
        "Protocol of each listener, for example `INTERNAL:PLAINTEXT,EXTERNAL:SSL` (Kafka's"
        " `listener.security.protocol.map`).",
        otherwise="listeners are named after their protocols",
        needs=[Need.LISTENERS],
    )
    inter_broker_listener_name: str | None = _network(
        LISTENER_NAME,
        "",
        "Listener on which brokers connect to one another (Kafka's"
        " `inter.broker.listener.name`).",
        otherwise="the first of `KAFSCALE_LISTENERS`",
    )
    max_connections: int = _network(
        number(0, 1_000_000),
        "20000",
        "Maximum number of client connections (Kafka's `max.connections`). Further connections are"
        " closed at once. 0: no limit. If it is set for a listener, that is the limit for its"
        " connections.",
        by_listener=True,
    )
    max_connections_per_ip: int = _network(
        number(0, 1_000_000),
        "0",
        "Maximum number of client connections from one address (Kafka's"
        " `max.connections.per.ip`). 0: no limit.",
    )
    max_connections_per_ip_overrides: tuple[tuple[str, int], ...] | None = _network(
        COUNTS,
        "",
        "Maximum number of client connections from single addresses, for example"
        " `10.0.0.1:1000,10.0.0.2:0` (Kafka's `max.connections.per.ip.overrides`). 0: no limit.",
    )
    connections_max_idle_ms: int = _network(
        number(0, 2**31 - 1, "milliseconds"),
        "600000",
        "Time without a request after which a client connection is closed (Kafka's"
        " `connections.max.idle.ms`). 0: never.",
    )
    max_request_bytes: int = _network(
        size(KIB, 2**31 - 1),
        "100MiB",
        "Maximum size of a request (Kafka's `socket.request.max.bytes`). The connection of a larger"
        " one is closed.",
    )

    proxy_protocol_from: tuple[str, ...] | None = _network(
        NETWORKS,
        "",
        "Addresses of load balancers whose connections begin with a header of the PROXY protocol,"
        " version 1 or 2, which names the client's address. From other addresses no header is"
        " accepted. It can be set for one listener.",
        by_listener=True,
    )

    ssl_cert: str | None = _tls(
        PATH,
        "",
        "Certificate of the broker (PEM), followed by its intermediate certificates. Listeners"
        " whose protocol is SSL or SASL_SSL need it. A file that changes is read again, without a"
        " restart. This setting and those below can be set for one listener:"
        " `KAFSCALE_LISTENER_NAME_EXTERNAL_SSL_CERT`.",
    )
    ssl_key: str | None = _tls(
        PATH,
        "",
        "Private key (PEM) of the certificate in `KAFSCALE_SSL_CERT`.",
        otherwise="in the file of the certificate",
    )
    ssl_key_password: str | None = _tls(
        TEXT,
        "",
        "Password of the private key, if it is encrypted (Kafka's `ssl.key.password`).",
        secret=True,
    )
    ssl_ca: str | None = _tls(
        PATH,
        "",
        "CA certificates (PEM) used to verify clients' certificates and, on the listener between"
        " brokers, those of other brokers.",
        otherwise="clients are not verified; other brokers with the system's CA certificates",
    )
    ssl_client_auth: str = _tls(
        choice("none", "requested", "required"),
        "none",
        "Whether clients present certificates (Kafka's `ssl.client.auth`). Other values than `none`"
        " need `KAFSCALE_SSL_CA`.",
    )
    ssl_principal_mapping_rules: str = _tls(
        TEXT,
        "DEFAULT",
        "Rules from the subject of a client's certificate to the name of its user (Kafka's"
        " `ssl.principal.mapping.rules`): `RULE:pattern/replacement/`, followed by `L` for lower or"
        " `U` for upper case, and `DEFAULT`, with commas between.",
        needs=[Need.TLS, Need.CERTIFIED_CLIENTS],
    )
    ssl_enabled_protocols: tuple[str, ...] = _tls(
        choices("TLSv1.2", "TLSv1.3"),
        "TLSv1.2,TLSv1.3",
        "Versions of TLS (Kafka's `ssl.enabled.protocols`).",
    )
    ssl_ciphers: str | None = _tls(
        TEXT,
        "",
        "Ciphers for TLS 1.2, as a list in OpenSSL's format, for example"
        " `ECDHE+AESGCM:ECDHE+CHACHA20`. TLS 1.3 has its own.",
        otherwise="forward secrecy and AES-GCM, ChaCha20 or AES-CBC",
        needs=[Need.TLS, Need.TLS_1_2],
    )

    sasl_enabled_mechanisms: tuple[str, ...] = _sasl(
        choices("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
        "SCRAM-SHA-256,SCRAM-SHA-512",
        "Mechanisms of listeners with SASL (Kafka's `sasl.enabled.mechanisms`). PLAIN and"
        " OAUTHBEARER send what they prove, so they belong on SASL_SSL.",
        by_listener=True,
    )
    connections_max_reauth_ms: int = _sasl(
        number(0, _LONG, "milliseconds"),
        "0",
        "Time after which a client has to authenticate again, or its connection is closed (Kafka's"
        " `connections.max.reauth.ms`). 0: never, unless what it has authenticated by ends.",
        by_listener=True,
    )
    connection_failed_authentication_delay_ms: int = _sasl(
        number(0, 60_000, "milliseconds"),
        "100",
        "Time that the answer to a failed authentication is held back, from when the client sent"
        " it (Kafka's `connection.failed.authentication.delay.ms`).",
        by_listener=True,
    )
    admin_user: str | None = _passwords(
        TEXT,
        "",
        "Name of the first user. The broker creates it at a start if the metadata store has no"
        " users yet. Requires `KAFSCALE_ADMIN_PASSWORD`.",
    )
    admin_password: str | None = _passwords(
        TEXT,
        "",
        "Password of `KAFSCALE_ADMIN_USER`. It is only used to create that user.",
        secret=True,
    )
    sasl_mechanism_inter_broker_protocol: str = _peer_login(
        attrs.evolve(choice("SCRAM-SHA-256", "SCRAM-SHA-512"), metavar="WORD"),
        "SCRAM-SHA-512",
        "Mechanism by which brokers log in to one another, if the listener between them has SASL"
        " (Kafka's `sasl.mechanism.inter.broker.protocol`).",
    )
    inter_broker_user: str | None = _peer_login(
        TEXT,
        "",
        "User as whom this broker logs in to others. Required on etcd if the listener between"
        " brokers has SASL.",
    )
    inter_broker_password: str | None = _peer_login(
        TEXT, "", "Password of `KAFSCALE_INTER_BROKER_USER`.", secret=True
    )
    users_file: str | None = _passwords(
        PATH,
        "",
        "File with users of PLAIN and SCRAM in addition to those in the metadata store, a line for"
        " each credential, as `python -m kafscale hash-password` makes them. Read at the start.",
    )
    sasl_oauthbearer_jwks_endpoint_url: str | None = _tokens(
        KEYS,
        "",
        "URL, or path of a file, with the issuer's keys (Kafka's"
        " `sasl.oauthbearer.jwks.endpoint.url`). OAUTHBEARER requires it, and the two below.",
    )
    sasl_oauthbearer_expected_issuer: str | None = _tokens(
        TEXT,
        "",
        "Issuer that tokens have to name (Kafka's `sasl.oauthbearer.expected.issuer`).",
    )
    sasl_oauthbearer_expected_audience: tuple[str, ...] | None = _tokens(
        WORDS,
        "",
        "Audiences, with commas between, of which tokens have to name one (Kafka's"
        " `sasl.oauthbearer.expected.audience`).",
    )
    sasl_oauthbearer_ca: str | None = _tokens(
        PATH,
        "",
        "CA certificates (PEM) used to verify the URL of the keys.",
        otherwise="the system's CA certificates",
        needs=[Need.TOKENS, Need.KEYS_BY_HTTPS],
    )
    sasl_oauthbearer_jwks_endpoint_refresh_ms: int = _tokens(
        number(1000, 2**31 - 1, "milliseconds"),
        "3600000",
        "Interval of reading the issuer's keys (Kafka's"
        " `sasl.oauthbearer.jwks.endpoint.refresh.ms`). A key that is not known is looked for at"
        " once.",
    )
    sasl_oauthbearer_clock_skew_seconds: int = _tokens(
        number(0, 600, "seconds"),
        "30",
        "Time that the issuer's clock may be ahead (Kafka's"
        " `sasl.oauthbearer.clock.skew.seconds`). It prolongs no token.",
    )
    sasl_oauthbearer_sub_claim_name: str = _tokens(
        TEXT,
        "sub",
        "Claim of tokens that is the user's name (Kafka's `sasl.oauthbearer.sub.claim.name`).",
    )
    sasl_oauthbearer_scope_claim_name: str = _tokens(
        TEXT,
        "scope",
        "Claim of tokens with their scopes (Kafka's `sasl.oauthbearer.scope.claim.name`).",
    )
    sasl_oauthbearer_required_scope: tuple[str, ...] | None = _tokens(
        WORDS, "", "Scopes, with commas between, all of which tokens have to have."
    )
    sasl_oauthbearer_unstated_algorithms: tuple[str, ...] | None = _tokens(
        WORDS,
        "",
        "Algorithms, with commas between, of keys that state none, for example `RS256`.",
        otherwise="such keys are not used",
    )

    delegation_token_secret_key: str | None = _delegation(
        TEXT,
        "",
        "Secret key from which the secrets of delegation tokens are made (Kafka's"
        " `delegation.token.secret.key`), the same on all brokers of a cluster. Without it there"
        " are no delegation tokens.",
        secret=True,
    )
    delegation_token_max_lifetime_ms: int = _delegation(
        number(1, _LONG // 2, "milliseconds"),
        "604800000",
        "Time after which a delegation token ends, however often it is renewed (Kafka's"
        " `delegation.token.max.lifetime.ms`).",
        needs=[Need.SCRAM, Need.DELEGATION_TOKENS],
    )
    delegation_token_expiry_time_ms: int = _delegation(
        number(1, _LONG // 2, "milliseconds"),
        "86400000",
        "Time after which a delegation token ends unless it is renewed (Kafka's"
        " `delegation.token.expiry.time.ms`).",
        needs=[Need.SCRAM, Need.DELEGATION_TOKENS],
    )
    delegation_token_expiry_check_interval_ms: int = _delegation(
        number(1000, 2**31 - 1, "milliseconds"),
        "3600000",
        "Interval of deleting delegation tokens that have ended (Kafka's"
        " `delegation.token.expiry.check.interval.ms`). They are refused from their end on.",
        needs=[Need.SCRAM, Need.DELEGATION_TOKENS],
    )

    authorizer: str = _authorization(
        choice("none", "acl"),
        "none",
        "Decides what clients may do. `acl`: access control lists, as Kafka's"
        " `StandardAuthorizer`, managed with `kafka-acls.sh`. `none`: every client may do"
        " everything. See docs/security.md.",
    )
    super_users: tuple[str, ...] | None = _authorization(
        PRINCIPALS,
        "",
        "Principals that may do everything whatever the ACLs say, for example"
        " `User:admin;User:CN=broker,O=Acme` (Kafka's `super.users`).",
        otherwise="none",
        needs=[Need.AUTHORIZER],
    )
    allow_everyone_if_no_acl_found: bool = _authorization(
        BOOLEAN,
        "0",
        "Whether every client may use a resource whose name no ACL matches (Kafka's"
        " `allow.everyone.if.no.acl.found`).",
        needs=[Need.AUTHORIZER],
    )

    data_dir: str = _storage(
        PATH,
        "./kafscale-data",
        "Directory of records and metadata. With `KAFSCALE_S3_BUCKET` it has only the metadata;"
        " with `KAFSCALE_ETCD_ENDPOINTS` it is not used. One broker at a time can use it. It"
        " belongs to one store and one `KAFSCALE_NAMESPACE`; a start with another is refused.",
    )
    namespace: str = _storage(
        NAMESPACE,
        "default",
        "Prefix of all keys in the object store and in etcd. Clusters that share a store need"
        " different namespaces. It cannot be changed for existing data.",
    )
    use_memory_s3: bool = _storage(
        BOOLEAN,
        "0",
        "Keep records and metadata in memory and discard them when the broker stops, for tests.",
    )

    s3_bucket: str | None = _s3(
        BUCKET,
        "",
        "Bucket for the records, in Amazon S3 or an S3-compatible store. Credentials are found"
        " where the AWS command line finds them.",
    )
    s3_moved_from: str | None = _s3(
        BUCKET,
        "",
        "Name of the bucket that all objects of the namespace were copied from, while no broker"
        " was running, into `KAFSCALE_S3_BUCKET`. Without it a start with another bucket is"
        " refused. Once a broker has started it has no effect, and can be unset.",
    )
    s3_region: str | None = _s3(
        TEXT,
        "",
        "Region of the bucket.",
        otherwise="`AWS_DEFAULT_REGION`, then the region of the AWS profile, then us-east-1",
    )
    s3_endpoint: str | None = _s3(
        URL,
        "",
        "URL of an S3-compatible store, for example `http://127.0.0.1:9000`.",
        otherwise="Amazon S3",
    )
    s3_path_style: bool | None = _s3(
        BOOLEAN,
        "",
        "Put the name of the bucket in the path of URLs (1) or in the host name (0).",
        otherwise="in the path if `KAFSCALE_S3_ENDPOINT` is set or the name contains a dot, else"
        " in the host name",
    )
    s3_ca_file: str | None = _s3(
        PATH,
        "",
        "CA certificates (PEM) used to verify the S3 endpoint.",
        otherwise="`AWS_CA_BUNDLE`, then the system's CA certificates",
        needs=[Need.BUCKET, Need.S3_BY_HTTPS],
    )
    s3_kms_arn: str | None = _s3(
        TEXT,
        "",
        "ARN of the KMS key with which S3 encrypts the objects.",
        otherwise="the bucket's own encryption",
    )
    s3_fencing: str = _s3(
        choice("create", "metadata"),
        "create",
        "How a broker that was replaced is prevented from writing. `create`: by the bucket, which"
        " must honour `If-None-Match: *`. `metadata`: by the metadata store, for buckets that do"
        " not.",
    )
    s3_checksum: str = _s3(
        choice("crc32c", "md5"),
        "crc32c",
        "Checksum that is sent with each object, so that the store refuses what was damaged on"
        " the way. `crc32c`: in `x-amz-checksum-crc32c`. `md5`: in `Content-MD5`, for stores that"
        " do not know that header.",
    )
    s3_concurrency: int = _s3(
        number(8, 1024),
        "64",
        "Maximum number of requests to S3 in progress. Waiting writes are sent before waiting"
        " reads. A start makes 64 at once, if it may, to find out whether creates race.",
    )

    etcd_endpoints: tuple[str, ...] | None = _etcd(
        URLS,
        "",
        "URLs of all members of the etcd cluster (3.4 or later) that stores the metadata. Several"
        " brokers can share it. Requires `KAFSCALE_S3_BUCKET`.",
    )
    etcd_username: str | None = _etcd(
        TEXT, "", "etcd user name, if authentication is enabled in etcd."
    )
    etcd_password: str | None = _etcd(
        TEXT,
        "",
        "etcd password.",
        secret=True,
    )
    etcd_ca: str | None = _etcd(
        PATH,
        "",
        "CA certificates (PEM) used to verify etcd.",
        otherwise="the system's CA certificates",
        needs=[Need.ETCD, Need.ETCD_BY_HTTPS],
    )
    etcd_cert: str | None = _etcd(
        PATH,
        "",
        "Client certificate (PEM) presented to etcd, followed by its intermediate certificates.",
        needs=[Need.ETCD, Need.ETCD_BY_HTTPS],
    )
    etcd_key: str | None = _etcd(
        PATH, "", "Private key (PEM) of the client certificate in `KAFSCALE_ETCD_CERT`.",
        needs=[Need.ETCD, Need.ETCD_BY_HTTPS],
    )

    broker_id: int = _cluster(
        number(0, 2**31 - 1), "0", "Id of this broker, unique in its cluster (Kafka's `broker.id`)."
    )
    broker_rack: str | None = _cluster(
        TEXT,
        "",
        "Rack or availability zone of this broker (Kafka's `broker.rack`). Partitions are spread"
        " over racks, and consumers are directed to a broker in the rack that their `client.rack`"
        " names.",
    )
    broker_weight: float = _cluster(
        fraction("0.001", "1000"),
        "1.0",
        "Share of the partitions and groups that this broker takes, relative to the others: a"
        " broker with weight 2 takes twice as many as one with weight 1.",
    )
    lease_seconds: int = _cluster(
        number(2, 600, "seconds"),
        "10",
        "Time after a broker's last heartbeat at which the others take over from it. Use the same"
        " value for all brokers.",
    )

    flush_interval_ms: int = _log(
        number(0, 60_000, "milliseconds"),
        "0",
        "Maximum time between two flushes of the journal, and so the longest that a batch is"
        " delayed. A full buffer is flushed earlier; after an idle period the delay is 10 ms,"
        " and for the only producer, if it waits for each answer, at most the time of a flush. 0:"
        " flush as soon as the previous flushes permit.",
        on_s3="50",
    )
    slot_bytes: int = _log(
        size(64 * KIB, 256 * MIB),
        "8MiB",
        "Size of waiting batches at which the journal is flushed without delay.",
    )
    slots_in_flight: int = _log(
        number(1, MAX_SLOTS_IN_FLIGHT),
        "4",
        "Maximum number of journal flushes in progress. Each can hold `KAFSCALE_SLOT_BYTES` of"
        " memory, in addition to `KAFSCALE_UNROLLED_BYTES`.",
        on_s3="16",
    )
    segment_bytes: int = _log(
        size(KIB, GIB),
        "64MiB",
        "Size of a partition's records in the journal at which they are written to a segment. A"
        " topic's `segment.bytes` applies if it is smaller.",
    )
    segment_ms: int = _log(
        number(100, 2**31 - 1, "milliseconds"),
        "7200000",
        "Age of a partition's records in the journal at which they are written to a segment. A"
        " topic's `segment.ms` applies if it is shorter.",
    )
    unrolled_bytes: int = _log(
        size(MIB, 64 * GIB),
        "96MiB",
        "Memory for records that are not in a segment yet. When it is full, the partition with the"
        " most such records is written to a segment. Recovery after a crash reads at most this"
        " many bytes of records.",
        on_s3="256MiB",
    )
    journal_slots: int = _log(
        number(16, 1_000_000),
        "4096",
        "Number of journal objects at which the records in the oldest ones are written to segments,"
        " so that the objects can be deleted.",
        on_s3="16384",
    )
    orphan_ms: int = _log(
        number(0, 2**31 - 1, "milliseconds"),
        "3600000",
        "Interval of garbage collection. An object found unreferenced in two consecutive scans is"
        " deleted. 0 disables it.",
    )

    cache_bytes: int = _reading(
        size(MIB, 1024 * GIB), "64MiB", "Memory for cached blocks of segments."
    )
    disk_cache_dir: str | None = _reading(
        PATH,
        "",
        "Directory for cached blocks of segments, which survives restarts. Each broker needs its"
        " own; its contents can be deleted. Requires `KAFSCALE_S3_BUCKET`.",
        needs=[Need.BUCKET],
    )
    disk_cache_bytes: int = _reading(
        size(MIB, 1024 * 1024 * GIB), "10GiB", "Maximum size of the cache in"
        " `KAFSCALE_DISK_CACHE_DIR`.",
    )  # fmt: skip
    readahead_segments: int = _reading(
        number(0, 64), "1", "Number of blocks of a segment to prefetch for sequential readers."
    )
    fetch_sessions: int = _reading(
        number(0, 1_000_000),
        "1000",
        "Maximum number of incremental fetch sessions (Kafka's"
        " `max.incremental.fetch.session.cache.slots`).",
    )

    auto_create_topics: bool = _topics(
        BOOLEAN,
        "1",
        "Create a missing topic when a client asks for its metadata and permits creation (Kafka's"
        " `auto.create.topics.enable`).",
    )
    auto_create_partitions: int = _topics(
        number(1, 10_000),
        "1",
        "Number of partitions of a topic that is created without saying how many (Kafka's"
        " `num.partitions`).",
    )
    log_retention_ms: int = _topics(
        number(-1, _LONG, "milliseconds"),
        "604800000",
        "Default of `retention.ms` for all topics, -1 for no limit (Kafka's `log.retention.ms`)."
        " Use the same value for all brokers, as for the defaults below.",
    )
    log_retention_bytes: int = _topics(
        size(-1, _LONG),
        "-1",
        "Default of `retention.bytes` for all topics, -1 for no limit (Kafka's"
        " `log.retention.bytes`).",
    )
    log_segment_bytes: int = _topics(
        size(MIB, _INT),
        "1GiB",
        "Default of `segment.bytes` for all topics (Kafka's `log.segment.bytes`)."
        " `KAFSCALE_SEGMENT_BYTES` applies if it is smaller.",
    )
    log_roll_ms: int = _topics(
        number(1, _LONG, "milliseconds"),
        "604800000",
        "Default of `segment.ms` for all topics (Kafka's `log.roll.ms`). `KAFSCALE_SEGMENT_MS`"
        " applies if it is shorter.",
    )
    log_cleanup_policy: tuple[str, ...] = _topics(
        choices("delete", "compact"),
        "delete",
        "Default of `cleanup.policy` for all topics (Kafka's `log.cleanup.policy`).",
    )
    compression_type: str = _topics(
        choice("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
        "producer",
        "Default of `compression.type` for all topics (Kafka's setting of the same name).",
    )
    message_max_bytes: int = _topics(
        size(0, _INT),
        "1048588",
        "Default of `max.message.bytes` for all topics (Kafka's `message.max.bytes`).",
    )
    log_message_timestamp_type: str = _topics(
        choice("CreateTime", "LogAppendTime"),
        "CreateTime",
        "Default of `message.timestamp.type` for all topics (Kafka's"
        " `log.message.timestamp.type`).",
    )
    log_message_timestamp_before_max_ms: int = _topics(
        number(0, _LONG, "milliseconds"),
        str(_LONG),
        "Default of `message.timestamp.before.max.ms` for all topics (Kafka's"
        " `log.message.timestamp.before.max.ms`).",
    )
    log_message_timestamp_after_max_ms: int = _topics(
        number(0, _LONG, "milliseconds"),
        "3600000",
        "Default of `message.timestamp.after.max.ms` for all topics (Kafka's"
        " `log.message.timestamp.after.max.ms`).",
    )

    group_initial_rebalance_delay_ms: int = _groups(
        number(0, 600_000, "milliseconds"),
        "3000",
        "Time that the first rebalance of a new group waits for more members (Kafka's"
        " `group.initial.rebalance.delay.ms`).",
    )
    group_min_session_timeout_ms: int = _groups(
        number(1, 2**31 - 1, "milliseconds"),
        "6000",
        "Minimum `session.timeout.ms` accepted from a consumer (Kafka's"
        " `group.min.session.timeout.ms`).",
    )
    group_max_session_timeout_ms: int = _groups(
        number(1, 2**31 - 1, "milliseconds"),
        "1800000",
        "Maximum `session.timeout.ms` accepted from a consumer (Kafka's"
        " `group.max.session.timeout.ms`).",
    )
    group_max_size: int = _groups(
        number(1, 2**31 - 1),
        "2147483647",
        "Maximum number of members of a group (Kafka's `group.max.size`).",
    )
    offset_metadata_max_bytes: int = _groups(
        size(0, MIB),
        "4096",
        "Maximum size of the metadata that a consumer commits with an offset (Kafka's"
        " `offset.metadata.max.bytes`).",
    )
    offsets_retention_minutes: int = _groups(
        number(1, 2**31 - 1, "minutes"),
        "10080",
        "Time for which committed offsets are kept after a group has lost its last member, or, in"
        " a group that never had members, after the commit (Kafka's"
        " `offsets.retention.minutes`).",
    )

    metrics_addr: Listen | None = _process(
        LISTEN_OR_OFF,
        "",
        "Address of the HTTP server for `/metrics`, `/healthz` and `/readyz`, in the same form as"
        " `KAFSCALE_BROKER_ADDR`; `off` disables it.",
        otherwise="`127.0.0.1:9308`, or, if that port is in use, none, with a warning",
    )
    metrics_ssl_cert: str | None = _process(
        PATH,
        "",
        "Certificate of the HTTP server (PEM), followed by its intermediate certificates. With it"
        " the server speaks HTTPS. A file that changes is read again, without a restart.",
        otherwise="none: the server speaks HTTP",
        needs=[Need.HTTP],
    )
    metrics_ssl_key: str | None = _process(
        PATH,
        "",
        "Private key (PEM) of the certificate in `KAFSCALE_METRICS_SSL_CERT`.",
        otherwise="in the file of the certificate",
        needs=[Need.HTTP, Need.HTTPS],
    )
    metrics_token: str | None = _process(
        TEXT,
        "",
        "Bearer token that the HTTP server asks for, except for `/healthz` and `/readyz`.",
        otherwise="none is asked for",
        secret=True,
        needs=[Need.HTTP],
    )
    metrics_user: str | None = _process(
        TEXT,
        "",
        "User that the HTTP server asks for (basic authentication), except for `/healthz` and"
        " `/readyz`; beside a token either will do. Requires `KAFSCALE_METRICS_PASSWORD`.",
        otherwise="none is asked for",
        needs=[Need.HTTP],
    )
    metrics_password: str | None = _process(
        TEXT, "", "Password of `KAFSCALE_METRICS_USER`.", secret=True,
        needs=[Need.HTTP],
    )
    log_level: str = _process(
        choice("debug", "info", "warn", "error"), "info", "Minimum level of the messages to log."
    )
    compiled: str = _process(
        choice("auto", "require", "off"),
        "auto",
        "Whether compiled modules walk over the records of batches, and write small files into"
        " the data directory. `auto`: if they were built when Kafscale was installed; otherwise"
        " Python does the same, walking some 400 times slower. `require`: without them the broker"
        " does not start. `off`: never.",
    )
    shutdown_ms: int = _process(
        number(0, 600_000, "milliseconds"),
        "8000",
        "Maximum time for a clean shutdown: handing over partitions, answering requests in"
        " progress and flushing the journal.",
    )

    by_listener: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, repr=False)
    """Values of settings for single listeners: the listener's name, as it stands in
    variables, to the setting's name to the value."""

    given: Mapping[tuple[str, str], str] = attrs.field(factory=dict, eq=False, repr=False)
    """Where each setting that was given comes from, a variable or an option, by the listener
    (empty: for all) and the setting's name."""

    def fencing(self) -> str:
        """
        How a replaced broker is prevented from writing, C{create} or
        C{metadata}. Stores other than buckets always support C{create}.
        """
        return self.s3_fencing if self.s3_bucket else "create"

    def advertised_host(self, hostname: Callable[[], str] = socket.gethostname) -> str:
        """
        The host that clients are to connect to.

        @param hostname: Returns the name of this machine.
        """
        if self.broker_host is not None:
            return self.broker_host
        host = self.broker_addr.host
        return hostname() if is_wildcard(host) else host


SETTINGS: Sequence[Setting] = [
    Setting(each.name, *each.metadata["setting"])
    for each in attrs.fields(Settings)
    if "setting" in each.metadata
]
"""All settings, in the order in which they are declared."""
