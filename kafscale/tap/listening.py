"""
Listening on ports.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

from kafscale.errors import SettingError


def take_port(reactor: Any, endpoint: str, factory: IProtocolFactory) -> Any:
    """
    Listen on a port.

    @param endpoint: A string for C{serverFromString}.
    @param factory: For the connections to the port.
    @return: The port, which has more methods than `IListeningPort`.
    @raise SettingError: The port is in use, listening is not permitted, or
        the endpoint string is wrong.
    """
    outcome: list[Any] = []
    try:
        listening = serverFromString(reactor, endpoint)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - endpoint plugins raise what they like
        raise SettingError(f"cannot listen on {endpoint}: {error}") from None
    listening.listen(factory).addBoth(outcome.append)
    port = outcome[0] if outcome else None
    if isinstance(port, Failure):
        raise SettingError(_reason(port))
    assert port is not None, "TCP endpoints listen at once"
    return port


def _reason(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, CannotListenError):
        why = getattr(error.socketError, "strerror", None) or error.socketError
        return f"cannot listen on {_joined(error.interface or '*', error.port)}: {why}"
    return f"cannot listen: {failure.getErrorMessage()}"


def is_local(host: Any) -> bool:
    """
    Whether only this machine reaches a listener.

    @param host: An C{IPv4Address} or C{IPv6Address} of Twisted.
    """
    return ip_address(host.host.partition("%")[0]).is_loopback


def address_of(host: Any) -> str:
    """
    A listener's address, as C{host:port}.

    @param host: An C{IPv4Address} or C{IPv6Address} of Twisted.
    """
    return _joined(host.host, host.port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
