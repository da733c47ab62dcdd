"""
How a broker logs in to another one: the client's side of SCRAM (RFC 5802).
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from typing import Any

from zope.interface import implementer

from kafscale.access.authentication.scram import MAX_ITERATIONS, MIN_ITERATIONS, Mechanism
from kafscale.interfaces import IPeerLogin, PeerUnavailable
from kafscale.wire.messages import SaslAuthenticateRequest, SaslHandshakeRequest

_HEADER = "n,,"


@implementer(IPeerLogin)
class ScramLogin:
    """
    Logs in by a user's password, and finds out whether the other broker knows the user.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        name: str,
        password: str,
        new_nonce: Callable[[], str],
        in_thread: Callable[..., Awaitable[bytes]],
    ) -> None:
        """
        @param new_nonce: Makes the client's nonce, printable and without a comma.
        @param in_thread: Runs what takes long.
        """
        self._mechanism = mechanism
        self._name = name
        self._password = password.encode()
        self._new_nonce = new_nonce
        self._in_thread = in_thread

    async def log_in(self, ask: Callable[[Any, int], Awaitable[Any]]) -> float:
        """
        See L{IPeerLogin.log_in}.
        """
        mechanism = self._mechanism
        response = await ask(SaslHandshakeRequest(mechanism=mechanism.name), 1)
        if response.error_code:
            raise PeerUnavailable(
                f"its listener does not have {mechanism.name}, but"
                f" {', '.join(response.mechanisms) or 'no mechanism'}"
            )
        name = self._name.replace("=", "=3D").replace(",", "=2C")
        nonce = self._new_nonce()
        bare = f"n={name},r={nonce}"
        first = (await self._sent(ask, _HEADER + bare)).auth_bytes
        salt, iterations, whole = self._read(bytes(first), nonce)
        salted = await self._in_thread(mechanism.salted, self._password, salt, iterations)
        without = f"c={b64encode(_HEADER.encode()).decode()},r={whole}"
        exchanged = f"{bare},{bytes(first).decode()},{without}".encode()
        client_key = mechanism.digest(salted, b"Client Key")
        stored_key = hashlib.new(mechanism.hash, client_key).digest()
        signature = mechanism.digest(stored_key, exchanged)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        response = await self._sent(ask, f"{without},p={b64encode(proof).decode()}")
        server_key = mechanism.digest(salted, b"Server Key")
        expected = b"v=" + b64encode(mechanism.digest(server_key, exchanged))
        if not hmac.compare_digest(bytes(response.auth_bytes), expected):
            raise PeerUnavailable("it has not proved that it knows the user of this broker")
        return float(response.session_lifetime_ms) / 1000

    async def _sent(self, ask: Callable[[Any, int], Awaitable[Any]], text: str) -> Any:
        """
        The response to a token.

        @raise PeerUnavailable: It is an error.
        """
        response = await ask(SaslAuthenticateRequest(auth_bytes=text.encode()), 1)
        if response.error_code:
            raise PeerUnavailable(f"it refuses the login of this broker: {response.error_message}")
        return response

    def _read(self, first: bytes, nonce: str) -> tuple[bytes, int, str]:
        """
        Salt, iterations and whole nonce in the other broker's first message.

        @raise PeerUnavailable: It is no such message.
        """
        try:
            fields = dict(part.split("=", 1) for part in first.decode().split(","))
            salt, iterations = b64decode(fields["s"], validate=True), int(fields["i"])
            whole = fields["r"]
        except (LookupError, ValueError):
            raise PeerUnavailable("its answer is not one of SCRAM") from None
        if not whole.startswith(nonce) or not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise PeerUnavailable("its answer is not one of SCRAM to this broker")
        return salt, iterations, whole
