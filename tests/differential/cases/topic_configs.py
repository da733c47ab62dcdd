"""
Configurations: every one of a topic, with right and wrong values; all operations.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from kafscale.wire.messages import (
    AlterConfigsRequest,
    DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
)
from tests.differential.talk import Case, Talk
from tests.differential.versions import each_version, newest, versions

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)

NUMBERS = ["", "x", "1.5", "0", "-1", "-2", "1", "100", " 7 ", "2147483647", "2147483648"]
LONGS = [*NUMBERS, "9223372036854775807", "9223372036854775808"]
BOOLEANS = ["", "x", "true", "false", "TRUE", "1"]
POLICIES = ["", "delete", "compact", "compact,delete", "delete,compact", "delete,delete"]
POLICIES += ["x", "delete,x", "DELETE", " delete , compact ", ","]
CODECS = ["", "producer", "uncompressed", "gzip", "snappy", "lz4", "zstd", "none", "x", "GZIP"]
RATIOS = ["", "x", "0", "0.5", "1", "1.5", "-0.5", "NaN"]

#: The configurations of a topic, and values to try.
VALUES: dict[str, list[str]] = {
    "cleanup.policy": POLICIES,
    "compression.type": CODECS,
    "compression.gzip.level": [*NUMBERS, "9", "10"],
    "compression.lz4.level": [*NUMBERS, "17", "18"],
    "compression.zstd.level": [*NUMBERS, "22", "23", "-131072", "-131073"],
    "delete.retention.ms": LONGS,
    "file.delete.delay.ms": LONGS,
    "flush.messages": LONGS,
    "flush.ms": LONGS,
    "follower.replication.throttled.replicas": ["", "*", "0:1", "0:1,1:1", "x", "0:1,x", "none"],
    "leader.replication.throttled.replicas": ["", "*", "0:1", "0:1,1:1", "x", "0:1,x", "none"],
    "index.interval.bytes": NUMBERS,
    "max.compaction.lag.ms": LONGS,
    "max.message.bytes": NUMBERS,
    "message.timestamp.after.max.ms": LONGS,
    "message.timestamp.before.max.ms": LONGS,
    "message.timestamp.type": ["", "CreateTime", "LogAppendTime", "x", "createtime"],
    "min.cleanable.dirty.ratio": RATIOS,
    "min.compaction.lag.ms": LONGS,
    "min.insync.replicas": NUMBERS,
    "preallocate": BOOLEANS,
    "remote.storage.enable": BOOLEANS,
    "remote.log.copy.disable": BOOLEANS,
    "remote.log.delete.on.disable": BOOLEANS,
    "local.retention.bytes": LONGS,
    "local.retention.ms": LONGS,
    "retention.bytes": LONGS,
    "retention.ms": LONGS,
    "segment.bytes": [*NUMBERS, "1048575", "1048576", "13", "14"],
    "segment.index.bytes": NUMBERS,
    "segment.jitter.ms": LONGS,
    "segment.ms": LONGS,
    "unclean.leader.election.enable": BOOLEANS,
    # Configurations of earlier versions, and of none.
    "message.downconversion.enable": BOOLEANS,
    "message.format.version": ["3.0", "x"],
    "message.timestamp.difference.max.ms": ["1", "x"],
    "no.such": ["1"],
    "": ["1"],
}

CHANGED = IncrementalAlterConfigsRequest.Resource


def _change(
    name: str, *steps: tuple[str, int, str | None], kind: int = TOPIC, only: bool = False
) -> IncrementalAlterConfigsRequest:
    configs = [CHANGED.Config(name=n, config_operation=o, value=v) for n, o, v in steps]
    return IncrementalAlterConfigsRequest(
        resources=[CHANGED(resource_type=kind, resource_name=name, configs=configs)],
        validate_only=only,
    )


def _describe(
    *names: str,
    kind: int = TOPIC,
    keys: list[str] | None = None,
    synonyms: bool = False,
    documentation: bool = False,
) -> DescribeConfigsRequest:
    asked = DescribeConfigsRequest.Resource
    return DescribeConfigsRequest(
        resources=[
            asked(resource_type=kind, resource_name=n, configuration_keys=keys) for n in names
        ],
        include_synonyms=synonyms,
        include_documentation=documentation,
    )


def _values(name: str, values: list[str], talk: Talk) -> None:
    """
    Try values of a configuration: set, see, put back.
    """
    topic = talk.topic()
    version = newest(IncrementalAlterConfigsRequest)
    marker = "file.delete.delay.ms" if name == "flush.ms" else "flush.ms"
    for number, value in enumerate(values):
        mark = f"{1000 + number}"
        answer = talk.ask(_change(topic, (name, SET, value), (marker, SET, mark)), version)
        if answer.responses[0].error_code == 0:
            _until_set(talk, topic, marker, mark)
        talk.ask(_describe(topic, keys=[name]), newest(DescribeConfigsRequest))
    talk.ask(_change(topic, (name, DELETE, None)), version)


def _until_set(talk: Talk, topic: str, name: str, value: str) -> None:
    """
    Wait until a configuration has a value: that takes Kafka a moment.
    """

    def is_set() -> bool:
        (found,) = talk.call(_describe(topic, keys=[name]), 4).results
        return any(each.value == value for each in found.configs)

    talk.until(is_set)


#: Changes, one after the other, by what they are.
CHANGES: dict[str, list[list[tuple[str, int, str | None]]]] = {
    "delete what is not set": [[("retention.ms", DELETE, None)]],
    "delete with a value": [[("retention.ms", DELETE, "5")]],
    "delete what is unknown": [[("no.such", DELETE, None)]],
    "delete what is unknown, and set": [[("no.such", DELETE, None), ("retention.ms", SET, "7")]],
    "set to null": [[("retention.ms", SET, None)]],
    "append to a number": [[("retention.ms", APPEND, "7")]],
    "append to an unknown": [[("no.such", APPEND, "7")]],
    "append null": [[("cleanup.policy", APPEND, None)]],
    "append": [[("cleanup.policy", APPEND, "compact")]],
    "append what is there": [[("cleanup.policy", APPEND, "delete")]],
    "append a bad value": [[("cleanup.policy", APPEND, "x")]],
    "append to what is set": [
        [("cleanup.policy", SET, "compact")],
        [("cleanup.policy", APPEND, "delete")],
    ],
    "append two": [[("leader.replication.throttled.replicas", APPEND, "0:1,1:1")]],
    "subtract": [[("cleanup.policy", SUBTRACT, "delete")]],
    "subtract what is not there": [[("cleanup.policy", SUBTRACT, "compact")]],
    "subtract from what is set": [
        [("cleanup.policy", SET, "compact,delete")],
        [("cleanup.policy", SUBTRACT, "delete")],
    ],
    "subtract from a number": [[("retention.ms", SUBTRACT, "7")]],
    "subtract all": [
        [("leader.replication.throttled.replicas", SET, "0:1")],
        [("leader.replication.throttled.replicas", SUBTRACT, "0:1")],
    ],
    "operation 4": [[("retention.ms", 4, "7")]],
    "name twice": [[("retention.ms", SET, "7"), ("retention.ms", SET, "8")]],
    "name twice, two operations": [[("retention.ms", SET, "7"), ("retention.ms", DELETE, None)]],
    "nothing": [[]],
    "one good, one bad": [[("retention.ms", SET, "7"), ("segment.ms", SET, "x")]],
    "two": [[("retention.ms", SET, "7"), ("segment.ms", SET, "8")]],
    "both policies, then one": [
        [("cleanup.policy", SET, "compact,delete")],
        [("cleanup.policy", SET, "delete")],
    ],
    "lags crossed": [[("min.compaction.lag.ms", SET, "9"), ("max.compaction.lag.ms", SET, "5")]],
    "local above whole retention": [
        [("local.retention.ms", SET, "9"), ("retention.ms", SET, "5")]
    ],
}


def _changes(version: int, steps: list[list[tuple[str, int, str | None]]], talk: Talk) -> None:
    topic = talk.topic()
    for only in (True, False):
        for step in steps:
            talk.ask(_change(topic, *step, only=only), version)
    names = sorted({name for step in steps for name, _, _ in step})
    # The last change is seen by the one after it.
    talk.ask(_change(topic, ("flush.ms", SET, "77")), version)
    _until_set(talk, topic, "flush.ms", "77")
    talk.ask(_describe(topic, keys=[*names, "flush.ms"], synonyms=True), 4)


def _alter(name: str, kind: int = TOPIC, **configs: str | None) -> AlterConfigsRequest:
    asked = AlterConfigsRequest.Resource
    held = [asked.Config(name=n.replace("_", "."), value=v) for n, v in configs.items()]
    return AlterConfigsRequest(
        resources=[asked(resource_type=kind, resource_name=name, configs=held)],
        validate_only=False,
    )


def _replaced(version: int, talk: Talk) -> None:
    """
    AlterConfigs, which puts back what it does not name.
    """
    topic = talk.topic(retention_ms="5", segment_ms="6")
    talk.ask(_alter(topic, retention_ms="7"), version)
    _until_set(talk, topic, "retention.ms", "7")
    talk.ask(_describe(topic, keys=["retention.ms", "segment.ms"]), 4)
    talk.ask(_alter(topic, retention_ms="x"), version)
    talk.ask(_alter(topic, retention_ms=None), version)
    talk.ask(_alter(topic, no_such="1"), version)
    talk.ask(_alter(talk.name("missing"), retention_ms="1"), version)
    talk.ask(_alter("a/b", retention_ms="1"), version)
    talk.ask(_alter("", retention_ms="1"), version)
    talk.ask(_alter(topic, kind=1, retention_ms="1"), version)
    talk.ask(_alter(topic), version)
    # Not the same topic twice: Kafka never answers that.
    talk.ask(AlterConfigsRequest(resources=[], validate_only=False), version)


def _resources(version: int, talk: Talk) -> None:
    """
    Resources that are no topic, or none that exists.
    """
    step = ("retention.ms", SET, "7")
    talk.ask(_change(talk.name("missing"), step), version)
    talk.ask(_change("a/b", step), version)
    talk.ask(_change("", step), version)
    talk.ask(_change("77", step, kind=BROKER), version)
    talk.ask(_change("x", step, kind=BROKER), version)
    talk.ask(_change("1", ("no.such", DELETE, None), kind=BROKER), version)
    talk.ask(_change("x", step, kind=3), version)
    talk.ask(_change("x", step, kind=0), version)
    topic = talk.topic()
    (resource,) = _change(topic, step).resources
    talk.ask(
        IncrementalAlterConfigsRequest(resources=[resource, resource], validate_only=False),
        version,
    )
    talk.ask(IncrementalAlterConfigsRequest(resources=[], validate_only=False), version)


#: Configurations of a broker with values that are the same everywhere.
BROKER_CONFIGS = [
    "broker.id",
    "node.id",
    "group.initial.rebalance.delay.ms",
    "no.such",
]

#: Those with defaults that are the same, too.
BROKER_DEFAULTS = [
    "broker.rack",
    "connection.failed.authentication.delay.ms",
    "connections.max.idle.ms",
    "connections.max.reauth.ms",
    "controller.quota.window.num",
    "controller.quota.window.size.seconds",
    "delegation.token.expiry.check.interval.ms",
    "delegation.token.expiry.time.ms",
    "delegation.token.max.lifetime.ms",
    "group.max.size",
    "num.partitions",
    "quota.window.num",
    "quota.window.size.seconds",
    "sasl.oauthbearer.clock.skew.seconds",
    "sasl.oauthbearer.expected.issuer",
    "sasl.oauthbearer.jwks.endpoint.refresh.ms",
    "sasl.oauthbearer.jwks.endpoint.url",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
    "sasl.server.max.receive.size",
    "socket.request.max.bytes",
    "ssl.client.auth",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.principal.mapping.rules",
    "ssl.truststore.location",
]


def _described(version: int, talk: Talk) -> None:
    topic = talk.topic(retention_ms="5", cleanup_policy="compact,delete")
    flags: dict[str, Any] = {"synonyms": version >= 1, "documentation": version >= 3}
    talk.ask(_describe(topic), version)
    talk.ask(_describe(topic, **flags), version)
    talk.ask(_describe(topic, keys=[]), version)
    talk.ask(_describe(topic, keys=["retention.ms", "no.such", "retention.ms"]), version)
    talk.ask(_describe(talk.name("missing")), version)
    talk.ask(_describe("a/b"), version)
    talk.ask(_describe(""), version)
    talk.ask(_describe(topic, topic, keys=["retention.ms"]), version)
    talk.ask(_describe(), version)
    talk.ask(_describe("77", kind=BROKER), version)
    talk.ask(_describe("x", kind=BROKER), version)
    talk.ask(_describe("1", kind=BROKER, keys=BROKER_CONFIGS), version)
    talk.ask(_describe("1", kind=BROKER, keys=BROKER_DEFAULTS, **flags), version)
    talk.ask(_describe("x", kind=3), version)
    talk.ask(_describe("x", kind=0), version)


def _cases() -> Iterator[Case]:
    for name, values in VALUES.items():
        yield Case(
            f"configs/{name or 'no name'}", functools.partial(_values, name, values)
        )
    for name, steps in CHANGES.items():
        for version in versions(IncrementalAlterConfigsRequest):
            yield Case(
                f"configs/change: {name}, version {version}",
                functools.partial(_changes, version, steps),
            )
    yield from each_version("configs/replace", AlterConfigsRequest, _replaced)
    yield from each_version("configs/resources", IncrementalAlterConfigsRequest, _resources)
    yield from each_version("configs/describe", DescribeConfigsRequest, _described)


CASES = list(_cases())
