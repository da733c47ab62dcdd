"""
Logins by delegation tokens: SCRAM, with the token's id and its HMAC in base64 for name and
password.

The credential is computed when it is needed, which takes milliseconds, so in a thread. It
is computed for ids that are not known, too: these look and last like known ones, and a
client that knows the HMAC of one shows that it was created a moment ago on another
broker, or has ended.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Final

from kafscale.access.authentication.delegation_tokens import DelegationTokens
from kafscale.access.authentication.exchange import Identity
from kafscale.access.authentication.scram import MIN_ITERATIONS, Mechanism
from kafscale.errors import StoreUnavailable
from kafscale.format.user import ScramCredential

MOST_CREDENTIALS: Final = 10_000
"""How many credentials are remembered."""

InThread = Callable[..., Awaitable[bytes]]
"""Runs a function with arguments in a thread."""


class TokenLogins:
    """
    What SCRAM asks about tokens.
    """

    def __init__(self, tokens: DelegationTokens, login_secret: str, in_thread: InThread) -> None:
        """
        @param tokens: All of them. There is a secret key.
        @param login_secret: From which salts are made.
        @param in_thread: Runs what takes long.
        """
        self._tokens = tokens
        self._login_secret = login_secret.encode()
        self._in_thread = in_thread
        self._remembered: dict[tuple[str, str], ScramCredential] = {}

    async def credential(self, token_id: str, mechanism: Mechanism) -> ScramCredential:
        """
        The credential of a token, whether or not there is one with this id.
        """
        which = token_id, mechanism.name
        known = self._remembered.get(which)
        if known is not None:
            return known
        password = b64encode(self._tokens.hmac_of(token_id))
        salt = mechanism.decoy(self._login_secret, token_id).salt
        salted = await self._in_thread(mechanism.salted, password, salt, MIN_ITERATIONS)
        credential = mechanism.credential(salted, salt, MIN_ITERATIONS)
        if self._tokens.has(token_id):
            if len(self._remembered) >= MOST_CREDENTIALS:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[which] = credential
        return credential

    async def identity(self, token_id: str) -> Identity | None:
        """
        What a client is that has proved to know the HMAC of this id; None if there is no
        such token any more, as far as can be found out.
        """
        try:
            return await self._tokens.identity(token_id)
        except StoreUnavailable:
            return None
