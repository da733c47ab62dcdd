"""
Taking ports.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

from kafscale.errors import SettingError


def take_port(reactor: Any, endpoint: str, factory: IProtocolFactory) -> Any:
    """
    Listen at once.

    @param endpoint: As C{serverFromString} takes it.
    @return: The port, which has more than `IListeningPort` says.
    @raise SettingError: it is taken, or not ours to take.
    """
    outcome: list[Any] = []
    listening = serverFromString(reactor, endpoint)  # type: ignore[no-untyped-call]
    listening.listen(factory).addBoth(outcome.append)
    port = outcome[0] if outcome else None
    if isinstance(port, Failure):
        raise SettingError(port.getErrorMessage().rstrip("."))
    assert port is not None, "TCP endpoints listen at once"
    return port


def address_of(host: Any) -> str:
    """
    A listener's address, as C{host:port}.
    """
    return f"[{host.host}]:{host.port}" if ":" in host.host else f"{host.host}:{host.port}"
