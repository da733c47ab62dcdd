"""
What the mechanisms have in common: tokens of the client go in, tokens of the
broker come out, and at the end stands a name.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import attrs


@attrs.frozen
class Identity:
    """
    What an exchange has established.

    @ivar name: The user's name.
    @ivar expires_ms: When the client's proof of it ends, in ms since 1970; None if
        it does not.
    @ivar by_token: Whether a delegation token has stood for the user.
    """

    name: str
    expires_ms: int | None = None
    by_token: bool = False


@attrs.frozen
class Step:
    """
    The broker's part of a round.

    @ivar token: What the client gets.
    @ivar identity: Set when the exchange is complete.
    """

    token: bytes = attrs.field(repr=False)
    identity: Identity | None = None


class Refused(Exception):
    """
    The client is not believed, and the exchange is over. The message is for the
    client; without one it hears no more than that its credentials are invalid.
    """

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)
        self.message = message


class Exchange(Protocol):
    """
    One exchange of one connection, of a certain mechanism.
    """

    def step(self, token: bytes) -> Awaitable[Step]:
        """
        One round.

        @raise Refused: The client is not believed.
        """
