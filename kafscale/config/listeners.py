"""
The listeners of a broker, as its settings have them.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping, Sequence

import attrs

from kafscale.config.kinds import PROTOCOLS, Listen, is_wildcard, parse_listen
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
    @ivar is_implied: Whether it is the one listener of C{KAFSCALE_BROKER_ADDR}.
    """

    name: str
    protocol: str
    listen: Listen
    host: str
    port: int | None
    settings: Settings
    is_implied: bool = False


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
    names = {_variable_part(each.name) for each in found}
    for name, values in settings.by_listener.items():
        if name not in names:
            setting = next(iter(values)).upper()
            raise SettingError(
                f"KAFSCALE_LISTENER_NAME_{name}_{setting}: there is no listener {name}"
            )
    return found


def inter_broker_listener(
    settings: Settings, listeners: Sequence[ListenerSettings]
) -> ListenerSettings:
    """
    The listener that other brokers connect to, and whose protocol this broker
    speaks with them.

    @param listeners: As L{listeners_of} returns them.
    @raise SettingError: There is no such listener.
    """
    name = settings.inter_broker_listener_name
    for each in listeners:
        if name in (None, each.name):
            return each
    raise SettingError(
        f"KAFSCALE_INTER_BROKER_LISTENER_NAME={name}: there is no such listener in"
        " KAFSCALE_LISTENERS"
    )


def _implied(settings: Settings, hostname: Callable[[], str]) -> ListenerSettings:
    for name in ("advertised_listeners", "listener_security_protocol_map"):
        if getattr(settings, name) is not None:
            raise SettingError(f"KAFSCALE_{name.upper()} has no effect without KAFSCALE_LISTENERS")
    # Twisted's own endpoint for TLS: it has its certificate in the string.
    protocol = "SSL" if settings.broker_addr.endpoint.startswith("ssl:") else "PLAINTEXT"
    return ListenerSettings(
        protocol,
        protocol,
        settings.broker_addr,
        settings.advertised_host(hostname),
        settings.broker_port,
        settings,
        is_implied=True,
    )


def _named(settings: Settings, hostname: Callable[[], str]) -> list[ListenerSettings]:
    protocols = _protocols(settings)
    advertised = {each.name: each for each in settings.advertised_listeners or ()}
    found = []
    for each in settings.listeners or ():
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
        values = settings.by_listener.get(_variable_part(each.name), {})
        found.append(
            ListenerSettings(
                each.name,
                protocols[each.name],
                parse_listen(each.address),
                host,
                port,
                attrs.evolve(settings, **values),
            )
        )
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


def _variable_part(name: str) -> str:
    """
    The name of a listener as it stands in the name of a variable.
    """
    return re.sub(r"[^A-Z0-9]", "_", name)
