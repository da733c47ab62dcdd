"""
What the mechanisms have in common: tokens of the client go in, tokens of the
broker come out, and at the end stands a name.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import attrs

MOST_LETTERS = 64
"""How much of a name is logged."""

LONGEST = 4096
"""The longest message of PLAIN and SCRAM, in bytes: many may wait for their turn. Clients
send some fifty beside names and passwords."""


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
    @ivar refused: Why the client is not believed, for the log, if it hears that in the
        next round only.
    """

    token: bytes = attrs.field(repr=False)
    identity: Identity | None = None
    refused: str | None = None


class Refused(Exception):
    """
    The client is not believed, and the exchange is over.

    @ivar message: For the client; None: it hears no more than that its credentials are
        invalid.
    @ivar reason: For the log, which says more. It has no secrets, and what it has of the
        client is L{quoted}.
    """

    def __init__(self, message: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or message or "its credentials are invalid"


def quoted(name: str) -> str:
    """
    A name of a client's choice, as one line of the log can have it.
    """
    return f"{name[:MOST_LETTERS]!r}{'...' if len(name) > MOST_LETTERS else ''}"


class Exchange(Protocol):
    """
    One exchange of one connection, of a certain mechanism.

    @ivar user: The name that the client has given; None until it has.
    """

    user: str | None

    def step(self, token: bytes) -> Awaitable[Step]:
        """
        One round.

        @raise Refused: The client is not believed.
        """
