"""
Tests for L{kafscale.store.http} with a bucket that is reached over TLS.
"""

from __future__ import annotations

from pathlib import Path

from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from kafscale.errors import SettingError, StoreUnavailable
from kafscale.store.http import trust_root
from kafscale.store.s3.address import Address
from tests.harness import s3
from tests.harness.certificates import self_signed
from tests.store.scripted import Say, Script


class TLSTests(TestCase):
    """
    The certificate authorities that are trusted.
    """

    def setUp(self) -> None:
        """
        Start a server with a self-signed certificate.
        """
        certificate = self_signed("localhost")
        self.ca_file = self.mktemp()
        Path(self.ca_file).write_bytes(b"Some words first.\n" + certificate.dumpPEM())
        self.script = Script()
        self.script.answers = [Say(200, b"secret")]
        factory = TLSMemoryBIOFactory(certificate.options(), False, self.script.site())
        factory.noisy = False
        port = s3.listen(factory)
        self.addCleanup(port.stopListening)
        base = f"https://localhost:{port.getHost().port}/bucket"
        self.address = Address("bucket", "us-east-1", base)

    async def test_known(self) -> None:
        """
        A server whose certificate is in the file is trusted.
        """
        client = s3.client(self.address, ca_file=self.ca_file)
        self.addCleanup(client.close)
        self.assertEqual((await client.get_object("a")).body, b"secret")

    async def test_unknown(self) -> None:
        """
        Another server is not trusted, and no request is sent.
        """
        store = s3.store(self.address)
        self.addCleanup(store.close)
        try:
            await store.get("a")
        except StoreUnavailable as error:
            self.assertIn("certificate", str(error))
        else:
            self.fail("the server was trusted")
        self.assertEqual(self.script.asked, [])

    def test_no_certificates(self) -> None:
        """
        A file that does not exist, or has no certificate, is a SettingError.
        """
        Path(self.ca_file).write_text("nothing of the kind")
        for path in (self.ca_file, self.mktemp()):
            refused = self.assertRaises(SettingError, trust_root, path)
            self.assertIn(path, str(refused))
        Path(self.ca_file).write_text(
            "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"
        )
        self.assertRaises(SettingError, trust_root, self.ca_file)
