"""
Tests of `kafscale.net.tls`, and of connections over TLS.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet import reactor  # noqa: TID251 - a real connection
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kafscale.access.authentication.certificates import CertificateSessions
from kafscale.access.authentication.distinguished_names import PrincipalRules
from kafscale.interfaces import ISessions, Listener, SecurityProtocol
from kafscale.net.guard import OPENING_SECONDS
from kafscale.net.request_memory import READ
from kafscale.net.tls import WARNING_DAYS, Tls, TlsSettings, UnusableFiles, check_ciphers
from tests.harness.certificates import Issued, authority, issue
from tests.net.fakes import Broker, heartbeat

NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
COMMON = NameOID.COMMON_NAME


class Files:
    """
    The files of a broker's certificate.
    """

    def __init__(self, folder: Path, ca: Issued) -> None:
        folder.mkdir(parents=True)
        self.ca = ca
        self.paths = [folder / name for name in ("cert.pem", "key.pem", "ca.pem")]
        self.paths[2].write_bytes(ca.pem())

    def put(self, issued: Issued, chain: bytes = b"", password: str | None = None) -> None:
        """
        Write a certificate and its key.
        """
        self.paths[0].write_bytes(issued.pem() + chain)
        self.paths[1].write_bytes(issued.key_pem(password))

    def settings(self, **named: Any) -> TlsSettings:
        """
        Settings with these files.
        """
        certificate, key, ca = map(str, self.paths)
        return TlsSettings("listener SSL", certificate, key, ca=ca, **named)


class TlsTests(SynchronousTestCase):
    """
    Files, and what is made of them.
    """

    def setUp(self) -> None:
        """
        A broker's certificate.
        """
        self.files = Files(Path(self.mktemp()), authority())
        self.first = issue([(COMMON, "one")], self.files.ca, hosts=["localhost"])
        self.files.put(self.first)

    def refused(self, **named: Any) -> str:
        """
        Why the files cannot be used.
        """
        return str(self.assertRaises(UnusableFiles, Tls, self.files.settings(**named), NOW))

    def presented(self, tls: Tls) -> str:
        """
        The name in the certificate that a new connection presents.
        """
        server = tls.serverConnectionForTLS(None)
        found = server.get_context()
        self.assertIsInstance(found, SSL.Context)
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        client.set_connect_state()
        server.set_accept_state()
        for _ in range(4):
            for one, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(65536))
        certificate = client.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return str(certificate.subject.get_attributes_for_oid(COMMON)[0].value)

    def test_unusable(self) -> None:
        """
        The message names the file.
        """
        certificate, key, ca = self.files.paths
        key.write_bytes(issue([(COMMON, "other")]).key_pem())
        self.assertIn(f"{key} is not the key of the certificate", self.refused())
        key.write_bytes(b"nothing")
        self.assertIn(f"{key}: no private key can be read", self.refused())
        key.write_bytes(self.first.key_pem("secret"))
        self.assertIn(f"{key}: no private key can be read", self.refused())
        self.assertIn(f"{key}: no private key can be read", self.refused(password="wrong"))
        key.unlink()
        self.assertIn(f"{key}: No such file", self.refused())
        self.files.put(self.first)
        ca.write_bytes(b"nothing")
        self.assertIn(f"{ca}: no certificate can be read", self.refused())
        ca.write_bytes(self.files.ca.pem())
        certificate.write_bytes(b"nothing")
        self.assertIn(f"{certificate}: no certificate can be read", self.refused())
        self.files.put(self.first)
        self.assertIn(str(certificate), self.refused(ciphers="nothing"))

    def test_password(self) -> None:
        """
        An encrypted key is decrypted; the password is not shown.
        """
        self.files.put(self.first, password="secret")
        settings = self.files.settings(password="secret")
        self.assertEqual(self.presented(Tls(settings, NOW)), "one")
        self.assertNotIn("secret", repr(settings))

    def test_replaced(self) -> None:
        """
        New files are for new connections, once they are looked at.
        """
        tls = Tls(self.files.settings(), NOW)
        before = tls.serverConnectionForTLS(None).get_context()
        tls.check(NOW)
        self.assertIs(tls.serverConnectionForTLS(None).get_context(), before)
        self.files.put(issue([(COMMON, "two")], self.files.ca, hosts=["localhost"]))
        self.assertEqual(self.presented(tls), "one")
        with capturedLogs() as logs:
            tls.check(NOW)
        self.assertEqual(self.presented(tls), "two")
        (line,) = [str(formatEvent(each)) for each in logs]
        self.assertIn("listener SSL has a new certificate", line)

    def test_new_ca(self) -> None:
        """
        CA certificates that change alone are used, and are not taken for a new certificate;
        files that are the same again are no news.
        """
        tls = Tls(self.files.settings(client_auth="required"), NOW)
        before = tls.serverConnectionForTLS(None).get_context()
        self.files.paths[2].write_bytes(authority().pem())
        with capturedLogs() as logs:
            tls.check(NOW)
        (line,) = [str(formatEvent(each)) for each in logs]
        self.assertIn("listener SSL has new CA certificates", line)
        self.assertIn("ca.pem", line)
        self.assertIsNot(tls.serverConnectionForTLS(None).get_context(), before)
        self.files.put(self.first, chain=b"\n")
        with capturedLogs() as logs:
            tls.check(NOW)
        self.assertEqual(logs, [])

    def test_ciphers(self) -> None:
        """
        A list has to name a cipher for TLS 1.2, in any of OpenSSL's ways.
        """
        for text in ("ECDHE+AESGCM:ECDHE+CHACHA20", "ECDHE-ECDSA-AES128-GCM-SHA256:unknown"):
            check_ciphers(text)
        for text in ("nonsense", "!ALL", "TLS_AES_128_GCM_SHA256", "\u00e9", "@SECLEVEL=9"):
            self.assertRaises(ValueError, check_ciphers, text)

    def test_bad_replacement(self) -> None:
        """
        The files before stay in use; one error line for each change, and good files are
        used again.
        """
        tls = Tls(self.files.settings(), NOW)
        second = issue([(COMMON, "two")], self.files.ca)
        self.files.paths[0].write_bytes(second.pem())
        with capturedLogs() as logs:
            tls.check(NOW)
            tls.check(NOW)
        (line,) = [str(formatEvent(each)) for each in logs]
        self.assertIn("those before stay in use", line)
        self.assertEqual(self.presented(tls), "one")
        self.files.paths[1].write_bytes(second.key_pem())
        tls.check(NOW)
        self.assertEqual(self.presented(tls), "two")

    def test_expires(self) -> None:
        """
        The first certificate of the chain to expire counts; it is warned of once a day.
        """
        soon = datetime.fromtimestamp(NOW + (WARNING_DAYS + 1) * 86400, UTC).replace(tzinfo=None)
        chain = issue([(COMMON, "middle")], self.files.ca, until=soon)
        self.files.put(self.first, chain.pem())
        with capturedLogs() as logs:
            tls = Tls(self.files.settings(), NOW)
            self.assertEqual(tls.expires, NOW + (WARNING_DAYS + 1) * 86400)
            tls.check(NOW)
            self.assertEqual(logs, [])
            for hours in range(25, 74):
                tls.check(NOW + hours * 3600)
        self.assertEqual(len(logs), 3)
        self.assertIn("the certificate of listener SSL expires at", str(formatEvent(logs[0])))
        with capturedLogs() as logs:
            tls.check(NOW + (WARNING_DAYS + 1) * 86400)
        (line,) = [str(formatEvent(each)) for each in logs]
        self.assertIn("the certificate of listener SSL has expired at", line)


class Answers(Protocol):
    """
    A client's connection.
    """

    transport: Any

    def __init__(self) -> None:
        self.came: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """
        An answer.
        """
        if not self.came.called:
            self.came.callback(data)

    def end(self) -> None:
        """
        Close, if the broker has not.
        """
        if not self.lost.called:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """
        The broker has closed.
        """
        self.lost.callback(None)


class ConnectionTests(TestCase):
    """
    Real connections, with a certificate and without.
    """

    def secured(self, sessions: ISessions, **named: Any) -> Any:
        """
        The factory of a broker that speaks TLS.
        """
        self.files = Files(Path(self.mktemp()), authority())
        self.files.put(issue([(COMMON, "broker")], self.files.ca, hosts=["localhost"]))
        tls = Tls(self.files.settings(**named), NOW)
        self.broker = Broker(sessions=sessions, connections_max_idle_ms=0)
        self.broker.service.at_once = True
        return TLSMemoryBIOFactory(tls, False, self.broker.listener, reactor)

    def listen(self, sessions: ISessions, **named: Any) -> Any:
        """
        A broker that speaks TLS; returns its address.
        """
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        return self.successResultOf(endpoint.listen(self.secured(sessions, **named)))

    async def connect(self, port: Any, own: Issued | None = None) -> Answers:
        """
        A client, with this certificate.
        """
        mine = None if own is None else PrivateCertificate.loadPEM(own.pem() + own.key_pem())
        options = optionsForClientTLS(
            "localhost", Certificate.loadPEM(self.files.ca.pem()), clientCertificate=mine
        )
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
        client: Any = await wrapClientTLS(options, endpoint).connect(Factory.forProtocol(Answers))
        self.addCleanup(port.stopListening)
        self.addCleanup(client.end)
        return client

    def sessions(self, rules: str = "DEFAULT") -> CertificateSessions:
        """
        Of a listener of protocol SSL.
        """
        return CertificateSessions(Listener("SSL", SecurityProtocol.SSL), PrincipalRules(rules))

    def test_read_size(self) -> None:
        """
        How much a connection reads at once is asked of the socket, below TLS.
        """
        protocol = self.secured(self.sessions()).buildProtocol(None)
        below: Any = StringTransport()
        protocol.makeConnection(below)
        self.assertEqual(below.bufferSize, READ)
        protocol.connectionLost(Failure(ConnectionDone()))

    async def test_principal(self) -> None:
        """
        Requests are for the subject of the client's certificate.
        """
        port = self.listen(self.sessions(), client_auth="required")
        client = await self.connect(port, issue([(COMMON, "alice")], self.files.ca))
        client.transport.write(heartbeat(1))
        await client.came
        (begun,) = self.broker.begun
        self.assertEqual(str(begun.context.session.principal), "User:CN=alice")
        client.transport.abortConnection()
        await client.lost

    async def test_requested(self) -> None:
        """
        Where a certificate is requested and not required, one can do without.
        """
        port = self.listen(self.sessions(), client_auth="requested")
        client = await self.connect(port)
        client.transport.write(heartbeat(1))
        await client.came
        (begun,) = self.broker.begun
        self.assertEqual(str(begun.context.session.principal), "User:ANONYMOUS")
        client.transport.abortConnection()
        await client.lost

    async def test_refused(self) -> None:
        """
        A client without a certificate, with one of another issuer, or with a subject that
        no rule matches, gets no answer.
        """
        for rules, issuer in (
            ("DEFAULT", "none"),
            ("DEFAULT", "other"),
            ("RULE:^CN=bob$/bob/", "ours"),
        ):
            port = self.listen(self.sessions(rules), client_auth="required")
            issuers = {"ours": self.files.ca, "other": authority()}
            own = issue([(COMMON, "alice")], issuers[issuer]) if issuer in issuers else None
            client = await self.connect(port, own)
            client.transport.write(heartbeat(1))
            await client.lost
            self.assertEqual(self.broker.begun, [])

    async def test_closed(self) -> None:
        """
        When the broker has closed a connection, and the client has seen that, nothing of it
        is left.
        """
        port = self.listen(self.sessions())
        client = await self.connect(port)
        client.transport.write(b"\x7f\xff\xff\xff" * 2)  # a frame that is too large
        await client.lost
        while self.broker.factory.connections:
            pause: Deferred[None] = Deferred()
            reactor.callLater(0.001, pause.callback, None)
            await pause

    async def test_protocols_offered(self) -> None:
        """
        A client that offers protocols by ALPN, as those for HTTP do, is accepted.
        """
        port = self.listen(self.sessions())
        self.addCleanup(port.stopListening)
        context = ssl.create_default_context(cadata=self.files.ca.pem().decode())
        context.set_alpn_protocols(["h2", "http/1.1"])

        def negotiate() -> str | None:
            address = ("127.0.0.1", port.getHost().port)
            with (
                socket.create_connection(address, 60) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                return secure.selected_alpn_protocol()

        self.assertIsNone(await deferToThread(negotiate))

    async def test_no_handshake(self) -> None:
        """
        A client that does not speak is disconnected after a while; one that has
        established TLS is not.
        """
        port = self.listen(self.sessions())
        secure = await self.connect(port)
        secure.transport.write(heartbeat(1))
        await secure.came
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
        silent: Any = await endpoint.connect(Factory.forProtocol(Answers))
        while self.broker.factory.connections < 2:
            pause: Deferred[None] = Deferred()
            reactor.callLater(0.001, pause.callback, None)
            await pause
        self.broker.clock.advance(OPENING_SECONDS)
        await silent.lost
        self.assertFalse(secure.lost.called)
        secure.transport.abortConnection()
        await secure.lost
