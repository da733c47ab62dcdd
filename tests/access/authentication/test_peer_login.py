"""
How brokers log in to one another, against the server's side of SCRAM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.access.authentication.exchange import Identity, Refused
from kafscale.access.authentication.peer_login import ScramLogin
from kafscale.access.authentication.scram import MECHANISMS, Known, Mechanism, ScramExchange
from kafscale.interfaces import IPeerLogin, PeerUnavailable
from kafscale.wire.messages import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from tests.harness.coroutines import now


class OtherBroker:
    """
    A broker with the user C{a,b=c}.

    @ivar changed: What is replaced in the token of each answer, and by what.
    """

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        self.exchange = ScramExchange(mechanism, self.look_up, lambda: "server")
        self.changed = (b"", b"")

    def look_up(self, name: str, mechanism: Mechanism) -> Known:
        """
        What is known of a name.
        """
        salted = mechanism.salted(b"secret", b"salt", 4096)
        identity = Identity(name) if name == "a,b=c" else None
        return Known(mechanism.credential(salted, b"salt", 4096), identity)

    async def ask(self, request: Any, version: int) -> Any:
        """
        Answer a request.
        """
        if isinstance(request, SaslHandshakeRequest):
            known = request.mechanism == self.mechanism.name
            return SaslHandshakeResponse(
                error_code=0 if known else 33, mechanisms=[self.mechanism.name]
            )
        assert isinstance(request, SaslAuthenticateRequest)
        try:
            step = await self.exchange.step(bytes(request.auth_bytes))
        except Refused:
            return SaslAuthenticateResponse(error_code=58, error_message="no", auth_bytes=b"")
        return SaslAuthenticateResponse(
            auth_bytes=step.token.replace(*self.changed) if self.changed[0] else step.token,
            session_lifetime_ms=1500 if step.identity else 0,
        )


async def at_once(function: Callable[..., bytes], *args: Any) -> bytes:
    """
    Call a function.
    """
    return function(*args)


class ScramLoginTests(SynchronousTestCase):
    """
    Logins that succeed and that fail.
    """

    def log_in(
        self, other: OtherBroker, mechanism: Mechanism, password: str = "secret"
    ) -> float:
        """
        The time until the next login.
        """
        login = ScramLogin(mechanism, "a,b=c", password, lambda: "client", at_once)
        self.assertTrue(verifyObject(IPeerLogin, login))
        return now(login.log_in(other.ask))

    def refused(self, other: OtherBroker, mechanism: Mechanism, password: str = "secret") -> str:
        """
        Why a login failed.
        """
        with self.assertRaises(PeerUnavailable) as caught:
            self.log_in(other, mechanism, password)
        return str(caught.exception)

    def test_right(self) -> None:
        """
        With each mechanism; the other broker says how long it lasts.
        """
        for mechanism in MECHANISMS.values():
            self.assertEqual(self.log_in(OtherBroker(mechanism), mechanism), 1.5)

    def test_wrong(self) -> None:
        """
        A wrong password, and a mechanism that the listener does not have.
        """
        sha_256, sha_512 = MECHANISMS.values()
        self.assertIn("refuses the login", self.refused(OtherBroker(sha_256), sha_256, "x"))
        self.assertIn("but SCRAM-SHA-256", self.refused(OtherBroker(sha_256), sha_512))

    def test_impostor(self) -> None:
        """
        A server that does not know the user is not believed, nor one that would have
        the password hashed for a long time, or hardly at all.
        """
        (mechanism, _) = MECHANISMS.values()
        for old, new, why in (
            (b"v=", b"v=A", "has not proved"),
            (b"i=4096", b"i=4095", "to this broker"),
            (b"i=4096", b"i=99999999", "to this broker"),
            (b"r=client", b"r=other", "to this broker"),
            (b"s=", b"s=!", "not one of SCRAM"),
            (b",", b";", "not one of SCRAM"),
        ):
            other = OtherBroker(mechanism)
            other.changed = (old, new)
            self.assertIn(why, self.refused(other, mechanism))
