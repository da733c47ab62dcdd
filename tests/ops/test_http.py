"""
Tests of `kafscale.ops.http`.
"""

from __future__ import annotations

from base64 import b64encode

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.counts import StoreCounts
from kafscale.errors import StoreUnavailable
from kafscale.ops.credentials import Credentials
from kafscale.ops.exposition import Metrics
from kafscale.ops.health import Health, StoreHealth
from kafscale.ops.http import IDLE_SECONDS, MOST_CONNECTIONS, operators_site


class SiteTests(SynchronousTestCase):
    """
    Responses to a browser or Prometheus.
    """

    def setUp(self) -> None:
        """
        A broker with one store, which answers when the test says so.
        """
        self.clock = Clock()
        self.probes: list[Deferred[object]] = []
        self.unhealthy: str | None = None
        counts = StoreCounts("objects")
        store = StoreHealth(counts, self.probe, self.clock, self.clock.seconds)
        health = Health([store], lambda: None, lambda: self.unhealthy)
        self.metrics = Metrics(self.clock)
        self.health = health
        self.protect(Credentials())

    def protect(self, credentials: Credentials) -> None:
        """
        Ask for these credentials from now on.
        """
        self.site = operators_site(self.metrics, self.health, self.clock, credentials)
        self.site.doStart()
        self.addCleanup(self.site.doStop)

    def probe(self) -> Deferred[object]:
        """
        Ask the store; the test answers.
        """
        self.probes.append(Deferred())
        return self.probes[-1]

    def connect(self) -> StringTransportWithDisconnection:
        """
        A connection.
        """
        transport = StringTransportWithDisconnection()
        protocol = self.site.buildProtocol(None)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def send(self, head: str, body: bytes = b"") -> StringTransportWithDisconnection:
        """
        Send a request.
        """
        transport = self.connect()
        lines = [head, "Host: localhost", f"Content-Length: {len(body)}", "Connection: close"]
        data = "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body
        transport.protocol.dataReceived(data)
        return transport

    def ask(self, head: str, body: bytes = b"") -> tuple[int, dict[str, str], str]:
        """
        Status, headers and body of the response to a request.
        """
        transport = self.send(head, body)
        for _ in range(100):
            self.clock.advance(0)
        return self.answer(transport)

    def answer(
        self, transport: StringTransportWithDisconnection
    ) -> tuple[int, dict[str, str], str]:
        """
        Status, headers and body of the response.
        """
        top, _, body = transport.value().decode().partition("\r\n\r\n")
        status, *headers = top.split("\r\n")
        named = dict(header.split(": ", 1) for header in headers)
        return int(status.split()[1]), named, body

    def test_metrics(self) -> None:
        """
        /metrics is Prometheus' text.
        """
        status, headers, body = self.ask("GET /metrics HTTP/1.1")
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        self.assertIn("\nprocess_open_fds ", body)

    def test_credentials(self) -> None:
        """
        With a token, a user, or both, everything but health needs one of them; it is
        said which, and no page is shown without.
        """
        token, user = "Bearer s3cret", f"Basic {b64encode(b'ops:pass:word').decode()}"
        for credentials, right, challenge in (
            (Credentials("s3cret"), [token, "bearer  s3cret"], "Bearer"),
            (Credentials(None, ("ops", "pass:word")), [user], "Basic"),
            (Credentials("s3cret", ("ops", "pass:word")), [token, user], "B"),
        ):
            self.protect(credentials)
            for given in right:
                head = f"GET /metrics HTTP/1.1\r\nAuthorization: {given}"
                self.assertEqual(self.ask(head)[0], 200, given)
            for given in ("Bearer s3cre", "Bearer", "s3cret", "Basic b3BzOg==", "Digest x"):
                for path in ("/metrics", "/other"):
                    head = f"GET {path} HTTP/1.1\r\nAuthorization: {given}"
                    status, headers, body = self.ask(head)
                    self.assertEqual((status, body), (401, "credentials are needed\n"))
                    self.assertTrue(headers["WWW-Authenticate"].startswith(challenge))
            self.assertEqual(self.ask("GET /metrics HTTP/1.1")[0], 401)
            self.assertEqual(self.ask("GET /healthz HTTP/1.1")[0], 200)

    def test_query(self) -> None:
        """
        Query parameters are ignored.
        """
        self.assertEqual(self.ask("GET /healthz?verbose HTTP/1.1")[0], 200)

    def test_health(self) -> None:
        """
        /healthz does not probe the stores.
        """
        self.assertEqual(self.ask("GET /healthz HTTP/1.1")[::2], (200, "ok\n"))
        self.assertEqual(self.probes, [])
        self.unhealthy = "the log is not as it should be"
        self.assertEqual(self.ask("GET /healthz HTTP/1.1")[::2], (503, f"{self.unhealthy}\n"))

    def test_readiness(self) -> None:
        """
        /readyz waits for the stores.
        """
        transport = self.send("GET /readyz HTTP/1.1")
        self.assertEqual(transport.value(), b"")
        self.probes.pop().callback(None)
        self.assertEqual(self.answer(transport)[::2], (200, "ok\n"))
        transport = self.send("GET /readyz HTTP/1.1")
        self.probes.pop().errback(StoreUnavailable("on fire"))
        status, headers, body = self.answer(transport)
        self.assertEqual((status, body), (503, "objects store: on fire\n"))
        self.assertEqual(headers["Cache-Control"], "no-store")

    def test_gone_meanwhile(self) -> None:
        """
        A client that disconnects before the response causes no error.
        """
        transport = self.send("GET /readyz HTTP/1.1")
        transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.probes.pop().callback(None)
        self.assertEqual(transport.value(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_head(self) -> None:
        """
        HEAD is GET without the body.
        """
        status, headers, body = self.ask("HEAD /healthz HTTP/1.1")
        self.assertEqual((status, headers["Content-Length"], body), (200, "3", ""))

    def test_other_paths(self) -> None:
        """
        Other paths are not found.
        """
        for path in ("/", "/metrics/", "/Metrics", "/healthz/x", "//metrics", "/../metrics"):
            status, _, body = self.ask(f"GET {path} HTTP/1.1")
            self.assertEqual(status, 404, path)
            self.assertIn("/metrics, /healthz, /readyz", body)
        self.assertEqual(self.ask("POST /other HTTP/1.1")[0], 404)

    def test_other_methods(self) -> None:
        """
        Other methods are refused.
        """
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            status, headers, _ = self.ask(f"{method} /metrics HTTP/1.1", b"x" * 1000)
            self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"), method)

    def test_a_reading_fails(self) -> None:
        """
        A reading that fails is status 500, and the reason is in the log.
        """

        def broken() -> list[object]:
            raise ZeroDivisionError("by nobody")

        self.metrics.add(broken)  # type: ignore[arg-type]
        status, _, body = self.ask("GET /metrics HTTP/1.1")
        self.assertEqual((status, body), (500, "failed; the reason is in the log\n"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_too_many(self) -> None:
        """
        The number of connections is limited; idle ones are closed.
        """
        transports = [self.connect() for _ in range(MOST_CONNECTIONS)]
        self.assertIsNone(self.site.buildProtocol(None))
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual([each.connected for each in transports], [False] * MOST_CONNECTIONS)
        self.assertIsNotNone(self.site.buildProtocol(None))

    def test_idle(self) -> None:
        """
        Without requests there is no timer.
        """
        self.assertEqual(self.clock.getDelayedCalls(), [])
