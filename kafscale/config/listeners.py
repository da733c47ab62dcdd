"""
The listeners of a broker, as its settings have them.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping, Sequence

import attrs

from kafscale.config.kinds import PROTOCOLS, Listen, is_wildcard, parse_listen
from kafscale.config.setting import PREFIX
from kafscale.config.settings import Settings
from kafscale.errors import SettingError


@attrs.frozen
class ListenerSettings:
    """
    One listener.

    @ivar name: Its name, in capitals.
    @ivar protocol: One of L{PROTOCOLS}.
    @ivar listen: Where it listens.
    @ivar host: The host that clients are to connect to.
    @ivar port: The port that clients are to connect to; None: the one that it
        listens on.
    @ivar settings: The settings of the broker, with those that were given for this
        listener alone.
    @ivar is_between_brokers: Whether other brokers connect to it, and this broker speaks
        its protocol with them.
    @ivar is_implied: Whether it is the one listener of C{KAFSCALE_BROKER_ADDR}.
    """

    name: str
    protocol: str
    listen: Listen
    host: str
    port: int | None
    settings: Settings
    is_between_brokers: bool
    is_implied: bool = False

    @property
    def variable_part(self) -> str:
        """
        Its name as it stands in the names of variables.
        """
        return re.sub(r"[^A-Z0-9]", "_", self.name)

    def source(self, setting: str) -> str:
        """
        The variable or option that a setting of the listener comes from.

        @param setting: Its name.
        """
        given = self.settings.given
        for listener in (self.variable_part, ""):
            if (listener, setting) in given:
                return given[listener, setting]
        return f"{PREFIX}{setting.upper()}"


def listeners_of(
    settings: Settings, hostname: Callable[[], str] = socket.gethostname
) -> Sequence[ListenerSettings]:
    """
    The listeners, in the order of the setting: those of C{KAFSCALE_LISTENERS},
    or else the one of C{KAFSCALE_BROKER_ADDR}.

    @param hostname: Returns the name of this machine.
    @raise SettingError: The settings contradict one another.
    """
    found = _named(settings, hostname) if settings.listeners else [_implied(settings, hostname)]
    names = {"", *(each.variable_part for each in found)}
    for (name, _), source in settings.given.items():
        if name not in names:
            raise SettingError(f"{source}: there is no listener {name}")
    if not any(each.is_between_brokers for each in found):
        raise SettingError(
            f"KAFSCALE_INTER_BROKER_LISTENER_NAME={settings.inter_broker_listener_name}: there is"
            " no such listener in KAFSCALE_LISTENERS"
        )
    return found


def _implied(settings: Settings, hostname: Callable[[], str]) -> ListenerSettings:
    # Twisted's own endpoint for TLS: it has its certificate in the string.
    protocol = "SSL" if settings.broker_addr.endpoint.startswith("ssl:") else "PLAINTEXT"
    return ListenerSettings(
        protocol,
        protocol,
        settings.broker_addr,
        settings.advertised_host(hostname),
        settings.broker_port,
        attrs.evolve(settings, **settings.by_listener.get(protocol, {})),
        is_between_brokers=settings.inter_broker_listener_name in (None, protocol),
        is_implied=True,
    )


def _named(settings: Settings, hostname: Callable[[], str]) -> list[ListenerSettings]:
    protocols = _protocols(settings)
    advertised = {each.name: each for each in settings.advertised_listeners or ()}
    found: list[ListenerSettings] = []
    addresses = settings.listeners or ()
    between_brokers = settings.inter_broker_listener_name or addresses[0].name
    for each in addresses:
        if each.name not in protocols:
            raise SettingError(
                f"KAFSCALE_LISTENERS: the protocol of listener {each.name} is not known; name it"
                f" in KAFSCALE_LISTENER_SECURITY_PROTOCOL_MAP={each.name}:PROTOCOL"
            )
        shown = advertised.pop(each.name, None)
        host = each.host if shown is None else shown.host
        if is_wildcard(host):
            host = settings.broker_host or hostname()
        port = (each.port if shown is None else shown.port) or None
        listener = ListenerSettings(
            each.name,
            protocols[each.name],
            parse_listen(each.address),
            host,
            port,
            settings,
            is_between_brokers=each.name == between_brokers,
        )
        values = settings.by_listener.get(listener.variable_part, {})
        found.append(attrs.evolve(listener, settings=attrs.evolve(settings, **values)))
    if advertised:
        name = next(iter(advertised))
        raise SettingError(
            f"KAFSCALE_ADVERTISED_LISTENERS: there is no listener {name} in KAFSCALE_LISTENERS"
        )
    return found


def _protocols(settings: Settings) -> Mapping[str, str]:
    given = settings.listener_security_protocol_map
    if given is None:
        return {each: each for each in PROTOCOLS}
    return dict(each.rsplit(":", 1) for each in given)
