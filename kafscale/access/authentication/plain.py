"""
PLAIN: the password itself (RFC 4616), which belongs into TLS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kafscale.access.authentication.exchange import Identity, Refused, Step

Verify = Callable[[str, str], Awaitable[bool]]
"""Whether a user, by name, has a password."""


class PlainExchange:
    """
    One round: C{[authzid] NUL user NUL password}.
    """

    def __init__(self, verify: Verify) -> None:
        self._verify = verify

    async def step(self, token: bytes) -> Step:
        """
        See L{kafscale.access.authentication.exchange.Exchange.step}. The texts and
        their order are those of Kafka's C{PlainSaslServer}.
        """
        try:
            parts = token.decode().split("\0", 3)
        except UnicodeDecodeError:
            raise Refused from None
        if len(parts) != 3:
            raise Refused(f"Invalid SASL/PLAIN response: expected 3 tokens, got {len(parts)}")
        authzid, name, password = parts
        if not name:
            raise Refused("Authentication failed: username not specified")
        if not password:
            raise Refused("Authentication failed: password not specified")
        if not await self._verify(name, password):
            raise Refused("Authentication failed: Invalid username or password")
        if authzid not in ("", name):
            raise Refused(
                "Authentication failed: Client requested an authorization id that is different"
                " from username"
            )
        return Step(b"", Identity(name))
