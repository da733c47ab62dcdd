"""
CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken and
DescribeDelegationToken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from zope.interface import implementer

from kafscale.access.open_sessions import OpenSession
from kafscale.errors import DelegationTokenNotFound, KafkaError
from kafscale.interfaces import DelegationToken, IDelegationTokens, Principal
from kafscale.services.cluster.delegation_tokens import DelegationTokensService
from kafscale.wire.messages import (
    CreateDelegationTokenRequest,
    DescribeDelegationTokenRequest,
    ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
)
from kafscale.wire.schema import Request
from tests.harness.sessions import LISTENER
from tests.services.client import ServiceCase

ALICE, BOB, EVE = (Principal("User", name) for name in ("alice", "bob", "eve"))
TOKEN = DelegationToken("id-1", b"secret", BOB, ALICE, [EVE], 1000, 9000, 5000)
OTHER = DelegationToken("id-2", b"other", EVE, EVE, [], 1000, 9000, 5000)


@implementer(IDelegationTokens)
class FakeTokens:
    """
    C{TOKEN} and C{OTHER}. What is asked for is recorded.
    """

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def tokens(self) -> Sequence[DelegationToken]:
        """
        See L{IDelegationTokens.tokens}.
        """
        return [TOKEN, OTHER]

    async def create(
        self,
        owner: Principal,
        requester: Principal,
        renewers: Sequence[Principal],
        lifetime_ms: int,
    ) -> DelegationToken:
        """
        See L{IDelegationTokens.create}.
        """
        self.asked.append((owner, requester, renewers, lifetime_ms))
        return attrs.evolve(TOKEN, owner=owner, requester=requester)

    async def renew(self, hmac: bytes, principal: Principal, period_ms: int) -> int:
        """
        See L{IDelegationTokens.renew}.
        """
        if hmac != TOKEN.hmac:
            raise DelegationTokenNotFound
        self.asked.append((hmac, principal, period_ms))
        return 7000

    async def expire(self, hmac: bytes, principal: Principal, period_ms: int) -> int:
        """
        See L{IDelegationTokens.expire}.
        """
        return await self.renew(hmac, principal, period_ms) + 1


def creation(**values: Any) -> CreateDelegationTokenRequest:
    """
    A request for a token.
    """
    return CreateDelegationTokenRequest(
        **{"renewers": [], "max_lifetime_ms": -1, **values}
    )


class TokensTests(ServiceCase):
    """
    Tests of L{DelegationTokensService}.
    """

    def setUp(self) -> None:
        """
        Serve two tokens to alice.
        """
        super().setUp()
        self.tokens = FakeTokens()
        self.serve(DelegationTokensService(self.tokens))
        self.client.session = OpenSession(LISTENER, ALICE)

    def requests(self) -> list[Request]:
        """
        One of each API.
        """
        return [
            creation(),
            RenewDelegationTokenRequest(hmac=b"secret", renew_period_ms=5),
            ExpireDelegationTokenRequest(hmac=b"secret", expiry_time_period_ms=5),
            DescribeDelegationTokenRequest(owners=None),
        ]

    def test_create(self) -> None:
        """
        The owner is the client, or the one that it names.
        """
        renewer = CreateDelegationTokenRequest.Renewer(principal_type="User", principal_name="eve")
        for version in self.client.versions(CreateDelegationTokenRequest):
            found = self.client.now(creation(renewers=[renewer], max_lifetime_ms=3), version)
            self.assertEqual(self.tokens.asked.pop(), (ALICE, ALICE, [EVE], 3))
            self.assertEqual(
                (found.error_code, found.principal_type, found.principal_name), (0, "User", "alice")
            )
            self.assertEqual((found.token_id, bytes(found.hmac)), ("id-1", b"secret"))
            times = found.issue_timestamp_ms, found.expiry_timestamp_ms, found.max_timestamp_ms
            self.assertEqual(times, (1000, 5000, 9000))
        for name, owner in (("bob", BOB), ("", ALICE)):
            named = creation(owner_principal_type="User", owner_principal_name=name)
            found = self.client.now(named, 3)
            self.assertEqual(self.tokens.asked.pop(), (owner, ALICE, [], -1))
            self.assertEqual(
                (found.principal_name, found.token_requester_principal_name), (owner.name, "alice")
            )

    def test_ends(self) -> None:
        """
        Renewed and expired.
        """
        _, renewal, expiry, _ = self.requests()
        for version in self.client.versions(RenewDelegationTokenRequest):
            found = self.client.now(renewal, version)
            self.assertEqual((found.error_code, found.expiry_timestamp_ms), (0, 7000))
        for version in self.client.versions(ExpireDelegationTokenRequest):
            found = self.client.now(expiry, version)
            self.assertEqual((found.error_code, found.expiry_timestamp_ms), (0, 7001))
        self.assertEqual(self.tokens.asked, [(b"secret", ALICE, 5)] * 4)

    def test_describe(self) -> None:
        """
        All tokens, or those of these owners, requesters and renewers.
        """
        asked = DescribeDelegationTokenRequest.Owner
        for names, expected in (
            (None, ["id-1", "id-2"]),
            ([], []),
            (["bob"], ["id-1"]),
            (["alice"], ["id-1"]),
            (["eve"], ["id-1", "id-2"]),
            (["nobody", "bob"], ["id-1"]),
        ):
            owners = None
            if names is not None:
                owners = [asked(principal_type="User", principal_name=each) for each in names]
            request = DescribeDelegationTokenRequest(owners=owners)
            found = self.client.now(request, 3)
            self.assertEqual([each.token_id for each in found.tokens], expected)
        for version in self.client.versions(DescribeDelegationTokenRequest):
            first, _ = self.client.now(DescribeDelegationTokenRequest(owners=None), version).tokens
            self.assertEqual(first.principal_name, "bob")
            requester = "alice" if version >= 3 else ""
            self.assertEqual(first.token_requester_principal_name, requester)
            self.assertEqual([each.principal_name for each in first.renewers], ["eve"])
            times = first.issue_timestamp, first.expiry_timestamp, first.max_timestamp
            self.assertEqual((bytes(first.hmac), times), (b"secret", (1000, 5000, 9000)))

    def test_not_allowed(self) -> None:
        """
        A client that has not authenticated, or by a token only, is refused.
        """
        self.client.session = OpenSession(LISTENER)
        for request in self.requests():
            version = self.client.versions(type(request))[-1]
            waiting = self.client.start(request, version)
            self.assertEqual(self.failureResultOf(waiting, KafkaError).value.code, 64)
        self.assertEqual(self.tokens.asked, [])

    def test_errors(self) -> None:
        """
        A response with an error has no times: -1, where Kafka's brokers answer, and 0, where
        its controllers do. For whom a token was to be is repeated.
        """
        create, renewal, expiry, describe = self.requests()
        for code, ends in ((64, -1), (62, 0)):
            for request in (renewal, expiry):
                found = self.client.failed(request, 2, code)
                self.assertEqual((found.error_code, found.expiry_timestamp_ms), (code, ends))
        found = self.client.failed(describe, 3, 61)
        self.assertEqual((found.error_code, found.tokens), (61, []))
        found = self.client.failed(create, 3, 65)
        times = found.issue_timestamp_ms, found.expiry_timestamp_ms, found.max_timestamp_ms
        self.assertEqual((found.error_code, times), (65, (-1, -1, -1)))
        self.assertEqual((found.token_id, bytes(found.hmac)), ("", b""))
        named = creation(owner_principal_type="User", owner_principal_name="bob")
        found = self.client.failed(named, 3, 65)
        self.assertEqual(
            (found.principal_name, found.token_requester_principal_name), ("bob", "ANONYMOUS")
        )
