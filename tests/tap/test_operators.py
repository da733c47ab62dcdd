"""
Tests of `kafscale.tap.operators`.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from cryptography.x509.oid import NameOID
from twisted.internet import reactor  # noqa: TID251 - a real port
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from kafscale.config import PREFIX, from_environment
from kafscale.tap.operators import Operators
from tests.harness.certificates import authority, issue


class WarningTests(TestCase):
    """
    What others can do at the port of the HTTP server.
    """

    def logged(self, **environ: str) -> list[str]:
        """
        The lines about a server with these settings.
        """
        settings, _ = from_environment({PREFIX + name: text for name, text in environ.items()})
        stores = SimpleNamespace(probed=[], disk_cache=None, requests={})
        operators = Operators(stores, str, str, reactor)  # type: ignore[arg-type]
        self.assertEqual(operators.listen(settings), [])
        self.addCleanup(lambda: Deferred.fromCoroutine(operators.stop()))
        with capturedLogs() as logs:
            operators.log_address()
        return [str(formatEvent(each)) for each in logs]

    def test_warned(self) -> None:
        """
        Without a login anyone can read the metrics, and without TLS a token can be read,
        unless only this machine reaches the port.
        """
        own = issue([(NameOID.COMMON_NAME, "broker")], authority(), hosts=["localhost"])
        path = Path(self.mktemp())
        path.write_bytes(own.pem() + own.key_pem())
        token, tls = {"METRICS_TOKEN": "secret"}, {"METRICS_SSL_CERT": str(path)}
        user = {"METRICS_USER": "ann", "METRICS_PASSWORD": "secret"}
        for host, others, warned in (
            ("127.0.0.1", {}, []),
            ("127.0.0.1", token, []),
            ("0.0.0.0", {}, ["can read /metrics"]),
            ("0.0.0.0", tls, ["can read /metrics"]),
            ("0.0.0.0", token, ["the token or the password for 0.0.0.0:"]),
            ("0.0.0.0", user, ["the token or the password for 0.0.0.0:"]),
            ("0.0.0.0", {**token, **tls}, []),
        ):
            first, *lines = self.logged(METRICS_ADDR=f"{host}:0", **others)
            self.assertIn("serving /metrics", first)
            self.assertEqual(len(lines), len(warned), lines)
            for line, words in zip(lines, warned, strict=True):
                self.assertIn(words, line)
                self.assertNotIn("secret", line)
