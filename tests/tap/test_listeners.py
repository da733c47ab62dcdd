"""
Tests of `kafscale.tap.listeners`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.x509.oid import NameOID
from twisted.internet import reactor  # noqa: TID251 - real connections
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from kafscale.access.open_sessions import OpenSessions
from kafscale.config import PREFIX, Settings, from_environment
from kafscale.errors import SettingError
from kafscale.interfaces import Broker as Registered
from kafscale.interfaces import Listener
from kafscale.tap.listeners import Listeners
from tests.harness.certificates import authority, issue
from tests.net.fakes import Broker, heartbeat


def settings(**environ: str) -> Settings:
    """
    The settings of these variables.
    """
    return from_environment({PREFIX + name: text for name, text in environ.items()})[0]


class RefusedTests(SynchronousTestCase):
    """
    Settings that cannot be.
    """

    def refused(self, **environ: str) -> str:
        """
        What is wrong with them.
        """
        return str(self.assertRaises(SettingError, Listeners, settings(**environ), reactor))

    def test_tls(self) -> None:
        """
        A listener that speaks TLS has a certificate that can be read, and clients are
        verified with something.
        """
        tls = {"LISTENERS": "SSL://127.0.0.1:0"}
        self.assertIn("set KAFSCALE_SSL_CERT", self.refused(**tls))
        self.assertIn("missing.pem: No such file", self.refused(**tls, SSL_CERT="missing.pem"))
        self.assertIn(
            "needs KAFSCALE_SSL_CA",
            self.refused(**tls, SSL_CERT="missing.pem", SSL_CLIENT_AUTH="requested"),
        )

    def test_named(self) -> None:
        """
        Rules and ciphers that are wrong are named by the setting that they come from.
        """
        tls = {"LISTENERS": "SSL://127.0.0.1:0", "SSL_CERT": "missing.pem"}
        for prefix in ("", "LISTENER_NAME_SSL_"):
            for name, text, why in (
                ("SSL_PRINCIPAL_MAPPING_RULES", "DEFAULT,RULE:x", "'RULE:x' is none of these"),
                ("SSL_PRINCIPAL_MAPPING_RULES", "RULE:(/x/", "'(' is no pattern: missing )"),
                ("SSL_CIPHERS", "nonsense", "names none that there is"),
            ):
                refused = self.refused(**tls, **{prefix + name: text})
                self.assertTrue(refused.startswith(f"invalid KAFSCALE_{prefix}{name}={text!r}: "))
                self.assertIn(why, refused)


class Answer(Protocol):
    """
    A client that waits for an answer.
    """

    def __init__(self) -> None:
        self.came: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """
        The answer.
        """
        if not self.came.called:
            self.came.callback(data)

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """
        The end.
        """
        self.lost.callback(None)


class ServingTests(TestCase):
    """
    Real ports.
    """

    def setUp(self) -> None:
        """
        A certificate of a broker, and its issuer's.
        """
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.ca = authority()
        own = issue(
            [(NameOID.COMMON_NAME, "broker")], self.ca, hosts=["127.0.0.1", "localhost"]
        )
        (self.folder / "ca.pem").write_bytes(self.ca.pem())
        (self.folder / "own.pem").write_bytes(own.pem() + own.key_pem())

    def serve(self, **environ: str) -> tuple[Listeners, Registered, list[str]]:
        """
        Listeners that serve, the broker's registration, and what was logged.
        """
        given = settings(**environ)
        listeners = Listeners(given, reactor)
        listeners.take()
        self.addCleanup(self.end, listeners)
        self.broker = Broker(connections_max_idle_ms=0)
        self.broker.service.at_once = True
        with capturedLogs() as logs:
            listeners.serve(self.broker.factory, _AnyMechanism())  # type: ignore[arg-type]
        return listeners, listeners.broker(given), [str(formatEvent(each)) for each in logs]

    def end(self, listeners: Listeners) -> Deferred[None]:
        """
        Close the ports.
        """
        return Deferred.fromCoroutine(listeners.stop())

    async def ask(self, endpoint: Any, first: bytes = b"") -> str:
        """
        Send a request behind these bytes; the host that the service saw.
        """
        client: Any = await endpoint.connect(Factory.forProtocol(Answer))
        client.transport.write(first + heartbeat(1))
        await client.came
        client.transport.abortConnection()
        await client.lost
        return str(self.broker.begun.pop().context.host)

    async def test_proxied(self) -> None:
        """
        The client that a load balancer names is that of the requests, on a real
        connection.
        """
        _, registered, _ = self.serve(
            LISTENERS="PLAINTEXT://127.0.0.1:0", PROXY_PROTOCOL_FROM="127.0.0.1"
        )
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", registered.port)
        header = b"PROXY TCP4 192.0.2.7 10.0.0.1 5001 9092\r\n"
        self.assertEqual(await self.ask(endpoint, header), "192.0.2.7")

    async def test_between_brokers(self) -> None:
        """
        A broker reaches another one by TLS on the listener for brokers, and not one that
        lacks it.
        """
        listeners, registered, _ = self.serve(
            LISTENERS="PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0",
            INTER_BROKER_LISTENER_NAME="SSL",
            SSL_CERT=str(self.folder / "own.pem"),
            SSL_CA=str(self.folder / "ca.pem"),
            SSL_CLIENT_AUTH="required",
        )
        self.assertEqual([each[0] for each in registered.listeners], ["PLAINTEXT", "SSL"])
        self.assertEqual(await self.ask(listeners.endpoint_of(registered)), "127.0.0.1")
        without = Registered(2, "h", 1, listeners=(("PLAINTEXT", "h", 1),))
        failed = listeners.endpoint_of(without).connect(Factory.forProtocol(Answer))
        self.assertIn("has no listener SSL", self.failureResultOf(failed).getErrorMessage())

    async def test_proxied_tls(self) -> None:
        """
        The header comes before TLS.
        """
        _, registered, _ = self.serve(
            LISTENERS="SSL://127.0.0.1:0",
            SSL_CERT=str(self.folder / "own.pem"),
            PROXY_PROTOCOL_FROM="127.0.0.0/8",
        )
        options = optionsForClientTLS("localhost", Certificate.loadPEM(self.ca.pem()))
        header = b"PROXY TCP6 2001:db8::1 ::1 5001 9092\r\n"
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", registered.port)
        proxied = wrapClientTLS(options, _Before(endpoint, header))
        self.assertEqual(await self.ask(proxied), "2001:db8::1")

    def test_warned(self) -> None:
        """
        A listener that other machines reach without authentication is warned of.
        """
        _, _, lines = self.serve(LISTENERS="PLAINTEXT://127.0.0.1:0")
        self.assertEqual(lines, [])
        _, _, lines = self.serve(LISTENERS="PLAINTEXT://0.0.0.0:0")
        (line,) = lines
        self.assertIn("listener PLAINTEXT does not ask clients to authenticate", line)

    def test_legible(self) -> None:
        """
        A listener to which clients send passwords or tokens without TLS is warned of, if
        other machines reach it.
        """
        for address, mechanisms, warned in (
            ("0.0.0.0", "PLAIN", ["the passwords of PLAIN of listener SASL_PLAINTEXT"]),
            ("0.0.0.0", "OAUTHBEARER,PLAIN", ["PLAIN and the tokens of OAUTHBEARER of listener"]),
            ("0.0.0.0", "SCRAM-SHA-256,SCRAM-SHA-512", []),
            ("127.0.0.1", "PLAIN,OAUTHBEARER", []),
        ):
            _, _, lines = self.serve(
                LISTENERS=f"SASL_PLAINTEXT://{address}:0", SASL_ENABLED_MECHANISMS=mechanisms
            )
            self.assertEqual(len(lines), len(warned))
            for line, words in zip(lines, warned, strict=True):
                self.assertIn(words, line)
        _, _, lines = self.serve(
            LISTENERS="SASL_SSL://0.0.0.0:0",
            SSL_CERT=str(self.folder / "own.pem"),
            SASL_ENABLED_MECHANISMS="PLAIN",
        )
        self.assertEqual(lines, [])


class _AnyMechanism:
    """
    Stands in for L{kafscale.tap.authentication.Authentication}.
    """

    def sessions(self, listener: Listener, settings: Settings) -> OpenSessions:
        """
        Sessions that ask for nothing.
        """
        return OpenSessions(listener)


@implementer(IStreamClientEndpoint)
class _Before:
    """
    An endpoint that sends some bytes before anything else.
    """

    def __init__(self, endpoint: HostnameEndpoint, first: bytes) -> None:
        self._endpoint = endpoint
        self._first = first

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        Connect.
        """

        class Sender(Factory):
            """
            Sends the bytes when the connection is made.
            """

            noisy = False
            doStart, doStop = factory.doStart, factory.doStop  # noqa: N815

            def buildProtocol(_, address: Any) -> Any:  # noqa: N805
                """
                The real protocol.
                """
                protocol = factory.buildProtocol(address)
                make = protocol.makeConnection

                def made(transport: Any) -> None:
                    transport.write(self._first)
                    make(transport)

                protocol.makeConnection = made
                return protocol

        return self._endpoint.connect(Sender())
