"""
What those who operate a broker can see of it.
"""

from __future__ import annotations

import platform
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from kafscale import __version__
from kafscale.config import Settings
from kafscale.config.kinds import LISTEN, NOWHERE
from kafscale.errors import SettingError
from kafscale.net.dispatch import Dispatch
from kafscale.net.factory import BrokerFactory
from kafscale.ops.health import Health, Watched, Why
from kafscale.ops.http import operators_site
from kafscale.ops.metrics import Metrics
from kafscale.ops.readings import (
    of_build,
    of_cache,
    of_connections,
    of_conversions,
    of_disk_cache,
    of_following,
    of_groups,
    of_log,
    of_requests,
    of_s3,
    of_stores,
)
from kafscale.tap.listening import address_of, take_port
from kafscale.tap.node import Node
from kafscale.tap.stores import Stores

USUAL = LISTEN.parse("127.0.0.1:9308")
"""Where HTTP listens if nobody says, and if nobody else does."""


class Operators:
    """
    HTTP for operators, from before the broker recovers until it has stopped.
    """

    _log = Logger()

    def __init__(self, stores: Stores, absent: Why, lost: Why, reactor: Any) -> None:
        """
        @param absent: See L{Health}.
        @param lost: See L{Health}.
        """
        self._reactor = reactor
        watched = [Watched(counts, probe, reactor, monotonic) for counts, probe in stores.watched]
        self._health = Health(watched, absent, lost)
        self._metrics = Metrics(reactor)
        self._metrics.add(partial(of_build, __version__, platform.python_version()))
        self._metrics.add(partial(of_stores, [counts for counts, _ in stores.watched]))
        if stores.disk_cache is not None:
            self._metrics.add(partial(of_disk_cache, stores.disk_cache))
        self._metrics.add(partial(of_s3, stores.requests))
        self._port: Any = None

    def listen(self, settings: Settings) -> list[str]:
        """
        Take the port. A warning, if it is the usual one and taken: two brokers
        on one machine are no mistake.

        @raise SettingError: another one was asked for, and cannot be had.
        """
        asked = settings.metrics_addr
        if asked == NOWHERE:
            return []
        site = operators_site(self._metrics, self._health, self._reactor)
        try:
            self._port = take_port(self._reactor, (asked or USUAL).endpoint, site)
        except SettingError as error:
            if asked is None:
                return [f"no /metrics and /healthz: {error} (KAFSCALE_METRICS_ADDR)"]
            raise SettingError(f"KAFSCALE_METRICS_ADDR: {error}") from None
        return []

    def tell(self) -> None:
        """
        Log where it is.
        """
        if self._port is not None:
            self._log.info(
                "/metrics, /healthz and /readyz are on {address}",
                address=address_of(self._port.getHost()),
            )

    def show(
        self,
        node: Node,
        dispatch: Dispatch,
        factory: BrokerFactory,
    ) -> None:
        """
        Show these, too, from now on.
        """
        log = node.log

        def names() -> dict[UUID, str]:
            return {each.topic_id: each.name for each in node.image.topics()}

        for reading in (
            partial(of_requests, dispatch),
            partial(of_connections, factory),
            partial(of_conversions, node.conversions),
            partial(of_log, log, names),
            partial(of_groups, node.coordinator, log, names),
            partial(of_cache, node.cache),
            partial(of_following, node.following),
        ):
            self._metrics.add(reading)

    async def stop(self) -> None:
        """
        Let go of the port.
        """
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
