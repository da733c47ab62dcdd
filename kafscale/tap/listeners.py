"""
The listeners of a broker: their ports, and the connections to them.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress, IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from kafscale.access.authentication.certificates import CertificateSessions
from kafscale.access.authentication.distinguished_names import PrincipalRules
from kafscale.access.open_sessions import OpenSessions
from kafscale.concurrency.gathering import all_settled
from kafscale.concurrency.seldom import Seldom
from kafscale.config import Settings
from kafscale.config.listeners import ListenerSettings, listeners_of
from kafscale.errors import SettingError
from kafscale.interfaces import Broker, ISessions, Listener, SecurityProtocol
from kafscale.net.factory import FOREIGN_SECONDS, BrokerFactory
from kafscale.net.proxy_protocol import ProxiedFactory
from kafscale.net.tls import NONE, REQUIRED, Tls, TlsSettings, UnusableFiles, check_ciphers
from kafscale.tap.authentication import OAUTHBEARER, PLAIN, Authentication, mechanisms_of
from kafscale.tap.listening import address_of, is_local, take_port

CHECK_SECONDS = 5.0
"""Seconds between two looks at the files of certificates."""

DIAL_SECONDS = 5.0
"""Timeout for connecting to another broker, in seconds."""


_SENT = {PLAIN: "the passwords of PLAIN", OAUTHBEARER: "the tokens of OAUTHBEARER"}


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


@implementer(IStreamClientEndpoint)
class _Secured:
    """
    The endpoint of another broker that speaks TLS. Each connection is made with the
    certificate of that time.
    """

    def __init__(self, endpoint: HostnameEndpoint, host: str, tls: Tls) -> None:
        self._endpoint = endpoint
        self._host = host
        self._tls = tls

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        Connect, with TLS.
        """
        options = self._tls.client_options(self._host)
        return wrapClientTLS(options, self._endpoint).connect(factory)


class OpenPort:
    """
    One listener, and its port.

    @ivar listener: As sessions know it.
    @ivar port: The port, with C{stopReading} and C{startReading}.
    """

    port: Any

    def __init__(self, settings: ListenerSettings, now: float) -> None:
        """
        @param settings: Of the listener.
        @param now: The time, in seconds since 1970.
        @raise SettingError: They contradict one another, or name unusable files.
        """
        self.settings = settings
        self._rules = _rules_of(settings)
        self.listener = Listener(settings.name, SecurityProtocol(settings.protocol))
        self.gate = Gate()
        self.tls = None
        if self.listener.protocol.has_tls and not settings.is_implied:
            self.tls = _tls_of(settings, now)

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

    def sessions(self, authentication: Authentication) -> ISessions:
        """
        The sessions of its connections.
        """
        if self.listener.protocol.has_sasl:
            return authentication.sessions(self.listener, self.settings.settings)
        if self.listener.protocol.has_tls:
            return CertificateSessions(self.listener, self._rules)
        return OpenSessions(self.listener)

    def serve(self, factory: BrokerFactory, authentication: Authentication, clock: Any) -> None:
        """
        Serve those that connect.

        @param factory: Of all connections.
        @param authentication: Of clients, if the listener has SASL.
        @param clock: The reactor.
        """
        serving: Any = factory.listener(
            self.sessions(authentication), self.settings.settings.max_connections
        )
        if self.tls is not None:
            serving = TLSMemoryBIOFactory(self.tls, False, serving, clock)
        trusted = self.settings.settings.proxy_protocol_from
        if trusted is not None:
            rare = Seldom(clock.seconds, FOREIGN_SECONDS)
            serving = ProxiedFactory(serving, [ip_network(each) for each in trusted], clock, rare)
        self.gate.factory = serving
        self.port.startReading()

    @property
    def exposed(self) -> bool:
        """
        Whether other machines can reach the listener, and it lets in clients that do
        not authenticate.
        """
        if self.listener.protocol.has_sasl or is_local(self.port.getHost()):
            return False
        return self.tls is None or self.settings.settings.ssl_client_auth != REQUIRED

    @property
    def legible(self) -> list[str]:
        """
        What clients send to the listener that others could read on the way, and use.
        """
        if self.listener.protocol != SecurityProtocol.SASL_PLAINTEXT:
            return []
        if is_local(self.port.getHost()):
            return []
        offered = self.settings.settings.sasl_enabled_mechanisms
        return [what for mechanism, what in _SENT.items() if mechanism in offered]

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

    @ivar mechanisms: Those of SASL, of all listeners.
    @ivar logs_in: Whether brokers log in to one another by SASL.
    """

    _log = Logger()

    def __init__(self, settings: Settings, reactor: Any) -> None:
        """
        @param settings: Of the broker.
        @param reactor: Listens, and reads certificates again.
        @raise SettingError: They contradict one another.
        """
        found = listeners_of(settings)
        self._clock = reactor
        self._ports = [OpenPort(each, reactor.seconds()) for each in found]
        self.mechanisms = mechanisms_of(found)
        (self._between_brokers,) = (
            each for each in self._ports if each.settings.is_between_brokers
        )
        listener = self._between_brokers.listener
        self.logs_in = listener.protocol.has_sasl
        if self.logs_in and settings.etcd_endpoints and settings.inter_broker_user is None:
            raise SettingError(
                f"brokers log in to one another on listener {listener.name}: set"
                " KAFSCALE_INTER_BROKER_USER and KAFSCALE_INTER_BROKER_PASSWORD"
            )
        self._checking: IDelayedCall | None = None

    def take(self) -> None:
        """
        Take all ports.

        @raise SettingError: See L{OpenPort.take}.
        """
        for each in self._ports:
            each.take(self._clock)

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

    def endpoint_of(self, other: Broker) -> IStreamClientEndpoint:
        """
        Where this broker connects to another one.
        """
        own = self._between_brokers
        name = own.settings.name
        address = other.address(name)
        if address is None:
            return _Missing(f"broker {other.broker_id} has no listener {name}")
        endpoint = HostnameEndpoint(self._clock, *address, timeout=DIAL_SECONDS)
        return endpoint if own.tls is None else _Secured(endpoint, address[0], own.tls)

    def serve(self, factory: BrokerFactory, authentication: Authentication) -> None:
        """
        Serve those that connect.

        @param factory: Of all connections.
        @param authentication: Of clients on the listeners with SASL.
        """
        for each in self._ports:
            each.serve(factory, authentication, self._clock)
            if each.exposed:
                self._log.warn(
                    "anyone who reaches {address} can use the broker: listener {name} does not ask"
                    " clients to authenticate (docs/security.md)",
                    address=address_of(each.port.getHost()),
                    name=each.settings.name,
                )
            if each.legible:
                self._log.warn(
                    "{what} of listener {name} can be read on the way: its connections are not"
                    " encrypted, use SASL_SSL (docs/security.md)",
                    what=" and ".join(each.legible),
                    name=each.settings.name,
                )
        self._check_later()

    def _check_later(self) -> None:
        if any(each.tls is not None for each in self._ports):
            self._checking = self._clock.callLater(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        """
        Take certificates that have changed.
        """
        for each in self._ports:
            if each.tls is not None:
                each.tls.check(self._clock.seconds())
        self._check_later()

    def expiries(self) -> list[tuple[str, float]]:
        """
        When the certificates of listeners expire, in seconds since 1970, by the names
        of the listeners.
        """
        return [(each.settings.name, each.tls.expires) for each in self._ports if each.tls]

    async def stop(self) -> None:
        """
        Listen no more.
        """
        if self._checking is not None:
            self._checking.cancel()
            self._checking = None
        await all_settled(maybeDeferred(each.port.stopListening) for each in self._ports)

    def described(self) -> str:
        """
        Where the broker listens, and what it advertises, for the log.
        """
        return "; ".join(each.described() for each in self._ports)


def _rules_of(listener: ListenerSettings) -> PrincipalRules:
    """
    How subjects of certificates are mapped to principals.

    @raise SettingError: The rules are malformed.
    """
    text = listener.settings.ssl_principal_mapping_rules
    try:
        return PrincipalRules(text)
    except ValueError as error:
        source = listener.source("ssl_principal_mapping_rules")
        raise SettingError(
            f"invalid {source}={text!r}: expected RULE:pattern/replacement/, which L or U may"
            f" follow, or DEFAULT, with commas between: {error}"
        ) from None


def _tls_of(listener: ListenerSettings, now: float) -> Tls:
    """
    The certificate of a listener.

    @param now: The time, in seconds since 1970.
    @raise SettingError: There is none that could be used.
    """
    settings, name = listener.settings, listener.name
    if settings.ssl_cert is None:
        raise SettingError(
            f"listener {name} speaks {listener.protocol}, and has no certificate: set"
            " KAFSCALE_SSL_CERT"
        )
    if settings.ssl_client_auth != NONE and settings.ssl_ca is None:
        source = listener.source("ssl_client_auth")
        raise SettingError(
            f"{source}={settings.ssl_client_auth} needs KAFSCALE_SSL_CA, with which the"
            " certificates of clients are verified"
        )
    if settings.ssl_ciphers is not None:
        try:
            check_ciphers(settings.ssl_ciphers)
        except ValueError:
            source = listener.source("ssl_ciphers")
            raise SettingError(
                f"invalid {source}={settings.ssl_ciphers!r}: expected a list of ciphers for TLS 1.2"
                " in OpenSSL's format, and this one names none that there is"
            ) from None
    wanted = TlsSettings(
        f"listener {name}",
        settings.ssl_cert,
        settings.ssl_key or settings.ssl_cert,
        settings.ssl_key_password,
        settings.ssl_ca,
        settings.ssl_client_auth,
        settings.ssl_enabled_protocols,
        settings.ssl_ciphers,
    )
    try:
        return Tls(wanted, now)
    except UnusableFiles as why:
        raise SettingError(f"cannot speak TLS on listener {name}: {why}") from None
