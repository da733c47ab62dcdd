"""
Whose an issuer's token is (JWT, RFC 7519).

A token has to name the issuer and one of the audiences that the broker expects, and
it has to end. Its end is taken at its word, as Kafka does: the session would last no
longer anyway. The clocks of issuer and broker may differ where a token is not valid
B{yet}.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from kafscale.access.authentication.exchange import Identity
from kafscale.access.authentication.jwks import Jwks
from kafscale.access.authentication.oauthbearer import InvalidToken

LONGEST = 32 * 1024
"""The longest token that is looked into, in characters."""


@attrs.frozen
class TokenRules:
    """
    Which tokens are accepted.

    @ivar issuer: What C{iss} has to be.
    @ivar audiences: Of which C{aud} has to name one.
    @ivar principal_claim: The claim that is the user's name.
    @ivar scope_claim: The claim with the scopes, a list or words with blanks between.
    @ivar scopes: Those that a token has to have.
    @ivar skew_seconds: How far the issuer's clock may be ahead.
    """

    issuer: str
    audiences: Collection[str]
    principal_claim: str = "sub"
    scope_claim: str = "scope"
    scopes: Collection[str] = ()
    skew_seconds: float = 30.0


class TokenJudge:
    """
    Judges tokens by the issuer's keys and by rules.
    """

    def __init__(self, keys: Jwks, rules: TokenRules, seconds: Callable[[], float]) -> None:
        """
        @param seconds: The time of day, in seconds since 1970.
        """
        self._keys = keys
        self._rules = rules
        self._seconds = seconds

    async def judge(self, token: str) -> Identity:
        """
        Whose a token is.

        @raise InvalidToken: It is not accepted.
        """
        if len(token) > LONGEST or token.count(".") != 2:
            raise InvalidToken("it is not a signed JWT")
        header = _object(token.split(".")[0])
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or not isinstance(kid, str | None):
            raise InvalidToken("its header states no algorithm, or a key id that is no text")
        key = await self._keys.find(kid)
        if key is None:
            raise InvalidToken(f"the issuer has no key {kid!r}")
        if algorithm not in key.algorithms:
            raise InvalidToken(f"its algorithm, {algorithm!r}, is not that of the key {kid!r}")
        try:
            signed = jws.deserialize_compact(
                token, key.key, registry=JWSRegistry(algorithms=[algorithm])
            )
            claims = json.loads(signed.payload)
        except (JoseError, ValueError) as error:
            why = repr(str(error))  # it may have line ends, which the client has put there
            raise InvalidToken(f"its signature or its payload is not valid: {why}") from None
        if not isinstance(claims, dict):
            raise InvalidToken("its payload is no object")
        try:
            return self._judged(claims)
        except InvalidToken as error:
            name = claims.get(self._rules.principal_claim)
            error.user = name if isinstance(name, str) else None
            raise

    def _judged(self, claims: Mapping[str, Any]) -> Identity:
        """
        Whose the token is, by its claims.
        """
        rules, now = self._rules, self._seconds()
        if claims.get("iss") != rules.issuer:
            raise InvalidToken(f"its issuer is {claims.get('iss')!r}")
        named = claims.get("aud")
        if not set(_texts([named] if isinstance(named, str) else named)) & set(rules.audiences):
            raise InvalidToken(f"its audience is {named!r}")
        expires = _time(claims, "exp")
        if expires is None or expires <= now:
            raise InvalidToken("it has no end" if expires is None else "it has expired")
        for claim in ("nbf", "iat"):
            begins = _time(claims, claim)
            if begins is not None and begins > now + rules.skew_seconds:
                raise InvalidToken(f"by {claim} it is not valid yet")
        name = claims.get(rules.principal_claim)
        if not isinstance(name, str) or not name.strip():
            raise InvalidToken(f"it has no claim {rules.principal_claim!r} with a name")
        scopes = claims.get(rules.scope_claim)
        missing = set(rules.scopes) - set(
            scopes.split() if isinstance(scopes, str) else _texts(scopes)
        )
        if missing:
            raise InvalidToken(f"it lacks the scopes {', '.join(sorted(missing))}")
        return Identity(name, int(expires * 1000))


def _object(part: str) -> Mapping[str, Any]:
    """
    The JSON object in a part of a token.
    """
    try:
        found = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidToken("its header is no JSON object")
    return found


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    """
    A time in a claim, in seconds since 1970; None if there is none.
    """
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise InvalidToken(f"{claim} is no time")
    return float(value)
