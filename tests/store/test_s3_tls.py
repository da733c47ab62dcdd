"""
A bucket behind TLS, with a certificate of one's own making.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.ssl import PrivateCertificate
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from kafscale.errors import SettingError, StoreUnavailable
from kafscale.store.http import trust_root
from kafscale.store.s3.address import Address
from tests import s3
from tests.store.scripted import Say, Script


def self_signed(host: str) -> PrivateCertificate:
    """
    A certificate for a host, signed by itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2120, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return PrivateCertificate.loadPEM(
        made.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


class TLSTests(TestCase):
    """
    Whose certificates are believed.
    """

    def setUp(self) -> None:
        """
        A server with a certificate that nobody knows.
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
        With its certificate in the file the server is believed.
        """
        client = s3.client(self.address, ca_file=self.ca_file)
        self.addCleanup(client.close)
        self.assertEqual((await client.get_object("a")).body, b"secret")

    async def test_unknown(self) -> None:
        """
        Without, it is not, and nothing is asked.
        """
        store = s3.store(self.address)
        self.addCleanup(store.close)
        try:
            await store.get("a")
        except StoreUnavailable as error:
            self.assertIn("certificate", str(error))
        else:
            self.fail("a stranger was believed")
        self.assertEqual(self.script.asked, [])

    def test_no_certificates(self) -> None:
        """
        A file that is not there, or has none, is a setting that is wrong.
        """
        Path(self.ca_file).write_text("nothing of the kind")
        for path in (self.ca_file, self.mktemp()):
            refused = self.assertRaises(SettingError, trust_root, path)
            self.assertIn(path, str(refused))
        Path(self.ca_file).write_text(
            "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"
        )
        self.assertRaises(SettingError, trust_root, self.ca_file)
