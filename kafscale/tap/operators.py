"""
The HTTP server of a broker, with its metrics and health.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from kafscale import __version__
from kafscale.config import Settings
from kafscale.config.kinds import LISTEN, NOWHERE
from kafscale.counts import TurnCounts
from kafscale.errors import SettingError
from kafscale.net.dispatch import Dispatch
from kafscale.net.factory import BrokerFactory
from kafscale.net.tls import Tls, TlsSettings, UnusableFiles
from kafscale.ops.credentials import Credentials
from kafscale.ops.exposition import Metrics
from kafscale.ops.health import Health, Reason, StoreHealth
from kafscale.ops.http import operators_site
from kafscale.ops.metric_values import (
    of_build,
    of_cache,
    of_certificates,
    of_connections,
    of_conversions,
    of_denials,
    of_disk_cache,
    of_groups,
    of_issuer_keys,
    of_log,
    of_logins,
    of_quotas,
    of_records,
    of_replicas,
    of_requests,
    of_s3,
    of_stores,
    of_turns,
    of_walker,
)
from kafscale.tap.authentication import Authentication
from kafscale.tap.listeners import CHECK_SECONDS
from kafscale.tap.listening import address_of, is_local, take_port
from kafscale.tap.node import Node
from kafscale.tap.stores import Stores
from kafscale.wire.record_walk import is_compiled

DEFAULT_ADDRESS = LISTEN.parse("127.0.0.1:9308")
"""The address if C{KAFSCALE_METRICS_ADDR} is not set."""


class Operators:
    """
    The HTTP server, from before the broker recovers until it has stopped.

    @ivar turns: Counters of the reactor's turns, which the broker counts when it is ready.
    """

    _log = Logger()

    def __init__(self, stores: Stores, unready: Reason, unhealthy: Reason, reactor: Any) -> None:
        """
        @param stores: The stores to probe, and whose operations to show.
        @param unready: See L{Health}.
        @param unhealthy: See L{Health}.
        @param reactor: Listens, and times the probes.
        """
        self._reactor = reactor
        probed = [StoreHealth(each.counts, each.ask, reactor, monotonic) for each in stores.probed]
        self._health = Health(probed, unready, unhealthy)
        self._metrics = Metrics(reactor)
        self._metrics.add(partial(of_build, __version__, platform.python_version()))
        self._metrics.add(partial(of_walker, is_compiled))
        self.turns = TurnCounts()
        self._metrics.add(partial(of_turns, self.turns))
        self._metrics.add(partial(of_stores, [each.counts for each in stores.probed]))
        if stores.disk_cache is not None:
            self._metrics.add(partial(of_disk_cache, stores.disk_cache))
        self._metrics.add(partial(of_s3, stores.requests))
        self._port: Any = None
        self._asks = False  # for a token or a user
        self._tls: Tls | None = None
        self._checking: IDelayedCall | None = None

    def listen(self, settings: Settings) -> list[str]:
        """
        Take the port. If the default port is in use the broker goes without
        the server: two brokers on one machine are not a mistake.

        @return: A warning about that, if there is one.
        @raise SettingError: The address that was set cannot be used.
        """
        asked = settings.metrics_addr
        if asked == NOWHERE:
            return []
        credentials = _credentials_of(settings)
        self._asks = bool(credentials.challenges)
        site: Any = operators_site(self._metrics, self._health, self._reactor, credentials)
        self._tls = _tls_of(settings, self._reactor.seconds())
        if self._tls is not None:
            site = TLSMemoryBIOFactory(self._tls, False, site, self._reactor)
            self._check_later()
        try:
            self._port = take_port(self._reactor, (asked or DEFAULT_ADDRESS).endpoint, site)
        except SettingError as error:
            if asked is None:
                return [
                    f"no HTTP server for /metrics, /healthz and /readyz: {error}; set"
                    " KAFSCALE_METRICS_ADDR to another address, or to off"
                ]
            raise SettingError(f"{error}; choose another with KAFSCALE_METRICS_ADDR") from None
        return []

    def _check_later(self) -> None:
        self._checking = self._reactor.callLater(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        """
        Take a certificate that has changed.
        """
        assert self._tls is not None
        self._tls.check(self._reactor.seconds())
        self._check_later()

    def _expiries(self) -> list[tuple[str, float]]:
        return [] if self._tls is None else [("HTTP", self._tls.expires)]

    def log_address(self) -> None:
        """
        Log where the server listens, if there is one, and what others can do there.
        """
        if self._port is None:
            return
        address = address_of(self._port.getHost())
        self._log.info("serving /metrics, /healthz and /readyz on {address}", address=address)
        if is_local(self._port.getHost()):
            return
        if not self._asks:
            self._log.warn(
                "anyone who reaches {address} can read /metrics: it asks for no token and no user"
                " (docs/security.md)",
                address=address,
            )
        elif self._tls is None:
            self._log.warn(
                "the token or the password for {address} can be read on the way: set"
                " KAFSCALE_METRICS_SSL_CERT (docs/security.md)",
                address=address,
            )

    def add_readings(
        self,
        node: Node,
        dispatch: Dispatch,
        factory: BrokerFactory,
        expiries: Callable[[], Sequence[tuple[str, float]]],
        authentication: Authentication,
    ) -> None:
        """
        Include the metrics of a broker that has recovered.

        @param expiries: When the certificate of each listener expires.
        @param authentication: Of clients.
        """
        log = node.log

        def names() -> dict[UUID, str]:
            return {each.topic_id: each.name for each in node.image.topics()}

        for reading in (
            partial(of_requests, dispatch),
            partial(of_connections, factory),
            partial(of_certificates, lambda: [*expiries(), *self._expiries()]),
            partial(of_logins, authentication.counts),
            partial(of_denials, node.denials),
            partial(of_conversions, node.conversions),
            partial(of_quotas, node.quotas.counts),
            partial(of_log, log, names),
            partial(of_groups, node.coordinator, log, names),
            partial(of_cache, node.cache),
            partial(of_replicas, node.replicas),
            partial(of_records, node.records),
        ):
            self._metrics.add(reading)
        if authentication.keys is not None:
            self._metrics.add(
                partial(of_issuer_keys, authentication.keys, self._reactor.seconds)
            )

    async def stop(self) -> None:
        """
        Close the port.
        """
        if self._checking is not None:
            self._checking.cancel()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)


def _credentials_of(settings: Settings) -> Credentials:
    """
    What the settings ask for.

    @raise SettingError: They have a user without a password, or the reverse.
    """
    user, password = settings.metrics_user, settings.metrics_password
    if (user is None) != (password is None):
        raise SettingError("KAFSCALE_METRICS_USER and KAFSCALE_METRICS_PASSWORD need each other")
    named = None if user is None or password is None else (user, password)
    return Credentials(settings.metrics_token, named)


def _tls_of(settings: Settings, now: float) -> Tls | None:
    """
    The certificate of the HTTP server, if it has one.

    @param now: The time, in seconds since 1970.
    @raise SettingError: It cannot be used.
    """
    certificate, key = settings.metrics_ssl_cert, settings.metrics_ssl_key
    if certificate is None:
        return None
    try:
        return Tls(TlsSettings("the HTTP server", certificate, key or certificate), now)
    except UnusableFiles as error:
        raise SettingError(f"the HTTP server has no certificate: {error}") from None
