"""
The listeners of a broker: their ports, and the connections to them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from kafscale.access.open_sessions import OpenSessions
from kafscale.concurrency.gathering import all_settled
from kafscale.config import Settings
from kafscale.config.listeners import ListenerSettings, inter_broker_listener, listeners_of
from kafscale.errors import SettingError
from kafscale.interfaces import Broker, ISessions, Listener, SecurityProtocol
from kafscale.net.factory import BrokerFactory
from kafscale.tap.listening import address_of, take_port

DIAL_SECONDS = 5.0
"""Timeout for connecting to another broker, in seconds."""


class Gate(ServerFactory):
    """
    A factory for a port that is taken before its real factory exists.

    @ivar factory: The real one, from when the broker is ready.
    """

    noisy = False
    factory: Any = None

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """
        The name of the port in Twisted's own log lines.
        """
        return "kafscale"

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Build a protocol with the real factory.
        """
        return None if self.factory is None else self.factory.buildProtocol(addr)


@implementer(IStreamClientEndpoint)
class _Missing:
    """
    The endpoint of a listener that another broker does not have.
    """

    def __init__(self, why: str) -> None:
        self._why = why

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        Fail.
        """
        return fail(ConnectError(string=self._why))  # type: ignore[no-untyped-call]


class OpenPort:
    """
    One listener, and its port.

    @ivar listener: As sessions know it.
    @ivar port: The port, with C{stopReading} and C{startReading}.
    """

    port: Any

    def __init__(self, settings: ListenerSettings) -> None:
        """
        @param settings: Of the listener.
        """
        self.settings = settings
        self.listener = Listener(settings.name, SecurityProtocol(settings.protocol))
        self.gate = Gate()

    def take(self, reactor: Any) -> None:
        """
        Take the port. Clients that connect already wait in the kernel's queue until
        L{serve}.

        @raise SettingError: The broker cannot listen there.
        """
        try:
            self.port = take_port(reactor, self.settings.listen.endpoint, self.gate)
        except SettingError as error:
            variable = "BROKER_ADDR" if self.settings.is_implied else "LISTENERS"
            raise SettingError(f"{error}; choose another with KAFSCALE_{variable}") from None
        self.port.stopReading()

    @property
    def advertised_port(self) -> int:
        """
        The port that clients are to connect to.
        """
        return self.settings.port or int(self.port.getHost().port)

    def sessions(self) -> ISessions:
        """
        The sessions of its connections.
        """
        return OpenSessions(self.listener)

    def described(self) -> str:
        """
        Where it listens, and what it advertises, for the log.
        """
        name, protocol = self.settings.name, self.settings.protocol
        called = f" ({name if name == protocol else f'{name}, {protocol}'})"
        host = self.settings.host
        return (
            f"{address_of(self.port.getHost())}{'' if self.settings.is_implied else called},"
            f" advertised as {host}:{self.advertised_port}"
        )


class Listeners:
    """
    All listeners of a broker.
    """

    def __init__(self, settings: Settings) -> None:
        """
        @param settings: Of the broker.
        @raise SettingError: They contradict one another.
        """
        found = listeners_of(settings)
        for each in found:
            if not each.is_implied and each.protocol != SecurityProtocol.PLAINTEXT:
                raise SettingError(
                    f"KAFSCALE_LISTENERS: listener {each.name} is of protocol {each.protocol},"
                    " which this version does not support"
                )
        self._ports = [OpenPort(each) for each in found]
        self._between_brokers = inter_broker_listener(settings, found)

    def take(self, reactor: Any) -> None:
        """
        Take all ports.

        @raise SettingError: See L{OpenPort.take}.
        """
        for each in self._ports:
            each.take(reactor)

    def broker(self, settings: Settings) -> Broker:
        """
        This broker as it is to be registered.
        """
        named = [
            (each.settings.name, each.settings.host, each.advertised_port)
            for each in self._ports
            if not each.settings.is_implied
        ]
        first = self._ports[0]
        return Broker(
            settings.broker_id,
            first.settings.host,
            first.advertised_port,
            settings.broker_rack,
            weight=settings.broker_weight,
            listeners=tuple(named),
        )

    def endpoint_of(self, other: Broker, reactor: Any) -> IStreamClientEndpoint:
        """
        Where this broker connects to another one.
        """
        name = self._between_brokers.name
        address = other.address(name)
        if address is None:
            return _Missing(f"broker {other.broker_id} has no listener {name}")
        return HostnameEndpoint(reactor, *address, timeout=DIAL_SECONDS)

    def serve(self, factory: BrokerFactory) -> None:
        """
        Serve those that connect.

        @param factory: Of all connections.
        """
        for each in self._ports:
            each.gate.factory = factory.listener(each.sessions())
            each.port.startReading()

    async def stop(self) -> None:
        """
        Listen no more.
        """
        await all_settled(maybeDeferred(each.port.stopListening) for each in self._ports)

    def described(self) -> str:
        """
        Where the broker listens, and what it advertises, for the log.
        """
        return "; ".join(each.described() for each in self._ports)
