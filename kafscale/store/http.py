"""
TCP and TLS connections to stores that are reached over HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.client import (
    URI,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from kafscale.errors import SettingError

CONNECT_SECONDS = 5.0
"""The timeout of connecting."""

BUFFER = 256 * 1024
"""The maximum number of bytes read from a connection at once; Twisted's default
is 64 KiB."""


_WRAPPERS = (RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed)
"""The errors in which Twisted wraps others, by how far the request had come: its
body was being read, written, or the answer awaited."""


def reason_of(error: Exception) -> str:
    """
    The reason why an HTTP request failed, for a line of the log.
    """
    if isinstance(error, ResponseFailed) and error.response is not None:
        return f"the answer ended too soon: {reason_of(error.reasons[0].value)}"
    if isinstance(error, _WRAPPERS) and error.reasons:
        return reason_of(error.reasons[-1].value)
    if isinstance(error, PotentialDataLoss):
        return "the answer does not say where it ends"
    text = str(error).rstrip(".")
    return text if text else type(error).__name__


def is_cancelled(error: Exception) -> bool:
    """
    Whether an HTTP request failed because its Deferred was cancelled.
    """
    if isinstance(error, _WRAPPERS):
        return any(is_cancelled(each.value) for each in error.reasons)
    return isinstance(error, CancelledError | ConnectingCancelledError)


@attrs.frozen
class Proof:
    """
    A client's certificate, for mutual TLS.

    @ivar certificate: The certificate with its key, a C{PrivateCertificate}.
    @ivar chain: The intermediate certificates, as OpenSSL's objects.
    """

    certificate: Any
    chain: Sequence[Any] = ()


@implementer(IAgentEndpointFactory)
class Endpoints:
    """
    Makes the endpoints of an HTTP client. Their connections have large buffers,
    and servers' certificates are verified.
    """

    def __init__(self, reactor: Any, trust: Any, certificate: Proof | None = None) -> None:
        """
        @param reactor: Makes the connections, and resolves names.
        @param trust: The certificate authorities that are trusted, from
            L{trust_root}. Needed for https only.
        @param certificate: The client's certificate, from L{client_certificate}.
        """
        self._reactor = reactor
        self._trust = trust
        self._certificate = certificate

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802
        """
        See C{IAgentEndpointFactory.endpointForURI}.
        """
        host = uri.host.decode("ascii").strip("[]")
        endpoint = _Roomy(
            HostnameEndpoint(self._reactor, host, uri.port, timeout=CONNECT_SECONDS)
        )
        if uri.scheme == b"https":
            proof = self._certificate
            options = optionsForClientTLS(
                host,
                trustRoot=self._trust,
                clientCertificate=None if proof is None else proof.certificate,
                extraCertificateOptions={"extraCertChain": proof.chain} if proof else None,
            )
            return _Quiet(wrapClientTLS(options, endpoint))
        return endpoint


@implementer(IStreamClientEndpoint)
class _Quiet:
    """
    An endpoint that does not log its connections.
    """

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        See C{IStreamClientEndpoint.connect}.
        """
        factory.noisy = False
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting


class _Roomy(_Quiet):
    """
    An endpoint with large receive buffers and without Nagle's algorithm, which
    does not log its connections either. To cancel a connection fails with
    C{CancelledError}; Twisted says that the host is unknown, if its name is being
    resolved.
    """

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        See C{IStreamClientEndpoint.connect}.
        """

        def cancel(_: Deferred[Any]) -> None:
            outcome.errback(CancelledError())
            connecting.cancel()

        def done(result: Any) -> None:
            if not outcome.called:
                outcome.callback(result)

        def widen(protocol: Any) -> Any:
            protocol.transport.bufferSize = BUFFER
            protocol.transport.setTcpNoDelay(True)
            return protocol

        outcome: Deferred[Any] = Deferred(cancel)
        connecting = super().connect(factory)
        connecting.addBoth(done)
        return outcome.addCallback(widen)


_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def trust_root(ca_file: str | None) -> Any:
    """
    The certificate authorities that are trusted.

    @param ca_file: A file with certificates in PEM format. Without one, the
        platform's are used.
    @raise SettingError: the file cannot be read, or has no certificate.
    """
    if not ca_file:
        return platformTrust()  # type: ignore[no-untyped-call]
    try:
        with open(ca_file, "rb") as file:
            found = [Certificate.loadPEM(each) for each in _CERTIFICATE.findall(file.read())]
    except OSError as error:
        raise SettingError(f"cannot read {ca_file}: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001 - OpenSSL's, in its own words
        raise SettingError(f"{ca_file}: a certificate cannot be read ({error})") from None
    if not found:
        raise SettingError(f"{ca_file} has no certificate in PEM format")
    return trustRootFromCertificates(found)  # type: ignore[no-untyped-call]


def client_certificate(certificate_file: str, key_file: str) -> Proof:
    """
    A client's certificate, for mutual TLS.

    @param certificate_file: The certificate in PEM format, followed by its
        intermediate certificates.
    @param key_file: The private key in PEM format.
    @raise SettingError: a file cannot be read, or the key is not the
        certificate's.
    """
    text = []
    for name in (certificate_file, key_file):
        try:
            with open(name, "rb") as file:
                text.append(file.read())
        except OSError as error:
            raise SettingError(f"cannot read {name}: {error.strerror or error}") from None
    try:
        pair = PrivateCertificate.loadPEM(b"\n".join(text))  # type: ignore[no-untyped-call]
        rest = _CERTIFICATE.findall(text[0])[1:]
        return Proof(pair, [Certificate.loadPEM(each).original for each in rest])
    except Exception as error:  # noqa: BLE001 - OpenSSL's, in its own words
        raise SettingError(f"{certificate_file}, {key_file}: not a pair ({error})") from None
