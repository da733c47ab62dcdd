"""
Tests for L{kafscale.store.s3.advice}: starts with an endpoint that is not the API
of S3, or that refuses the key.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from kafscale.errors import SettingError
from kafscale.store.s3 import probe
from kafscale.store.s3.address import Address
from tests.harness import s3
from tests.harness.certificates import self_signed
from tests.store.scripted import Say, Script, cut_short, error

PAGE = b"<!DOCTYPE html><html><head><title>Console</title></head><body>Sign in</body></html>"

STRANGER = "a web server or the console of a store? Check KAFSCALE_S3_ENDPOINT"
TO_HTTPS = "KAFSCALE_S3_ENDPOINT must begin with https://"
TO_HTTP = "KAFSCALE_S3_ENDPOINT must begin with http://"


class Greeting(Protocol):
    """
    A server of another protocol.
    """

    words = b"SSH-2.0-OpenSSH_9.2\r\n"

    def connectionMade(self) -> None:
        """
        Say something, and end.
        """
        self.transport.write(self.words)  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class Plain(Greeting):
    """
    A server of HTTP that does not understand what a client of TLS says.
    """

    words = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


class AdviceTests(TestCase):
    """
    The line with which a start ends.
    """

    def setUp(self) -> None:
        """
        Do not wait for a better answer.
        """
        self.patch(probe, "PATIENCE", 0.0)
        self.script = Script()

    def serve(self, factory: Any) -> int:
        """
        Listen, and return the port.
        """
        factory.noisy = False
        port = s3.listen(factory)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def line(self, endpoint: str) -> str:
        """
        Start with this endpoint.
        """
        store = s3.store(Address("logs", "us-east-1", f"{endpoint}/logs"))
        try:
            await s3.probe(store, "create")
        except SettingError as refusal:
            return str(refusal)
        finally:
            await store.close()
        raise self.failureException(f"{endpoint} was accepted")

    async def test_answers(self) -> None:
        """
        A page is not taken for S3, whatever its status; an error of S3 is, and
        only some have a remedy.
        """
        endpoint = f"http://127.0.0.1:{self.serve(self.script.site())}"
        tls = b"<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>"
        for answer, *words in (
            (Say(200, PAGE), "document type", STRANGER),
            (Say(200, b"{}"), "not XML", STRANGER),
            (Say(404, PAGE), "the bucket: 404: Console Sign in", STRANGER),
            (Say(301, PAGE), "301: Console", STRANGER),
            (Say(403), "the bucket: 403 ", STRANGER),
            (Say(400, tls), "400: 400 The plain HTTP request", TO_HTTPS),
            (Say(400, b"Client sent an HTTP request to an HTTPS server.\n"), TO_HTTPS),
            (error(403, "NotSignedUp"), "check AWS_ACCESS_KEY_ID or the profile"),
            (error(403, "AccessDenied"), "s3:ListBucket"),
            (Say(502, b"<html>Bad Gateway</html>"), "the bucket: 502: Bad Gateway"),
        ):
            self.script.answers = [answer]
            line = await self.line(endpoint)
            for word in words:
                self.assertIn(str(word), line)
            self.assertNotIn("\n", line)
        for odd, end in (
            (error(403, "Odd"), r"403 Odd: on the test's orders"),
            (cut_short, r"the answer ended too soon: Connection [^()]*"),
        ):
            self.script.answers = [odd]
            self.assertRegex(await self.line(endpoint), rf"{end}\Z")

    async def test_tls(self) -> None:
        """
        http where https is spoken, and the other way round; a certificate of an
        unknown authority.
        """
        options = self_signed("localhost").options()
        secure = self.serve(TLSMemoryBIOFactory(options, False, self.script.site()))
        plain = self.serve(Factory.forProtocol(Plain))
        other = self.serve(Factory.forProtocol(Greeting))
        self.script.answers = [Say(200)]
        for endpoint, word in (
            (f"http://localhost:{secure}", TO_HTTPS),
            (f"http://localhost:{other}", TO_HTTPS),
            (f"https://localhost:{plain}", TO_HTTP),
            (f"https://localhost:{secure}", "set KAFSCALE_S3_CA_FILE to the CA"),
            ("http://127.0.0.1:1", "check KAFSCALE_S3_ENDPOINT, and that the store is running"),
            ("http://no-such-host.invalid", "check KAFSCALE_S3_ENDPOINT"),
        ):
            self.assertIn(word, await self.line(endpoint))

    async def test_later(self) -> None:
        """
        What has answered as S3 is not taken for something else because of a later
        answer.
        """
        page = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        self.script.answers = [Say(200, page), Say(404, PAGE)]
        line = await self.line(f"http://127.0.0.1:{self.serve(self.script.site())}")
        self.assertIn("a key without an object: 404: Console Sign in", line)
        self.assertNotIn("KAFSCALE_S3_ENDPOINT", line)
