"""
Certificates that tests make.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_address

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from twisted.internet.ssl import PrivateCertificate


def self_signed(host: str) -> PrivateCertificate:
    """
    Make a self-signed certificate for a host.
    """
    return signed(host, None)


def signed(host: str, by: PrivateCertificate | None) -> PrivateCertificate:
    """
    Make a certificate for a host.

    @param by: The certificate of the issuer; None: it is self-signed.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    issuer, signer = name, key
    if by is not None:
        issuer = by.original.to_cryptography().subject
        signer = by.privateKey.original.to_cryptography_key()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2120, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return PrivateCertificate.loadPEM(
        made.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


@attrs.frozen
class Issued:
    """
    A certificate and its key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """
        The certificate.
        """
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self, password: str | None = None) -> bytes:
        """
        The key, encrypted if there is a password.
        """
        encryption: KeySerializationEncryption = NoEncryption()
        if password is not None:
            encryption = BestAvailableEncryption(password.encode())
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def issue(
    subject: Sequence[tuple[x509.ObjectIdentifier, str]],
    issuer: Issued | None = None,
    *,
    hosts: Sequence[str] = (),
    until: datetime = datetime(2120, 1, 1),
) -> Issued:
    """
    Issue a certificate.

    @param subject: The most general name first.
    @param issuer: None: it is self-signed, and may issue others.
    @param hosts: Names and IP addresses that it is for.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in subject])
    names: list[x509.GeneralName] = []
    for each in hosts:
        numeric = each.replace(".", "").isdigit()
        names.append(x509.IPAddress(ip_address(each)) if numeric else x509.DNSName(each))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(key if issuer is None else issuer.key, hashes.SHA256())
    return Issued(made, key)


def authority(name: str = "Authority") -> Issued:
    """
    A certificate that issues others.
    """
    return issue([(x509.NameOID.COMMON_NAME, name)])
