"""
Checking a password that a client has sent.

The broker knows passwords by what SCRAM needs of them, so checking one takes as
long as a client takes to log in by SCRAM: milliseconds. That is done in threads, a
few at a time, and those who wait do so in their order.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from twisted.internet.defer import DeferredSemaphore

from kafscale.access.authentication.scram import (
    MECHANISMS,
    WRONG_PASSWORD,
    Known,
    LookUp,
    Mechanism,
)

AT_A_TIME = 2
"""How many passwords are hashed at once."""

InThread = Callable[..., Awaitable[str | None]]
"""Runs a function with arguments in a thread."""


class Passwords:
    """
    The passwords of the users that SCRAM knows.
    """

    def __init__(self, look_up: LookUp, in_thread: InThread) -> None:
        """
        @param look_up: What is known of a name.
        @param in_thread: Runs what takes long.
        """
        self._look_up = look_up
        self._in_thread = in_thread
        self._slots = DeferredSemaphore(AT_A_TIME)

    async def verify(self, name: str, password: str) -> str | None:
        """
        Why a user does not have this password, for the log; None if the user has it, with
        every mechanism that the user has: a password that was changed for one of them is
        refused at once. All mechanisms are computed, for known and for unknown users.
        """
        known = [
            (mechanism, self._look_up(name, mechanism)) for mechanism in MECHANISMS.values()
        ]
        await self._slots.acquire()
        try:
            return await self._in_thread(_wrong, known, password.encode())
        finally:
            self._slots.release()


def _wrong(known: list[tuple[Mechanism, Known]], password: bytes) -> str | None:
    """
    None if the password is that of all credentials that are no decoys, and there is one.
    """
    fitting = []
    for mechanism, each in known:
        credential = each.credential
        salted = mechanism.salted(password, credential.salt, credential.iterations)
        computed = mechanism.credential(salted, credential.salt, credential.iterations)
        same = hmac.compare_digest(computed.stored_key, credential.stored_key)
        if each.identity is not None:
            fitting.append(same)
    if not fitting:
        return known[0][1].unknown
    return None if all(fitting) else WRONG_PASSWORD
