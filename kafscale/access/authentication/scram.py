"""
SCRAM-SHA-256 and SCRAM-SHA-512, the server's side (RFC 5802, RFC 7677).

A client that names an unknown user gets the same steps as one with a wrong
password: a salt that is always the same for this name, and the refusal after the
proof. Both take the same time, because the same is computed.

Kafka has two peculiarities. A client that logs in by a delegation token sends the
token's id for a name, and the extension C{tokenauth=true} behind the nonce
(KIP-48), an attribute of more than one letter, which the RFC does not allow. And
whatever is wrong with a message is answered with the same text.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import attrs

from kafscale.access.authentication.exchange import LONGEST, Identity, Refused, Step
from kafscale.format.user import ScramCredential

MIN_ITERATIONS: Final = 4096
"""The least number of iterations of a credential (Kafka's C{ScramMechanism})."""

MAX_ITERATIONS: Final = 16384
"""The highest; a higher one would only cost the broker time."""

SALT_BYTES: Final = 24
"""The length of salts made by the broker, in bytes."""

_NAME = r"(?:[^=,\x00]|=2C|=3D)"
_EXTENSIONS = r"(?:,[A-Za-z]+=[^,\x00]+)*"
_FIRST = re.compile(
    rf"(?P<header>n,(?:a=(?P<authzid>{_NAME}+))?,)"
    rf"(?P<bare>n=(?P<name>{_NAME}+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?P<more>{_EXTENSIONS}))"
)
_FINAL = re.compile(
    rf"(?P<without>c=(?P<header>[A-Za-z0-9+/=]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+){_EXTENSIONS})"
    r",p=(?P<proof>[A-Za-z0-9+/=]+)"
)


@attrs.frozen
class Mechanism:
    """
    A member of the family.

    @ivar name: As in SaslHandshake.
    @ivar number: As in AlterUserScramCredentials.
    @ivar hash: As in C{hashlib}.
    @ivar size: The length of its digests, in bytes.
    """

    name: str
    number: int
    hash: str
    size: int

    def digest(self, key: bytes, text: bytes) -> bytes:
        """
        The HMAC.
        """
        return hmac.digest(key, text, self.hash)

    def salted(self, password: bytes, salt: bytes, iterations: int) -> bytes:
        """
        The salted password (PBKDF2). Takes milliseconds, so it runs in a thread.
        """
        return hashlib.pbkdf2_hmac(self.hash, password, salt, iterations)

    def credential(self, salted: bytes, salt: bytes, iterations: int) -> ScramCredential:
        """
        What is kept of a salted password.
        """
        client_key = self.digest(salted, b"Client Key")
        stored_key = hashlib.new(self.hash, client_key).digest()
        return ScramCredential(salt, iterations, stored_key, self.digest(salted, b"Server Key"))

    def decoy(self, secret: bytes, name: str) -> ScramCredential:
        """
        What an unknown user has for a credential: the same each time, and no password
        fits it.

        @param secret: A secret of the cluster, the same on all brokers.
        """
        seed = hmac.digest(secret, name.encode(), "sha512")
        key = hmac.digest(secret, seed, "sha512")[: self.size]
        return ScramCredential(seed[:SALT_BYTES], MIN_ITERATIONS, key, key)


SHA_256: Final = Mechanism("SCRAM-SHA-256", 1, "sha256", 32)
SHA_512: Final = Mechanism("SCRAM-SHA-512", 2, "sha512", 64)

MECHANISMS: Final[Mapping[str, Mechanism]] = {each.name: each for each in (SHA_256, SHA_512)}
"""Both, by their names."""


WRONG_PASSWORD: Final = "the password is wrong"
"""The reason in the log for a user that exists, and whose proof is wrong."""


@attrs.frozen
class Known:
    """
    What is known of a client's name.

    @ivar credential: With which its proof is checked.
    @ivar identity: What it is once it has proved that; None if no proof is accepted.
    @ivar unknown: Why none is, for the log.
    """

    credential: ScramCredential
    identity: Identity | None
    unknown: str = "there is no such user"


LookUp = Callable[[str, Mechanism], Known]
"""Returns what is known of a user; for an unknown user, with a decoy as credential."""


class Tokens(Protocol):
    """
    What is known of delegation tokens.
    """

    def credential(self, token_id: str, mechanism: Mechanism) -> Awaitable[ScramCredential]:
        """
        The credential of a token, whether or not there is one with this id.
        """

    def identity(self, token_id: str) -> Awaitable[Identity | None]:
        """
        For whom a client acts that has proved to have the token; None if it has ended.
        """


class ScramExchange:
    """
    Two rounds: the names and nonces, then the proofs.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        look_up: LookUp,
        new_nonce: Callable[[], str],
        tokens: Tokens | None = None,
    ) -> None:
        """
        @param look_up: Called once, with the name that the client gives.
        @param new_nonce: Makes the broker's part of the nonce, printable and without a
            comma.
        @param tokens: None if there are no delegation tokens.
        """
        self._mechanism = mechanism
        self._look_up = look_up
        self._tokens = tokens
        self._token_id: str | None = None  # None unless it logs in by a token
        self._new_nonce = new_nonce
        self.user: str | None = None
        self._known: Known | None = None
        self._header = b""
        self._nonce = ""
        self._exchanged = ""

    async def step(self, token: bytes) -> Step:
        """
        See L{kafscale.access.authentication.exchange.Exchange.step}.
        """
        if len(token) > LONGEST:
            raise Refused(reason=f"its message has more than {LONGEST} bytes")
        try:
            text = token.decode()
        except UnicodeDecodeError:
            raise Refused(reason="its message is not UTF-8") from None
        if self._known is None:
            return await self._first(text)
        return await self._final(text, self._known)

    async def _first(self, text: str) -> Step:
        """
        The client's name and nonce; the salt and the whole nonce for the client.
        """
        match = _FIRST.fullmatch(text)
        if match is None:
            raise Refused(reason="its first message is malformed")
        name = self.user = _plain(match["name"])
        if match["authzid"] is not None and _plain(match["authzid"]) != name:
            raise Refused(
                "Authentication failed: Client requested an authorization id that is different"
                " from username"
            )
        known = self._look_up(name, self._mechanism)
        if "tokenauth=true" in match["more"].split(","):
            self._token_id = name
            if self._tokens is None:
                known = Known(known.credential, None, "there are no delegation tokens")
            else:
                credential = await self._tokens.credential(name, self._mechanism)
                known = Known(credential, None, "it has no delegation token with this id")
        self._known = known
        self._header = match["header"].encode()
        self._nonce = match["nonce"] + self._new_nonce()
        salt = b64encode(known.credential.salt).decode()
        first = f"r={self._nonce},s={salt},i={known.credential.iterations}"
        self._exchanged = f"{match['bare']},{first}"
        return Step(first.encode())

    async def _final(self, text: str, known: Known) -> Step:
        """
        The client's proof; the broker's, for the client.
        """
        match = _FINAL.fullmatch(text)
        # librdkafka before 2.6.1, as Debian's kcat, repeats its own nonce before the whole one.
        # That gives nothing away: the proof is of all that was exchanged.
        malformed = Refused(reason="its final message is malformed, or of another exchange")
        if match is None or not match["nonce"].endswith(self._nonce):
            raise malformed
        try:
            header, proof = (b64decode(match[each], validate=True) for each in ("header", "proof"))
        except ValueError:
            raise malformed from None
        if header != self._header or len(proof) != self._mechanism.size:
            raise malformed
        digest, credential = self._mechanism.digest, known.credential
        exchanged = f"{self._exchanged},{match['without']}".encode()
        signature = digest(credential.stored_key, exchanged)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        stored_key = hashlib.new(self._mechanism.hash, client_key).digest()
        if not hmac.compare_digest(stored_key, credential.stored_key):
            raise Refused(reason=WRONG_PASSWORD if known.identity else known.unknown)
        identity, unknown = known.identity, known.unknown
        if self._token_id is not None and self._tokens is not None:
            identity = await self._tokens.identity(self._token_id)
            unknown = "its delegation token has ended, or is of no user"
        if identity is None:
            raise Refused(reason=unknown)
        own = b64encode(digest(credential.server_key, exchanged))
        return Step(b"v=" + own, identity)


def _plain(name: str) -> str:
    """
    A name as it is, without its escapes.
    """
    return name.replace("=2C", ",").replace("=3D", "=")
