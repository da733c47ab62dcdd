"""
The issuer of tokens for OAUTHBEARER, as the settings have it.

It is imported where there is one: JSON Web Tokens and HTTP take a while to import.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import treq
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent

from kafscale.access.authentication.jwks import ALGORITHMS, MAX_BYTES, InvalidKeys, Jwks
from kafscale.access.authentication.tokens import TokenJudge, TokenRules
from kafscale.config import Settings
from kafscale.errors import SettingError
from kafscale.store.http import Endpoints, trust_root

FETCH_SECONDS = 10.0
"""Timeout of reading the keys of an issuer, in seconds."""

_PREFIX = "sasl_oauthbearer_"


def issuer_of(settings: Settings, reactor: Any) -> tuple[Jwks, TokenJudge]:
    """
    The issuer's keys, and the judge of its tokens.

    @raise SettingError: A setting is missing or not valid.
    """
    for name in ("jwks_endpoint_url", "expected_issuer", "expected_audience"):
        if getattr(settings, _PREFIX + name) is None:
            raise SettingError(f"OAUTHBEARER requires KAFSCALE_{(_PREFIX + name).upper()}")
    unstated = settings.sasl_oauthbearer_unstated_algorithms or ()
    unknown = sorted(set(unstated) - ALGORITHMS.keys())
    if unknown:
        raise SettingError(
            f"KAFSCALE_SASL_OAUTHBEARER_UNSTATED_ALGORITHMS: {', '.join(unknown)} is not known;"
            f" accepted are {', '.join(ALGORITHMS)}"
        )
    source = settings.sasl_oauthbearer_jwks_endpoint_url or ""
    interval = settings.sasl_oauthbearer_jwks_endpoint_refresh_ms / 1000
    keys = Jwks(_fetcher(settings, source, reactor), reactor, source, interval, unstated)
    return keys, TokenJudge(keys, _token_rules(settings), time.time)


def _fetcher(settings: Settings, source: str, reactor: Any) -> Callable[[], Awaitable[bytes]]:
    """
    What reads the keys from a URL or a file.
    """
    if not re.match(r"https?:", source):
        return partial(deferToThread, _read, os.path.abspath(source))
    trust = trust_root(settings.sasl_oauthbearer_ca) if source.startswith("https:") else None
    agent = Agent.usingEndpointFactory(  # type: ignore[no-untyped-call]
        reactor, Endpoints(reactor, trust)
    )
    return partial(_fetch, treq.client.HTTPClient(agent), source, reactor)


def _token_rules(settings: Settings) -> TokenRules:
    return TokenRules(
        settings.sasl_oauthbearer_expected_issuer or "",
        settings.sasl_oauthbearer_expected_audience or (),
        settings.sasl_oauthbearer_sub_claim_name,
        settings.sasl_oauthbearer_scope_claim_name,
        settings.sasl_oauthbearer_required_scope or (),
        settings.sasl_oauthbearer_clock_skew_seconds,
    )


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_BYTES)


async def _fetch(client: Any, url: str, reactor: Any) -> bytes:
    """
    The body of a page.

    @raise InvalidKeys: The server answers with something else.
    """
    getting: Deferred[Any] = client.get(url, headers={"Accept": "application/json"})
    response = await getting.addTimeout(FETCH_SECONDS, reactor)
    if response.code != 200:
        raise InvalidKeys(f"the server answers {response.code}")
    pieces: list[bytes] = []
    size = 0

    def take(piece: bytes) -> None:
        nonlocal size
        size += len(piece)
        if size <= MAX_BYTES:
            pieces.append(piece)

    collecting: Deferred[Any] = treq.collect(response, take)
    await collecting.addTimeout(FETCH_SECONDS, reactor)
    if size > MAX_BYTES:
        raise InvalidKeys(f"it has more than {MAX_BYTES} bytes")
    return b"".join(pieces)
