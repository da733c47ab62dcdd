"""
What belongs to no other family: versions, producer ids, quotas, resources, security.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafscale.wire.messages import (
    ApiVersionsRequest,
    DescribeClientQuotasRequest,
    InitProducerIdRequest,
    ListConfigResourcesRequest,
    SaslHandshakeRequest,
)
from tests.differential.talk import Case, Talk
from tests.differential.versions import each_version


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
    for components, strict in (
        ([], False),
        ([component(entity_type="user", match_type=0, match=talk.name("u"))], False),
        ([component(entity_type="user", match_type=0, match=talk.name("u"))], True),
        ([component(entity_type="user", match_type=1, match=None)], True),
        ([component(entity_type="user", match_type=2, match=None)], True),
        ([component(entity_type="ip", match_type=2, match=None)], False),
        ([component(entity_type="x", match_type=2, match=None)], False),
        ([component(entity_type="", match_type=2, match=None)], False),
        ([component(entity_type="user", match_type=7, match=None)], False),
        ([component(entity_type="user", match_type=0, match=None)], False),
        ([component(entity_type="user", match_type=2, match=None)] * 2, False),
    ):
        talk.ask(DescribeClientQuotasRequest(components=components, strict=strict), version)


def _resources(version: int, talk: Talk) -> None:
    kinds = [[16], [4], [8], [32], [4, 16], [3], [0]] if version else [[]]
    for each in kinds:
        talk.ask(ListConfigResourcesRequest(resource_types=each), version)


def _handshake(version: int, talk: Talk) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "", "x"):
        talk.ask(SaslHandshakeRequest(mechanism=mechanism), version)


def _cases() -> Iterator[Case]:
    yield from each_version("various/api versions", ApiVersionsRequest, _versions)
    yield from each_version("various/producer ids", InitProducerIdRequest, _producer_ids)
    yield from each_version("various/quotas", DescribeClientQuotasRequest, _quotas)
    yield from each_version("various/resources", ListConfigResourcesRequest, _resources)
    yield from each_version("various/handshake", SaslHandshakeRequest, _handshake)


CASES = list(_cases())
