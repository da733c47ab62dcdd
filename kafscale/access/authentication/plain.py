"""
PLAIN: the password itself (RFC 4616), which belongs into TLS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kafscale.access.authentication.exchange import LONGEST, Identity, Refused, Step

Verify = Callable[[str, str], Awaitable[str | None]]
"""Why a user, by name, is not believed by a password, for the log; None if it is right."""


class PlainExchange:
    """
    One round: C{[authzid] NUL user NUL password}.
    """

    def __init__(self, verify: Verify) -> None:
        self._verify = verify
        self.user: str | None = None

    async def step(self, token: bytes) -> Step:
        """
        See L{kafscale.access.authentication.exchange.Exchange.step}. The texts and
        their order are those of Kafka's C{PlainSaslServer}.
        """
        if len(token) > LONGEST:
            raise Refused(reason=f"its message has more than {LONGEST} bytes")
        try:
            parts = token.decode().split("\0", 3)
        except UnicodeDecodeError:
            raise Refused(reason="what it sends is not UTF-8") from None
        if len(parts) != 3:
            raise Refused(f"Invalid SASL/PLAIN response: expected 3 tokens, got {len(parts)}")
        authzid, name, password = parts
        if not name:
            raise Refused("Authentication failed: username not specified")
        self.user = name
        if not password:
            raise Refused("Authentication failed: password not specified")
        wrong = await self._verify(name, password)
        if wrong is not None:
            raise Refused("Authentication failed: Invalid username or password", wrong)
        if authzid not in ("", name):
            raise Refused(
                "Authentication failed: Client requested an authorization id that is different"
                " from username"
            )
        return Step(b"", Identity(name))
