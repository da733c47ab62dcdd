"""
The keys of an issuer of tokens (JWKS, RFC 7517).

They are read again at an interval, and when a token names a key that is not among
them, because issuers change their keys. Until the issuer answers, the keys that it
last had go on: a login that is under way never waits for anything but a key that
is not known, and however many unknown keys are named, the issuer is asked no more
than once in a while.

Only public keys count. A key has to state its algorithm, or the operator has to
name those of keys that do not: otherwise a token could choose how it is checked.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

import attrs
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore

ALGORITHMS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
"""The algorithms that are accepted, and the types of their keys. There is none that
checks with what it signs with (HS256), and not C{none}."""

MIN_GAP: Final = 10.0
"""Seconds from one attempt to read the keys to the next, at least."""

MAX_BYTES: Final = 1024 * 1024
"""A larger set of keys is not read."""


class InvalidKeys(Exception):
    """
    What was read is not a set of keys.
    """


@attrs.frozen
class IssuerKey:
    """
    A key of the issuer.

    @ivar key: As C{joserfc} has it.
    @ivar algorithms: Those of tokens that it checks.
    """

    key: Any
    algorithms: frozenset[str]


def read_keys(text: bytes, unstated: Collection[str] = ()) -> dict[str | None, IssuerKey]:
    """
    The keys in a JWKS, by their ids, without those that cannot check tokens. A set of
    a single key may have it without an id.

    @param unstated: The algorithms of keys that state none.
    @raise InvalidKeys: It is no JWKS, or has no key that can be used.
    """
    try:
        listed = json.loads(text)["keys"]
        found: dict[str | None, IssuerKey] = {}
        for each in listed:
            stated = {each["alg"]} if "alg" in each else set(unstated)
            algorithms = frozenset(
                name for name in stated if ALGORITHMS.get(name) == each.get("kty")
            )
            if not algorithms or each.get("use", "sig") != "sig":
                continue
            public = {name: value for name, value in each.items() if name not in _PRIVATE}
            found[each.get("kid")] = IssuerKey(JWKRegistry.import_key(public), algorithms)
    except (AttributeError, LookupError, TypeError, ValueError, JoseError) as error:
        raise InvalidKeys(f"it is not a JWKS: {error}") from None
    if not found:
        raise InvalidKeys(
            "it has no public key for signatures that states its algorithm, one of"
            f" {', '.join(ALGORITHMS)}"
        )
    return found


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class Jwks:
    """
    The keys of an issuer, as it last had them.

    @ivar failures: How often they could not be read.
    @ivar read_at: When they were last read, by the clock; None: not yet.
    """

    _log = Logger()

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        clock: IReactorTime,
        source: str,
        interval: float,
        unstated: Collection[str] = (),
    ) -> None:
        """
        @param fetch: Reads the JWKS.
        @param source: Where it is, for the log.
        @param interval: Seconds from one reading to the next.
        @param unstated: See L{read_keys}.
        """
        self._fetch = fetch
        self._clock = clock
        self._source = source
        self._unstated = unstated
        self._keys: Mapping[str | None, IssuerKey] = {}
        self._attempted = -MIN_GAP
        self._waiting: list[Deferred[None]] = []
        self._chore = Chore(clock, self._read, self._not_read, interval)
        self.failures = 0
        self.read_at: float | None = None

    def start(self) -> None:
        """
        Read the keys now, and again at the interval. No token is accepted until they
        could be read.
        """
        self._chore.kick()
        self._chore.start()

    async def stop(self) -> None:
        """
        Read them no more.
        """
        await self._chore.stop()

    async def find(self, kid: str | None) -> IssuerKey | None:
        """
        The key with an id; None if the issuer has none. If it is not known the keys are
        read first, unless that was tried just now.

        @param kid: What the token says; None if it says nothing.
        """
        key = self._known(kid)
        if key is not None:
            return key
        if self._clock.seconds() - self._attempted >= MIN_GAP:
            self._chore.kick()
        if self._chore.running:
            read: Deferred[None] = Deferred()
            self._waiting.append(read)
            await read
        return self._known(kid)

    def _known(self, kid: str | None) -> IssuerKey | None:
        keys = self._keys
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        return keys.get(kid)

    async def _read(self) -> None:
        self._attempted = self._clock.seconds()
        try:
            self._keys = read_keys(await self._fetch(), self._unstated)
            self.read_at = self._clock.seconds()
        finally:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def _not_read(self, failure: Failure) -> float:
        self.failures += 1
        self._log.error(
            "the keys of the issuer of tokens could not be read from {source}: {reason}; {known},"
            " and it is tried again in {seconds:.0f} s",
            source=self._source,
            reason=failure.getErrorMessage(),
            known="those that were last read go on" if self._keys else "no token is accepted",
            seconds=MIN_GAP,
        )
        return MIN_GAP
