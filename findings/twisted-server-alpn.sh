#!/usr/bin/env bash
#
# Twisted 26.10.0 with pyOpenSSL 26.4.0.
#
# A TLS server that is made with CertificateOptions, and names no protocols for ALPN,
# refuses every client that offers some, as curl and most clients of HTTP do: the
# handshake ends with the alert internal_error. RFC 7301 leaves it to such a server to
# ignore the extension. The reason is that Twisted always registers a selection callback
# with OpenSSL, which returns an empty name if nothing matches; pyOpenSSL takes an empty
# name for a mistake of the callback, and wants NO_OVERLAPPING_PROTOCOLS instead. A
# server finds nothing in its log, but for the error that connectionLost is given. It can
# set a callback of its own on the context of its CertificateOptions.
#
# Output seen:
#
#     offers nothing: connected, no protocol
#     offers http/1.1: refused, internal error
#     offers http/1.1, with a callback of its own: connected, no protocol

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    'twisted[tls]==26.10.0' pyopenssl==26.4.0 cryptography==50.0.2

cat >look.py <<'PYTHON'
import datetime
import socket
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread

key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
now = datetime.datetime.now(datetime.timezone.utc)
day = datetime.timedelta(days=1)
made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
pem += key.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def connect(port, protocols):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as plain:
            with context.wrap_socket(plain) as secure:
                return f"connected, {secure.selected_alpn_protocol() or 'no protocol'}"
    except ssl.SSLError as error:
        return f"refused, {'internal error' if 'INTERNAL_ERROR' in str(error) else error}"


async def look():
    found = []
    for what, protocols, own in (
        ("nothing", [], False),
        ("http/1.1", ["http/1.1"], False),
        ("http/1.1, with a callback of its own", ["http/1.1"], True),
    ):
        options = PrivateCertificate.loadPEM(pem).options()
        if own:
            options.getContext().set_alpn_select_callback(
                lambda connection, offered: SSL.NO_OVERLAPPING_PROTOCOLS
            )
        factory = Factory.forProtocol(Protocol)
        listening = reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        outcome = await deferToThread(connect, listening.getHost().port, protocols)
        print(f"offers {what}: {outcome}", flush=True)
        found.append(outcome)
        await listening.stopListening()
    connected, refused = "connected, no protocol", "refused, internal error"
    status.append(found != [connected, refused, connected])
    reactor.stop()


status = []
Protocol.noisy = Factory.noisy = False
reactor.callWhenRunning(lambda: ensureDeferred(look()))
reactor.run()
sys.exit(status != [False])
PYTHON
venv/bin/python look.py
