"""
OAUTHBEARER: a token of an issuer that the broker trusts (RFC 7628, KIP-255).

A token that is not accepted is answered in two rounds: the first answer is no
error, and its token is the reason as JSON; the client acknowledges it with a byte
0x01, and only then the exchange fails. Clients that do not expect that take the
first answer for a success.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from kafscale.access.authentication.exchange import Identity, Refused, Step, quoted

INVALID_TOKEN = '{"status":"invalid_token"}'
"""What a client hears of a token that is not accepted, whatever the reason."""

_ACKNOWLEDGEMENT = b"\x01"

_NAME = r"(?:[^=,\x00\x01]|=2C|=3D)"
_FIRST = re.compile(
    rf"n,(?:a=(?P<authzid>{_NAME}+))?,\x01(?P<pairs>(?:[A-Za-z]+=[\x21-\x7e \t\r\n]+\x01)*)\x01"
)
_BEARER = re.compile(r"(?i:bearer) +(?P<token>[A-Za-z0-9._~+/-]+=*)")


class InvalidToken(Exception):
    """
    A token is not accepted. The message is the reason, for the log alone.

    @ivar user: Whose it is, if the issuer has signed that.
    """

    user: str | None = None


Judge = Callable[[str], Awaitable[Identity]]
"""Returns whose a token is, or raises L{InvalidToken}."""


class OAuthBearerExchange:
    """
    One round with a good token, two with a bad one.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._failed = False
        self.user: str | None = None

    async def step(self, token: bytes) -> Step:
        """
        See L{kafscale.access.authentication.exchange.Exchange.step}.
        """
        if self._failed:
            raise Refused(INVALID_TOKEN if token == _ACKNOWLEDGEMENT else None)
        match = _FIRST.fullmatch(token.decode("latin-1"))
        if match is None:
            raise Refused(reason="its message is malformed")
        pairs = dict(pair.split("=", 1) for pair in match["pairs"].split("\x01") if pair)
        bearer = _BEARER.fullmatch(pairs.get("auth", ""))
        if bearer is None:
            raise Refused(reason="its message has no bearer token")
        try:
            identity = await self._judge(bearer["token"])
        except InvalidToken as error:
            self._failed = True
            self.user = error.user
            return Step(INVALID_TOKEN.encode(), refused=f"its token is not accepted: {error}")
        self.user = identity.name
        authzid = match["authzid"]
        if authzid is not None and authzid != identity.name:
            raise Refused(
                f"Authentication failed: Client requested an authorization id ({authzid}) that is"
                f" different from the token's principal name ({identity.name})",
                f"its token is not for the authorization id {quoted(authzid)}",
            )
        return Step(b"", identity)
