"""
TLS by OpenSSL: a certificate and a key in files, which may be replaced at any time.

New connections get the files as they are; connections that are open keep what they
began with. New files that cannot be used are not used: the broker goes on with the old
ones, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from zope.interface import implementer

NONE: Final = "none"
REQUESTED: Final = "requested"
REQUIRED: Final = "required"

WARNING_DAYS: Final = 14
"""A certificate that expires within this time is warned of, once a day."""

_DAY: Final = 86_400.0


class UnusableFiles(Exception):
    """
    The files have no certificate and key that could be used. The message names the
    file and says why.
    """


def check_ciphers(text: str) -> None:
    """
    Check a list of ciphers for TLS 1.2 in OpenSSL's format.

    @raise ValueError: It is none, or names no cipher that there is.
    """
    try:
        CertificateOptions(acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(text))
    except (SSL.Error, ValueError):
        raise ValueError(text) from None


@attrs.frozen
class TlsSettings:
    """
    How a listener speaks TLS.

    @ivar name: What the certificate is for, in the log.
    @ivar certificate: Path of the broker's certificate, followed by its intermediate
        certificates, in PEM.
    @ivar key: Path of its private key, in PEM; may be the same file.
    @ivar password: Decrypts the key; None if it is not encrypted.
    @ivar ca: Path of the CA certificates that clients and other brokers are verified
        with; None: clients are not, brokers with the system's.
    @ivar client_auth: Whether clients present certificates: C{none}, C{requested} or
        C{required}.
    @ivar protocols: C{TLSv1.2}, C{TLSv1.3} or both.
    @ivar ciphers: OpenSSL's list of ciphers for TLS 1.2, see L{check_ciphers}; None:
        Twisted's.
    """

    name: str
    certificate: str
    key: str
    password: str | None = attrs.field(default=None, repr=False)
    ca: str | None = None
    client_auth: str = NONE
    protocols: Sequence[str] = ("TLSv1.2", "TLSv1.3")
    ciphers: str | None = None


@attrs.frozen
class _Loaded:
    """
    The files as they were read.

    @ivar context: For new connections of clients.
    @ivar identity: The certificate for connections to other brokers, as arguments of
        C{CertificateOptions}.
    @ivar trusted: The CA certificates, for those connections.
    @ivar chain: The broker's certificate, and its intermediate certificates.
    @ivar roots: The CA certificates.
    @ivar expires: When the first certificate of the chain expires, in seconds since 1970.
    """

    context: SSL.Context
    identity: dict[str, Any]
    trusted: Any
    chain: Sequence[x509.Certificate]
    roots: Sequence[x509.Certificate]
    expires: float


@implementer(IOpenSSLServerConnectionCreator)
class Tls:
    """
    The certificate of a listener.

    @ivar settings: As given.
    """

    _log = Logger()

    def __init__(self, settings: TlsSettings, now: float) -> None:
        """
        @param now: The time, in seconds since 1970.
        @raise UnusableFiles: There is no certificate that could be used.
        """
        self.settings = settings
        self._seen = self._state()
        self._loaded = _load(settings)
        self._warned = 0.0
        self._warn(now)

    @property
    def expires(self) -> float:
        """
        When the first certificate of the chain expires, in seconds since 1970.
        """
        return self._loaded.expires

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802
        """
        A connection with the present certificate.
        """
        return SSL.Connection(self._loaded.context, None)

    def client_options(self, host: str) -> Any:
        """
        What a connection to another broker uses: the same certificate.

        @param host: The name or address that the other's certificate must have.
        """
        loaded = self._loaded
        return optionsForClientTLS(
            host,
            trustRoot=loaded.trusted or platformTrust(),
            extraCertificateOptions=loaded.identity,
        )

    def check(self, now: float) -> None:
        """
        Use the files if they have changed.

        @param now: The time, in seconds since 1970.
        """
        state = self._state()
        if state != self._seen:
            self._seen = state
            self._reload()
        self._warn(now)

    def _reload(self) -> None:
        before = self._loaded
        try:
            self._loaded = _load(self.settings)
        except UnusableFiles as why:
            self._log.error(
                "the new files of the certificate of {name} cannot be used, and those before stay"
                " in use: {why}",
                name=self.settings.name,
                why=why,
            )
            return
        if self._loaded.chain != before.chain:
            self._warned = 0.0
            self._log.info(
                "{name} has a new certificate, which expires at {expires}",
                name=self.settings.name,
                expires=_date(self.expires),
            )
        if self._loaded.roots != before.roots:
            self._log.info(
                "{name} has new CA certificates: new connections are verified with those in {path}",
                name=self.settings.name,
                path=self.settings.ca,
            )

    def _warn(self, now: float) -> None:
        """
        Log that the certificate expires soon, or has expired, once a day.
        """
        left = self.expires - now
        if left >= WARNING_DAYS * _DAY or now - self._warned < _DAY:
            return
        self._warned = now
        if left > 0:
            self._log.warn(
                "the certificate of {name} expires at {expires}: replace {path}; the new one is"
                " taken without a restart",
                name=self.settings.name,
                expires=_date(self.expires),
                path=self.settings.certificate,
            )
        else:
            self._log.error(
                "the certificate of {name} has expired at {expires}, and clients refuse it: replace"
                " {path}; the new one is taken without a restart",
                name=self.settings.name,
                expires=_date(self.expires),
                path=self.settings.certificate,
            )

    def _state(self) -> list[tuple[int, int, int] | None]:
        """
        What changes when a file is replaced, or a symbolic link to it.
        """
        found: list[tuple[int, int, int] | None] = []
        for path in (self.settings.certificate, self.settings.key, self.settings.ca):
            try:
                status = os.stat(path) if path is not None else None
            except OSError:
                status = None
            found.append(status and (status.st_mtime_ns, status.st_size, status.st_ino))
        return found


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _load(settings: TlsSettings) -> _Loaded:
    """
    Read the files.

    @raise UnusableFiles: They cannot be used.
    """
    chain = _certificates(settings.certificate)
    try:
        key = load_pem_private_key(
            _read(settings.key), settings.password.encode() if settings.password else None
        )
    except (ValueError, TypeError) as error:
        raise UnusableFiles(f"{settings.key}: no private key can be read: {error}") from None
    if key.public_key() != chain[0].public_key():
        raise UnusableFiles(
            f"{settings.key} is not the key of the certificate in {settings.certificate}"
        )
    roots = [] if settings.ca is None else _certificates(settings.ca)
    trusted = None
    if roots:
        trusted = trustRootFromCertificates(
            [Certificate(crypto.X509.from_cryptography(each)) for each in roots]
        )
    identity: dict[str, Any] = {
        "privateKey": crypto.PKey.from_cryptography_key(key),  # type: ignore[arg-type]
        "certificate": crypto.X509.from_cryptography(chain[0]),
        "extraCertChain": [crypto.X509.from_cryptography(each) for each in chain[1:]],
    }
    options = dict(identity)
    if settings.client_auth != NONE:
        options["trustRoot"] = trusted
    if settings.ciphers is not None:
        options["acceptableCiphers"] = AcceptableCiphers.fromOpenSSLCipherString(settings.ciphers)
    versions = [_VERSIONS[each] for each in settings.protocols]
    try:
        context = CertificateOptions(
            **options,
            raiseMinimumTo=min(versions),
            lowerMaximumSecurityTo=max(versions),
        ).getContext()
    except (SSL.Error, ValueError) as error:
        raise UnusableFiles(f"{settings.certificate}: {error}") from None
    # Clients such as curl offer protocols by ALPN. No protocol is chosen; Twisted's choice
    # of an empty one ends the handshake (pyOpenSSL takes that for an error).
    context.set_alpn_select_callback(lambda connection, offered: SSL.NO_OVERLAPPING_PROTOCOLS)
    if settings.client_auth == REQUESTED:
        context.set_verify(SSL.VERIFY_PEER, lambda connection, found, error, depth, ok: bool(ok))
    expires = min(each.not_valid_after_utc for each in chain)
    return _Loaded(context, identity, trusted, chain, roots, expires.timestamp())


_VERSIONS = {"TLSv1.2": TLSVersion.TLSv1_2, "TLSv1.3": TLSVersion.TLSv1_3}


def _certificates(path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise UnusableFiles(f"{path}: no certificate can be read: {error}") from None


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnusableFiles(f"{path}: {error.strerror}") from None
