"""
Logins as a table: a broker with a listener for each protocol, whose issuer of tokens is
an HTTP server of the test, and what each client library makes of right and of wrong
credentials.

With right ones a client writes the numbers 0, 1, 2 ... and reads them until it is told to
stop, while its session ends again and again. Then a new consumer reads all of it. With
wrong ones it hears why. Every client does the same; those in other languages are programs
that get the table as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
from cryptography.x509.oid import NameOID

from tests.access.authentication.issuer import AUDIENCE, ISSUER, RSA, jwks, token
from tests.clients.broker import Broker, BrokerTestCase, free_port, page
from tests.clients.libraries import prepare_for_librdkafka
from tests.harness.certificates import Issued, authority, issue

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
ADMIN, PASSWORD = "admin", "pass,word="
PRINCIPALS = (ADMIN, "carol", "CN=alice", "ANONYMOUS")
"""The only ones who may do anything: those of a password, of a token and of a certificate,
and the test."""
SESSION_SECONDS = 6.0
"""How long a session lasts at most. Clients log in again after 85 to 95 % of that, and a
broker takes no login within a second of another one on the same connection."""
TOKEN_SECONDS = 30.0
"""How long a token lasts: longer than a session, so that a client that is started on a busy
machine does not come too late."""


@attrs.frozen
class Login:
    """
    What a client has to log in with, and what it works on then.

    @ivar protocol: Of the listener: C{SSL}, C{SASL_PLAINTEXT} or C{SASL_SSL}.
    @ivar server: The listener's address.
    @ivar mechanism: Empty on a listener without SASL.
    @ivar token: The URL of tokens (C{OAUTHBEARER}).
    @ivar ca: The file of the CA that it trusts.
    @ivar certificate: The file with its key and its certificate; it may be empty.
    @ivar topic: Where it writes and reads.
    @ivar over: It works until this file is there.
    @ivar seconds: For how long a client tries to log in that takes a refusal for a lost
        connection.
    """

    protocol: str
    server: str
    mechanism: str
    user: str
    password: str
    token: str
    ca: str
    certificate: str
    topic: str
    over: str
    seconds: float

    @property
    def encrypted(self) -> bool:
        """
        Whether it is over TLS.
        """
        return self.protocol.endswith("SSL")

    def context(self) -> ssl.SSLContext | None:
        """
        Python's own TLS for it; None if it is not over TLS.
        """
        if not self.encrypted:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate:
            context.load_cert_chain(self.certificate)
        return context


class TokenServer:
    """
    The issuer of L{tests.access.authentication.issuer} as an HTTP server: C{/keys} is its
    JWKS, and C{/token}, C{/expired} and C{/stranger}, which is for another audience, are
    answered with a token, as RFC 6749 has it.

    @ivar keys: What it publishes. It signs with the last one.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """
        @param tls: Its certificate; None: without TLS.
        """
        self.keys: Sequence[Any] = (RSA,)
        issuer = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                body = issuer.body(self.path.partition("?")[0])
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the name is that of http.server

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def body(self, path: str) -> bytes:
        """
        What a request is answered with.
        """
        if path == "/keys":
            return jwks(*self.keys)
        seconds = -5.0 if path == "/expired" else TOKEN_SECONDS
        now = time.time()
        audience = "others" if path == "/stranger" else AUDIENCE
        text = token(self.keys[-1], now, exp=now + seconds, aud=audience)
        answer = {"access_token": text, "token_type": "Bearer", "expires_in": TOKEN_SECONDS}
        return json.dumps(answer).encode()

    def close(self) -> None:
        """
        Answer nobody any more.
        """
        self._server.shutdown()
        self._server.server_close()


class LoginTestCase(BrokerTestCase):
    """
    A broker with a listener for each protocol, all mechanisms, and the user C{admin}.

    @ivar issuer: Issues the tokens.
    @ivar publisher: The same by HTTPS: the broker reads its keys there.
    @ivar ca: Issues the certificates of broker and clients.
    """

    def opened(self, **settings: object) -> Broker:
        """
        The broker. The test itself comes by a listener in plain text.
        """
        prepare_for_librdkafka()
        broker = self.prepared(use_memory_s3=1, group_initial_rebalance_delay_ms=0)
        self.ca = authority()
        (broker.folder / "ca.pem").write_bytes(self.ca.pem())
        for name in ("alice", "mallory"):
            made = issue([(NameOID.COMMON_NAME, name)], self.ca if name == "alice" else None)
            (broker.folder / f"{name}.pem").write_bytes(made.key_pem() + made.pem())
        self.present(broker, "one")
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(broker.folder / "broker.pem")
        self.issuer, self.publisher = TokenServer(), TokenServer(tls)
        self.addCleanup(self.issuer.close)
        self.addCleanup(self.publisher.close)
        (broker.folder / "password").write_text(PASSWORD)
        self.servers = {
            "SSL": f"localhost:{free_port()}",
            "SASL_PLAINTEXT": f"127.0.0.1:{free_port()}",
            "SASL_SSL": f"localhost:{free_port()}",
        }
        listeners = {"PLAINTEXT": broker.address, **self.servers}
        self.http = free_port()
        broker.settings |= {
            "listeners": ",".join(f"{name}://{where}" for name, where in listeners.items()),
            "metrics_addr": f"127.0.0.1:{self.http}",
            "ssl_cert": "broker.pem",
            "ssl_ca": "ca.pem",
            "listener_name_ssl_ssl_client_auth": "required",
            "authorizer": "acl",
            "super_users": ";".join(f"User:{name}" for name in PRINCIPALS),
            "sasl_enabled_mechanisms": ",".join(MECHANISMS),
            "admin_user": ADMIN,
            "admin_password_file": "password",
            "sasl_oauthbearer_jwks_endpoint_url": f"{self.publisher.url}/keys",
            "sasl_oauthbearer_ca": "ca.pem",
            "sasl_oauthbearer_expected_issuer": ISSUER,
            "sasl_oauthbearer_expected_audience": AUDIENCE,
            "connections_max_reauth_ms": int(1000 * SESSION_SECONDS),
            **settings,
        }
        return broker.start()

    def present(self, broker: Broker, name: str) -> Issued:
        """
        Let the broker have a certificate with this name.
        """
        made = issue(
            [(NameOID.COMMON_NAME, name)], self.ca, hosts=["localhost", "127.0.0.1"]
        )
        new = broker.folder / "broker.pem.new"
        new.write_bytes(made.key_pem() + made.pem())
        os.replace(new, broker.folder / "broker.pem")
        return made

    def presented(self, broker: Broker) -> str:
        """
        The name in the certificate that the broker presents.
        """
        host, _, port = self.servers["SASL_SSL"].partition(":")
        context = ssl.create_default_context(cafile=str(broker.folder / "ca.pem"))
        with (
            socket.create_connection((host, int(port)), 30) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            found: Any = secure.getpeercert()
        return str(found["subject"][0][0][1])

    def login(self, protocol: str, mechanism: str, fault: str = "") -> Login:
        """
        A login.

        @param fault: What is wrong with it: C{password}, C{user}, C{expired} or
            C{stranger} (the token), C{none} or C{mallory} (the certificate); or nothing.
        """
        folder = self.brokers[0].folder
        certificate = {"": "alice", "mallory": "mallory"}.get(fault, "")
        return Login(
            protocol,
            self.servers[protocol],
            mechanism,
            "nobody" if fault == "user" else ADMIN,
            "wrong" if fault == "password" else PASSWORD,
            f"{self.issuer.url}/{fault or 'token'}",
            str(folder / "ca.pem"),
            str(folder / f"{certificate}.pem") if protocol == "SSL" and certificate else "",
            "-".join(filter(None, (protocol, mechanism, fault))),
            str(folder / "over"),
            5.0 if fault else 60.0,
        )

    def metrics(self) -> dict[str, float]:
        """
        The value of each line of C{/metrics}, by its name and labels.
        """
        _, text = page(self.http, "/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in lines}

