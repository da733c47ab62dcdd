"""
Conversations about delegation tokens, and logins by them.

A script talks to a broker as users and by tokens, from addresses with more or fewer rights.
What is kept of an answer are codes and names; tokens have the names that the script gives
them, and times are relative to the creation of the token, or to now, in minutes.

C{alice} and C{bob} may do everything from 127.0.0.1, and from 127.0.3.1 to .3 what the
operation gives: to create tokens for C{bob}, to describe those of C{bob}, to describe
any token. From other addresses they have no rights.
"""

from __future__ import annotations

import hmac
import math
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

from kafscale.access.authentication.scram import MECHANISMS
from kafscale.format.acl import Operation, PatternType, Permission, ResourceType
from kafscale.wire.messages import (
    CreateAclsRequest,
    CreateDelegationTokenRequest,
    DescribeDelegationTokenRequest,
    ExpireDelegationTokenRequest,
    MetadataRequest,
    RenewDelegationTokenRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
)
from tests.access.authentication.scram_client import ScramClient
from tests.clients.raw import RawClient
from tests.harness.apache_kafka import TOKEN_SECRET

SECONDS = 60.0
ADMIN = "127.0.0.1"
NOBODY = "127.0.3.9"
CREATES, DESCRIBES, DESCRIBES_TOKEN = "127.0.3.1", "127.0.3.2", "127.0.3.3"

Kept = list[tuple[Any, ...]]

REQUESTS = [
    CreateDelegationTokenRequest,
    RenewDelegationTokenRequest,
    ExpireDelegationTokenRequest,
    DescribeDelegationTokenRequest,
]
"""What the scripts ask for."""


def prepare(admin: RawClient) -> None:
    """
    Create the ACLs, by an administrator.
    """
    acls = [
        _acl(ResourceType.USER, "*", Operation.ALL, ADMIN),
        _acl(ResourceType.DELEGATION_TOKEN, "*", Operation.ALL, ADMIN),
        _acl(ResourceType.USER, "User:bob", Operation.CREATE_TOKENS, CREATES),
        _acl(ResourceType.USER, "User:bob", Operation.DESCRIBE_TOKENS, DESCRIBES),
        _acl(ResourceType.DELEGATION_TOKEN, "*", Operation.DESCRIBE, DESCRIBES_TOKEN),
    ]
    answer = admin.call(CreateAclsRequest(creations=acls), 3)
    assert not any(each.error_code for each in answer.results), answer


def _acl(
    kind: ResourceType, name: str, operation: Operation, host: str
) -> CreateAclsRequest.Creation:
    return CreateAclsRequest.Creation(
        resource_type=kind,
        resource_name=name,
        resource_pattern_type=PatternType.LITERAL,
        principal="User:*",
        host=host,
        operation=operation,
        permission_type=Permission.ALLOW,
    )


class Dialogue:
    """
    What one script does with one broker.

    @ivar kept: What is compared.
    """

    def __init__(self, port: int) -> None:
        self.kept: Kept = []
        self._port = port
        self._tokens: dict[str, Any] = {}  # by the names that the script gives them
        self._clients: dict[tuple[str, str], RawClient] = {}

    def close(self) -> None:
        """
        Close all connections.
        """
        for client in self._clients.values():
            client.close()

    # -- logging in -----------------------------------------------------------------

    def _client(self, user: str, host: str) -> RawClient:
        """
        The connection of a user, who logs in by a password.
        """
        if (user, host) not in self._clients:
            client = self._clients[user, host] = RawClient(self._port, SECONDS, host)
            client.call(SaslHandshakeRequest(mechanism="PLAIN"), 1)
            plain = f"\0{user}\0secret".encode()
            answer = client.call(SaslAuthenticateRequest(auth_bytes=plain), 2)
            assert answer.error_code == 0, answer
        return self._clients[user, host]

    def log_in(
        self,
        name: str,
        token: str,
        *,
        host: str = ADMIN,
        more: str = ",tokenauth=true",
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        """
        Log in by a token, and keep the outcome.

        @param name: Of the connection, as a user of the other methods.
        """
        client = RawClient(self._port, SECONDS, host)
        self._clients[name, host] = client
        scram = ScramClient(
            MECHANISMS["SCRAM-SHA-256"],
            user or self._tokens[token].token_id,
            password or b64encode(bytes(self._tokens[token].hmac)).decode(),
            more=more,
        )
        client.call(SaslHandshakeRequest(mechanism="SCRAM-SHA-256"), 1)
        answer = client.call(SaslAuthenticateRequest(auth_bytes=scram.first()), 2)
        if answer.error_code == 0:
            final = scram.final(bytes(answer.auth_bytes))
            answer = client.call(SaslAuthenticateRequest(auth_bytes=final), 2)
        proved = bytes(answer.auth_bytes) == scram.expected if answer.error_code == 0 else None
        lifetime = _minutes(answer.session_lifetime_ms)
        self.kept.append(("login", answer.error_code, answer.error_message, proved, lifetime))

    def metadata(self, user: str, host: str = ADMIN) -> None:
        """
        Whether a connection is served.
        """
        try:
            self._client(user, host).call(MetadataRequest(topics=[]), 12)
        except ConnectionError:
            self.kept.append(("metadata", "closed"))
        else:
            self.kept.append(("metadata", "served"))

    # -- requests -------------------------------------------------------------------

    def create(
        self,
        token: str,
        user: str = "alice",
        host: str = ADMIN,
        *,
        version: int = 3,
        owner: tuple[str | None, str | None] = (None, None),
        renewers: Sequence[tuple[str, str]] = (),
        lifetime: int = -1,
    ) -> None:
        """
        Create a token.
        """
        made = CreateDelegationTokenRequest
        request = made(
            owner_principal_type=owner[0],
            owner_principal_name=owner[1],
            renewers=[
                made.Renewer(principal_type=kind, principal_name=name) for kind, name in renewers
            ],
            max_lifetime_ms=lifetime,
        )
        answer = self._client(user, host).call(request, version)
        self._tokens[token] = answer
        issued = answer.issue_timestamp_ms
        secret = hmac.digest(TOKEN_SECRET.encode(), answer.token_id.encode(), "sha512")
        self.kept.append(
            (
                "create",
                answer.error_code,
                (answer.principal_type, answer.principal_name),
                (answer.token_requester_principal_type, answer.token_requester_principal_name),
                answer.error_code and issued,
                answer.expiry_timestamp_ms - issued,
                answer.max_timestamp_ms - issued,
                bool(answer.token_id),
                len(answer.hmac) if answer.error_code else bytes(answer.hmac) == secret,
            )
        )
        if answer.error_code == 0:
            self._wait_for(answer.token_id, answer.expiry_timestamp_ms)

    def _wait_for(self, token_id: str, expires: int | None) -> None:
        """
        Wait until a token is described as it was answered: Kafka's brokers know what its
        controllers have answered a while later.

        @param expires: When it ends; None if it is deleted.
        """
        end = time.monotonic() + SECONDS
        while True:
            request = DescribeDelegationTokenRequest(owners=None)
            tokens = self._client("alice", ADMIN).call(request, 3).tokens
            found = [each.expiry_timestamp for each in tokens if each.token_id == token_id]
            if found == [each for each in [expires] if each is not None]:
                return
            assert time.monotonic() < end, "the token is not described"
            time.sleep(0.05)

    def renew(
        self, token: str, period: int, user: str = "alice", host: str = ADMIN, version: int = 2
    ) -> None:
        """
        Renew a token.
        """
        request = RenewDelegationTokenRequest(hmac=self._hmac(token), renew_period_ms=period)
        answer = self._client(user, host).call(request, version)
        self._keep_end("renew", token, answer, period)

    def expire(
        self, token: str, period: int, user: str = "alice", host: str = ADMIN, version: int = 2
    ) -> None:
        """
        Expire a token.
        """
        request = ExpireDelegationTokenRequest(
            hmac=self._hmac(token), expiry_time_period_ms=period
        )
        answer = self._client(user, host).call(request, version)
        self._keep_end("expire", token, answer, period)

    def _hmac(self, token: str) -> bytes:
        known = self._tokens.get(token)
        return token.encode() if known is None else bytes(known.hmac)

    def _keep_end(self, what: str, token: str, answer: Any, period: int) -> None:
        ends = answer.expiry_timestamp_ms
        if answer.error_code == 0:
            gone = what == "expire" and period < 0
            self._wait_for(self._tokens[token].token_id, None if gone else ends)
        self.kept.append(
            (what, answer.error_code, ends if answer.error_code else _minutes(ends - _now()))
        )

    def describe(
        self,
        owners: Sequence[tuple[str, str]] | None,
        user: str = "alice",
        host: str = ADMIN,
        version: int = 3,
    ) -> None:
        """
        Describe tokens; those of the script are kept.
        """
        asked = DescribeDelegationTokenRequest.Owner
        request = DescribeDelegationTokenRequest(
            owners=None
            if owners is None
            else [asked(principal_type=kind, principal_name=name) for kind, name in owners]
        )
        answer = self._client(user, host).call(request, version)
        names = {each.token_id: name for name, each in self._tokens.items() if each.token_id}
        found = sorted(
            (
                names[each.token_id],
                bytes(each.hmac) == bytes(self._tokens[names[each.token_id]].hmac),
                (each.principal_type, each.principal_name),
                (each.token_requester_principal_type, each.token_requester_principal_name),
                [(one.principal_type, one.principal_name) for one in each.renewers],
                _minutes(each.expiry_timestamp - _now()),
                each.max_timestamp - each.issue_timestamp,
            )
            for each in answer.tokens
            if each.token_id in names
        )
        self.kept.append(("describe", answer.error_code, found))


def _now() -> int:
    return int(time.time() * 1000)


def _minutes(ms: int) -> int:
    """
    So that the seconds of a conversation do not matter.
    """
    return math.ceil(ms / 60_000)


ALICE, BOB = ("User", "alice"), ("User", "bob")


def created(talk: Dialogue) -> None:
    """
    Each version, and each kind of life and renewers.
    """
    for version in (1, 2, 3):
        talk.create(f"v{version}", version=version)
    for lifetime in (0, -2, 1, 3_600_000, 2**62):
        talk.create(f"life {lifetime}", lifetime=lifetime)
    talk.create("renewed by bob", renewers=[BOB])
    talk.create("renewed by many", renewers=[BOB, ALICE, BOB, ("User", "")])
    talk.create("renewed by a group", renewers=[BOB, ("Group", "g")])
    talk.create("", owner=BOB)
    talk.create("of a group", owner=("Group", "g"))
    talk.create("of an empty name", owner=("User", ""))
    talk.create("of an unnamed kind", owner=("", "x"))
    talk.describe([ALICE])


def delegated(talk: Dialogue) -> None:
    """
    Tokens for others, and who may see them.
    """
    talk.create("own", host=NOBODY)
    talk.create("own, named", host=NOBODY, owner=ALICE)
    talk.create("refused", host=NOBODY, owner=BOB)
    talk.create("refused, bad renewer", host=NOBODY, owner=BOB, renewers=[("Group", "g")])
    talk.create("other", host=CREATES, owner=("User", "carol"))
    talk.create("for bob", host=CREATES, owner=BOB, renewers=[("User", "carol")])
    talk.create("renewed by bob", host=NOBODY, renewers=[BOB])
    talk.create("of bob", "bob", NOBODY)
    for owners in (None, [], [ALICE], [BOB], [ALICE, BOB], [("User", "carol")], [("Group", "bob")]):
        for user, host in (
            ("alice", ADMIN),
            ("alice", NOBODY),
            ("bob", NOBODY),
            ("alice", DESCRIBES),
            ("alice", DESCRIBES_TOKEN),
        ):
            talk.describe(owners, user, host)
    for version in (1, 2, 3):
        talk.describe(None, "alice", NOBODY, version)
    talk.renew("of bob", 1000, "alice")
    talk.renew("for bob", 3_600_000, "alice", NOBODY)
    talk.renew("for bob", 7_200_000, "bob", NOBODY)
    talk.expire("for bob", -1, "alice", NOBODY)


def renewed(talk: Dialogue) -> None:
    """
    Who may renew and expire, until when, and what has ended.
    """
    talk.create("t", renewers=[BOB], lifetime=172_800_000)
    for period in (-1, 0, 3_600_000, 2**62, 86_400_001):
        talk.renew("t", period)
    talk.renew("t", 3_600_000, "bob", version=1)
    talk.expire("t", 7_200_000, "bob", version=1)
    talk.expire("t", 2**40)
    talk.create("not bob's")
    talk.renew("not bob's", 1000, "bob")
    talk.expire("not bob's", 1000, "bob")
    talk.expire("not bob's", -1, "bob")
    for unknown in ("", "x", "y" * 64):
        talk.renew(unknown, 1000)
        talk.expire(unknown, 1000)
        talk.expire(unknown, -1)
    talk.expire("t", 0)
    talk.renew("t", 1000)
    talk.renew("t", 1000, "bob")
    talk.expire("t", 1000)
    talk.expire("not bob's", 0)
    talk.renew("not bob's", 1000, "bob")
    talk.expire("not bob's", 1000, "bob")
    talk.describe([ALICE])
    talk.expire("t", -5)
    talk.renew("t", 1000)
    talk.expire("t", -1)
    talk.describe([ALICE])


def logged_in(talk: Dialogue) -> None:
    """
    Logins by tokens, which may not ask for others.
    """
    talk.create("t", renewers=[BOB], lifetime=3_600_000)
    talk.create("for bob", owner=BOB)
    talk.log_in("with t", "t")
    talk.log_in("with bob's", "for bob")
    talk.metadata("with t")
    talk.create("by token", "with t")
    talk.create("by token, for bob", "with t", owner=BOB)
    talk.create("by token, bad renewer", "with t", renewers=[("Group", "g")])
    talk.renew("t", 1000, "with t")
    talk.renew("unknown", 1000, "with t")
    talk.expire("t", -1, "with t")
    talk.describe(None, "with t")
    talk.describe([], "with t")
    talk.log_in("without the extension", "t", more="")
    talk.log_in("with a wrong HMAC", "t", password="x")
    talk.log_in("a user", "t", user="alice", password="secret")
    talk.log_in("unknown", "t", user="unknown")
    talk.log_in("false", "t", more=",tokenauth=false")
    talk.expire("t", -1)
    talk.metadata("with t")
    talk.log_in("deleted", "t")


SCRIPTS: dict[str, Callable[[Dialogue], None]] = {
    each.__name__: each for each in (created, delegated, renewed, logged_in)
}


def run(script: Callable[[Dialogue], None], port: int) -> Kept:
    """
    What is kept of a script.

    @param port: Of a listener with SASL.
    """
    talk = Dialogue(port)
    try:
        script(talk)
    finally:
        talk.close()
    return talk.kept
