"""
The client's side of SCRAM, as RFC 5802 has it.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from functools import lru_cache

import attrs

from kafscale.access.authentication.scram import Mechanism


@lru_cache(64)
def _salted(name: str, password: str, salt: str, iterations: int) -> bytes:
    """
    The salted password. A client may keep it (RFC 5802, section 5.1).
    """
    return hashlib.pbkdf2_hmac(name, password.encode(), b64decode(salt), iterations)


@attrs.define
class ScramClient:
    """
    One exchange.

    @ivar more: What follows the nonce of the first message.
    @ivar header: The GS2 header.
    @ivar repeats: Whether the nonce comes twice in the message with the proof.
    """

    mechanism: Mechanism
    name: str
    password: str
    nonce: str = "fyko+d2lbbFgONRv9qkxdawL"
    more: str = ""
    header: str = "n,,"
    repeats: bool = False

    @property
    def bare(self) -> str:
        """
        The first message without its header.
        """
        name = self.name.replace("=", "=3D").replace(",", "=2C")
        return f"n={name},r={self.nonce}{self.more}"

    def first(self) -> bytes:
        """
        The first message.
        """
        return f"{self.header}{self.bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        """
        The message with the proof. What the server has to prove is kept.
        """
        fields = dict(part.split("=", 1) for part in server_first.decode().split(","))
        assert fields["r"].startswith(self.nonce)
        salted = _salted(self.mechanism.hash, self.password, fields["s"], int(fields["i"]))
        nonce = (self.nonce if self.repeats else "") + fields["r"]
        without = f"c={b64encode(self.header.encode()).decode()},r={nonce}"
        exchanged = f"{self.bare},{server_first.decode()},{without}".encode()

        def mac(key: bytes, text: bytes) -> bytes:
            return hmac.digest(key, text, self.mechanism.hash)

        client_key = mac(salted, b"Client Key")
        stored_key = hashlib.new(self.mechanism.hash, client_key).digest()
        signature = mac(stored_key, exchanged)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.expected = b"v=" + b64encode(mac(mac(salted, b"Server Key"), exchanged))
        return f"{without},p={b64encode(proof).decode()}".encode()

    expected: bytes = b""
