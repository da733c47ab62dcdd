"""
What belongs to no other family: versions, producer ids, quotas, resources, security.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan
from typing import Any

from kafscale.wire.messages import (
    AlterClientQuotasRequest,
    ApiVersionsRequest,
    CreateDelegationTokenRequest,
    DescribeClientQuotasRequest,
    InitProducerIdRequest,
    ListConfigResourcesRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
)
from tests.clients.requests import token_requests
from tests.differential.talk import Case, Talk
from tests.differential.versions import each_version, versions


def _versions(version: int, talk: Talk) -> None:
    names: dict[str, Any] = {"client_software_name": "a-client", "client_software_version": "1.2.3"}
    talk.ask(ApiVersionsRequest(**names), version)
    if version >= 3:
        for name in ("", "a client", "-x", "x" * 300):
            talk.ask(ApiVersionsRequest(**{**names, "client_software_name": name}), version)


def _producer_ids(version: int, talk: Talk) -> None:
    talk.producer()
    for producer, epoch in ((-1, -1), (5, -1), (-1, 5), (5, 5)):
        talk.ask(
            InitProducerIdRequest(
                transactional_id=None,
                transaction_timeout_ms=60_000,
                producer_id=producer,
                producer_epoch=epoch,
            ),
            version,
        )
    talk.ask(InitProducerIdRequest(transactional_id="", transaction_timeout_ms=60_000), version)
    talk.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=-1), version)


def _quotas(version: int, talk: Talk) -> None:
    component = DescribeClientQuotasRequest.Component
    # None that finds what another conversation sets meanwhile.
    for components, strict in (
        ([], True),
        ([component(entity_type="user", match_type=0, match=talk.name("u"))], False),
        ([component(entity_type="user", match_type=0, match=talk.name("u"))], True),
        ([component(entity_type="user", match_type=1, match=None)], True),
        ([component(entity_type="client-id", match_type=2, match=None)], True),
        ([component(entity_type="ip", match_type=1, match=None)], False),
        ([component(entity_type="x", match_type=2, match=None)], False),
        ([component(entity_type="", match_type=2, match=None)], False),
        ([component(entity_type="user", match_type=7, match=None)], False),
        ([component(entity_type="user", match_type=0, match=None)], False),
        ([component(entity_type="user", match_type=2, match=None)] * 2, False),
    ):
        talk.ask(DescribeClientQuotasRequest(components=components, strict=strict), version)


def _alter_quotas(version: int, talk: Talk) -> None:
    entry = AlterClientQuotasRequest.Entry
    component = DescribeClientQuotasRequest.Component
    # Conversations of several versions go on at the same time.
    user, host = talk.name("u"), f"10.1.2.{version}"
    produce, connect = "producer_byte_rate", "connection_creation_rate"
    for parts, ops in (
        ([("user", user)], [(produce, 1e9), ("request_percentage", 12.5)]),
        ([("user", user), ("client-id", None)], [("controller_mutation_rate", 0.5)]),
        ([("ip", host)], [(connect, 1e6)]),
        ([("user", "b"), ("user", user)], [(produce, 2e9)]),
        ([("user", user)], [("request_percentage", None), ("consumer_byte_rate", None)]),
        ([("ip", "10.0.0.0/8")], [(connect, 8.0)]),
        ([("ip", "localhost")], [(connect, 1e6)]),
        ([("ip", host)], [(connect, 8.5)]),
        ([("ip", host)], [(connect, 3e9)]),
        ([("ip", host)], [(produce, 8.0)]),
        ([("user", user)], [(connect, 8.0)]),
        ([("user", user)], [("x", 8.0)]),
        ([("user", user)], [("x", None)]),
        ([("user", user)], [(produce, 0.0)]),
        ([("user", user)], [(produce, 1.5)]),
        ([("user", user)], [(produce, 1e19)]),
        ([("user", user)], [(produce, nan)]),
        ([("user", user)], [("request_percentage", inf)]),
        ([("user", user)], [(produce, 1.0), (produce, 2.0)]),
        ([("user", user)], [("consumer_byte_rate", 1e9), ("x", 1.0)]),
        ([("x", "a")], [(produce, 1.0)]),
        ([("user", "")], [(produce, 1.0)]),
        ([], [(produce, 1.0)]),
        ([("ip", host), ("user", user)], [(connect, 1.0)]),
    ):
        entity = [entry.Entity(entity_type=kind, entity_name=name) for kind, name in parts]
        changes = [
            entry.Op(key=key, value=value or 0.0, remove=value is None) for key, value in ops
        ]
        for validate_only in (True, False):
            request = AlterClientQuotasRequest(
                entries=[entry(entity=entity, ops=changes)], validate_only=validate_only
            )
            talk.ask(request, version)
    # Kafka answers before a change is in force; the last one is some requests ago.
    for kind, name in (("user", user), ("ip", host)):
        wanted = component(entity_type=kind, match_type=0, match=name)
        talk.ask(DescribeClientQuotasRequest(components=[wanted], strict=True), version)
    for parts, keys in (
        ([("user", user)], [produce]),
        ([("user", user), ("client-id", None)], ["controller_mutation_rate"]),
        ([("ip", host)], [connect]),
        ([("ip", "localhost")], [connect]),
    ):
        entity = [entry.Entity(entity_type=kind, entity_name=name) for kind, name in parts]
        changes = [entry.Op(key=key, value=0.0, remove=True) for key in keys]
        request = AlterClientQuotasRequest(
            entries=[entry(entity=entity, ops=changes)], validate_only=False
        )
        talk.ask(request, version)


def _resources(version: int, talk: Talk) -> None:
    kinds = [[16], [4], [8], [32], [4, 16], [3], [0]] if version else [[]]
    for each in kinds:
        talk.ask(ListConfigResourcesRequest(resource_types=each), version)


def _handshake(version: int, talk: Talk) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "", "x"):
        talk.ask(SaslHandshakeRequest(mechanism=mechanism), version)


def _authenticate(version: int, talk: Talk) -> None:
    talk.ask(SaslAuthenticateRequest(auth_bytes=b"\0alice\0secret"), version)


def _tokens(version: int, talk: Talk) -> None:
    """
    A client that has not authenticated; tests.differential.tokens has others.
    """
    for request in token_requests():
        if version in versions(type(request)):
            talk.ask(request, version)
    other = CreateDelegationTokenRequest(renewers=[], max_lifetime_ms=0)
    if version >= 3:
        other.owner_principal_type, other.owner_principal_name = "User", "ann"
    talk.ask(other, version)


def _cases() -> Iterator[Case]:
    yield from each_version("various/api versions", ApiVersionsRequest, _versions)
    yield from each_version("various/producer ids", InitProducerIdRequest, _producer_ids)
    yield from each_version("various/quotas", DescribeClientQuotasRequest, _quotas)
    yield from each_version("various/alter quotas", AlterClientQuotasRequest, _alter_quotas)
    yield from each_version("various/resources", ListConfigResourcesRequest, _resources)
    yield from each_version("various/handshake", SaslHandshakeRequest, _handshake)
    yield from each_version("various/authenticate", SaslAuthenticateRequest, _authenticate)
    yield from each_version("various/tokens", CreateDelegationTokenRequest, _tokens)


CASES = list(_cases())
