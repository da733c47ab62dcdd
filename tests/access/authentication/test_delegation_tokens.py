"""
Delegation tokens: how they are managed, and logins by them.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.access.authentication import token_logins
from kafscale.access.authentication.delegation_tokens import (
    MOST_LETTERS,
    RETRY_SECONDS,
    DelegationTokens,
    TokenRules,
)
from kafscale.access.authentication.exchange import Identity, Refused
from kafscale.access.authentication.scram import (
    MECHANISMS,
    SHA_256,
    SHA_512,
    Known,
    Mechanism,
    ScramExchange,
)
from kafscale.access.authentication.token_logins import TokenLogins
from kafscale.cluster.records import ClusterRecords
from kafscale.errors import KafkaError, StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.format.delegation_token import DelegationTokenRecord
from kafscale.interfaces import DelegationToken, IDelegationTokens, IMetadataStore, Principal
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.access.authentication.scram_client import ScramClient
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, let_pass

SECRET = b"of the cluster"
START = 1_800_000_000
HOUR, DAY = 3_600_000, 86_400_000
ALICE, BOB, EVE = (Principal("User", name) for name in ("alice", "bob", "eve"))
RULES = TokenRules(SECRET, 7 * DAY, DAY, HOUR)


class TokensTestCase(SynchronousTestCase):
    """
    Two brokers of one cluster.

    @ivar hostile: The metadata store as the second one sees it.
    """

    def setUp(self) -> None:
        """
        Start both.
        """
        self.clock = Clock()
        self.clock.advance(START)
        self.store = SQLiteMetadataStore(":memory:", at_once)
        self.addCleanup(lambda: now(self.store.close()))
        self.lines: list[LogEvent] = []
        observer = cast(ILogObserver, self.lines.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.ids = iter(f"token-{number}" for number in range(1000))
        self.following: list[ClusterRecords] = []
        self.hostile = HostileMetadataStore(self.store, let_pass)
        self.first, self.second = self.started(RULES), self.started(RULES, self.hostile)

    def started(
        self, rules: TokenRules, store: IMetadataStore | None = None
    ) -> DelegationTokens:
        """
        The tokens as a broker has them.
        """
        records = ClusterRecords(
            store or self.store,
            metadata_keys.DELEGATION_TOKENS,
            DelegationTokenRecord.from_entry,
        )
        now(records.start())
        self.following.append(records)
        tokens = DelegationTokens(records, rules, self.clock, lambda: next(self.ids))
        self.addCleanup(tokens.stop)
        return tokens

    @property
    def ms(self) -> int:
        """
        The time.
        """
        return int(self.clock.seconds() * 1000)

    def create(self, lifetime: int = -1, *renewers: Principal) -> DelegationToken:
        """
        A token of alice's.
        """
        return now(self.first.create(ALICE, ALICE, renewers, lifetime))

    def code(self, call: Callable[[], Any]) -> int:
        """
        The code of the error that a call raises.
        """
        with self.assertRaises(KafkaError) as caught:
            now(call())
        return caught.exception.code


class CreationTests(TokensTestCase):
    """
    New tokens.
    """

    def test_interface(self) -> None:
        """
        The object provides its interface.
        """
        verifyObject(IDelegationTokens, self.first)

    def test_create(self) -> None:
        """
        A token is the same on all brokers, and its secret the HMAC of its id, which is not
        stored.
        """
        token = now(self.first.create(BOB, ALICE, [EVE], HOUR))
        secret = hmac.digest(SECRET, b"token-0", "sha512")
        ends = self.ms + HOUR
        self.assertEqual(
            token, DelegationToken("token-0", secret, BOB, ALICE, [EVE], self.ms, ends, ends)
        )
        self.assertEqual(self.second.tokens(), [token])
        self.assertEqual(self.started(RULES).tokens(), [token])
        entry = now(self.store.get("delegation-tokens/token-0"))
        assert entry is not None
        self.assertNotIn(b64encode(secret).decode(), str(entry.value))

    def test_life(self) -> None:
        """
        A life that is not positive, or above the limit, is the limit. A token expires before
        its end unless it is renewed.
        """
        for asked, most in ((-1, 7 * DAY), (0, 7 * DAY), (2**62, 7 * DAY), (2 * DAY, 2 * DAY)):
            token = self.create(asked)
            self.assertEqual(token.max_ms, self.ms + most)
            self.assertEqual(token.expires_ms, self.ms + DAY)

    def test_renewers(self) -> None:
        """
        Only users can renew.
        """
        self.assertEqual(self.code(lambda: self.first.create(
            ALICE, ALICE, [BOB, Principal("Group", "g")], -1)), 67)  # fmt: skip
        self.assertEqual(self.first.tokens(), [])

    def test_long_names(self) -> None:
        """
        The names of owner and renewers are limited together.
        """
        kind = "User"
        most = MOST_LETTERS - len("alice") - 2 * len(kind)
        self.create(-1, Principal(kind, "x" * most))
        (token,) = self.first.tokens()
        self.assertEqual(self.code(lambda: self.first.create(
            ALICE, ALICE, [Principal(kind, "x" * most + "x")], -1)), 42)  # fmt: skip
        self.assertEqual(self.first.tokens(), [token])

    def test_disabled(self) -> None:
        """
        Without a secret key there are no tokens, whatever is stored.
        """
        token = self.create()
        disabled = self.started(TokenRules(None, DAY, DAY, HOUR))
        self.assertFalse(disabled.enabled)
        for call in (
            lambda: disabled.create(ALICE, ALICE, [], -1),
            lambda: disabled.renew(token.hmac, ALICE, -1),
            lambda: disabled.expire(token.hmac, ALICE, -1),
        ):
            self.assertEqual(self.code(call), 61)
        with self.assertRaises(KafkaError) as caught:
            disabled.tokens()
        self.assertEqual(caught.exception.code, 61)

    def test_no_secrets(self) -> None:
        """
        Neither the key nor an HMAC is in the log, or in what tracebacks show.
        """
        token = self.create()
        now(self.first.renew(token.hmac, ALICE, -1))
        now(self.first.expire(token.hmac, ALICE, -1))
        shown = "".join(map(repr, [*self.lines, token, RULES]))
        texts = [str(formatEvent(line)) for line in self.lines]
        self.assertEqual(
            texts,
            [
                f"the delegation token token-0 of 'User:alice' was {what} by 'User:alice'"
                for what in ("created", "altered", "ended")
            ],
        )
        for secret in (SECRET, token.hmac):
            for form in (repr(secret)[2:-1], secret.hex(), b64encode(secret).decode()):
                self.assertNotIn(form, shown)


class ChangeTests(TokensTestCase):
    """
    What becomes of tokens.
    """

    def test_renew(self) -> None:
        """
        Owner and renewers let a token end later, or earlier, up to the limits.
        """
        token = now(self.first.create(ALICE, EVE, [BOB], 3 * DAY))
        for who, period, ends in (
            (ALICE, HOUR, HOUR),
            (BOB, 2 * HOUR, 2 * HOUR),
            (ALICE, 2**62, DAY),
            (ALICE, 0, DAY),
            (ALICE, -1, DAY),
        ):
            self.clock.advance(60)
            self.assertEqual(now(self.second.renew(token.hmac, who, period)), self.ms + ends)
            self.assertEqual(self.first.tokens()[0].expires_ms, self.ms + ends)
        self.clock.advance(DAY / 1000 - 1)
        now(self.first.renew(token.hmac, ALICE, -1))
        self.clock.advance(DAY / 1000 - 1)
        now(self.first.renew(token.hmac, ALICE, -1))
        self.clock.advance(DAY / 1000 - 400)
        self.assertEqual(now(self.first.renew(token.hmac, ALICE, -1)), token.max_ms)

    def test_expire(self) -> None:
        """
        A period has no limit but the life of the token, and a negative one deletes it.
        """
        token = self.create(3 * DAY, BOB)
        self.assertEqual(now(self.second.expire(token.hmac, BOB, 2 * DAY)), self.ms + 2 * DAY)
        self.assertEqual(now(self.first.expire(token.hmac, ALICE, 2**62)), token.max_ms)
        self.assertEqual(now(self.first.expire(token.hmac, ALICE, 0)), self.ms)
        self.assertEqual(now(self.second.expire(token.hmac, BOB, -1)), self.ms)
        for tokens in (self.first, self.second):
            self.assertEqual(tokens.tokens(), [])
            self.assertEqual(self.code(lambda: tokens.expire(token.hmac, ALICE, -1)), 62)  # noqa: B023

    def test_refused(self) -> None:
        """
        The errors, and which comes first. The requester has no rights on the token.
        """
        token = now(self.first.create(ALICE, EVE, [BOB], -1))
        for change in (self.first.renew, self.first.expire):
            self.assertEqual(self.code(lambda: change(b"x" * 64, ALICE, 1)), 62)  # noqa: B023
            self.assertEqual(self.code(lambda: change(token.hmac, EVE, 1)), 63)  # noqa: B023
        self.assertEqual(self.code(lambda: self.first.expire(token.hmac, EVE, -1)), 63)
        now(self.first.expire(token.hmac, ALICE, 0))
        self.clock.advance(1)
        self.assertEqual(self.code(lambda: self.first.renew(token.hmac, ALICE, 1)), 66)
        self.assertEqual(self.code(lambda: self.first.renew(token.hmac, EVE, 1)), 66)
        self.assertEqual(self.code(lambda: self.first.expire(token.hmac, ALICE, 1)), 66)
        self.assertEqual(self.code(lambda: self.first.expire(token.hmac, EVE, 1)), 63)

    def test_created_elsewhere(self) -> None:
        """
        A broker that has not heard of a token yet looks for it in the store.
        """
        self.hostile.holds_changes = True
        token = self.create()
        self.assertEqual(self.second.tokens(), [])
        self.assertEqual(self.code(lambda: self.second.renew(token.hmac, EVE, HOUR)), 63)
        self.assertEqual(self.second.tokens(), [token])

    def test_deleted_elsewhere(self) -> None:
        """
        A broker that has not heard of it yet does not bring a deleted token back.
        """
        token = self.create()
        self.hostile.holds_changes = True
        now(self.first.expire(token.hmac, ALICE, -1))
        self.assertEqual(len(self.second.tokens()), 1)
        self.assertEqual(self.code(lambda: self.second.renew(token.hmac, ALICE, -1)), 62)
        self.assertEqual(self.second.tokens(), [])


class SweepTests(TokensTestCase):
    """
    Tokens that have ended are deleted.
    """

    def keys(self) -> list[str]:
        """
        The tokens that are stored.
        """
        entries, _ = now(self.store.range(metadata_keys.DELEGATION_TOKENS))
        return [
            metadata_keys.delegation_token_of(each.key)
            for each in entries
            if each.key != metadata_keys.DELEGATION_TOKENS  # the mark of deletions
        ]

    def test_deleted(self) -> None:
        """
        At the first check after their end, by whichever broker is first. Others stay.
        """
        for number in range(200):
            self.create(HOUR // 2 if number else 3 * HOUR)
        self.assertEqual(len(self.keys()), 200)
        self.clock.advance(HOUR / 1000 - 1)
        self.assertEqual(len(self.keys()), 200)
        self.clock.advance(2)
        self.assertEqual(self.keys(), ["token-0"])
        self.assertEqual(len(self.second.tokens()), 1)
        for _ in range(3):
            self.clock.advance(HOUR / 1000)
        self.assertEqual(self.keys(), [])

    def test_idle(self) -> None:
        """
        Without tokens nothing is due.
        """
        self.assertEqual(self.clock.getDelayedCalls(), [])
        token = self.create()
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        now(self.first.expire(token.hmac, ALICE, -1))
        self.clock.advance(HOUR / 1000)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """
        A broker that has stopped deletes nothing.
        """
        self.create()
        self.first.stop()
        self.second.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_store_unavailable(self) -> None:
        """
        If the store does not answer it is tried again, with one line.
        """
        self.second.stop()
        self.create(HOUR // 2)

        async def fail(*_: Any) -> None:
            raise StoreUnavailable("it is away")

        self.patch(self.following[0], "change", fail)
        del self.lines[:]
        self.clock.advance(HOUR / 1000)
        self.assertIn("it is away", str(formatEvent(self.lines[0])))
        self.assertEqual(len(self.keys()), 1)
        del self.following[0].change
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.keys(), [])


class LoginTests(TokensTestCase):
    """
    Clients that log in by a token.
    """

    def setUp(self) -> None:
        """
        The second broker has a listener with SCRAM.
        """
        super().setUp()
        self.hashed: list[bytes] = []
        self.logins = TokenLogins(self.second, "salty", self.in_thread)

    def in_thread(self, function: Callable[..., bytes], *args: Any) -> Deferred[bytes]:
        """
        Record that something takes long.
        """
        self.hashed.append(args[0])
        return succeed(function(*args))

    def unknown(self, name: str, mechanism: Mechanism) -> Known:
        """
        There are no users.
        """
        return Known(mechanism.decoy(b"salty", name), None)

    def log_in(
        self, token: DelegationToken, mechanism: Mechanism = SHA_256, **named: str
    ) -> Identity | None:
        """
        Both rounds.

        @raise Refused: The client was not believed.
        """
        exchange = ScramExchange(mechanism, self.unknown, lambda: "server", self.logins)
        password = named.get("password", b64encode(token.hmac).decode())
        name = named.get("name", token.token_id)
        client = ScramClient(mechanism, name, password, more=",tokenauth=true")
        first = now(exchange.step(client.first()))
        final = now(exchange.step(client.final(first.token)))
        self.assertEqual(final.token, client.expected)
        return final.identity

    def test_owner(self) -> None:
        """
        The client acts for the owner until the token ends, by either mechanism.
        """
        token = now(self.first.create(BOB, ALICE, [EVE], HOUR))
        for mechanism in MECHANISMS.values():
            expected = Identity("bob", token.expires_ms, by_token=True)
            self.assertEqual(self.log_in(token, mechanism), expected)

    def test_owner_is_no_user(self) -> None:
        """
        Who may create tokens for a group does not become the user of that name.
        """
        for kind in ("Group", "", "user"):
            token = now(self.first.create(Principal(kind, "bob"), ALICE, [], HOUR))
            with self.assertRaises(Refused):
                self.log_in(token)

    def test_hashed_once(self) -> None:
        """
        What takes long is done in a thread, once for each mechanism; each time for a token
        that is not known.
        """
        token = self.create()
        for mechanism in (SHA_256, SHA_512, SHA_256):
            self.log_in(token, mechanism)
        self.assertEqual(len(self.hashed), 2)
        for _ in range(2):
            with self.assertRaises(Refused):
                self.log_in(token, name="unknown")
        self.assertEqual(len(self.hashed), 4)

    def test_most_remembered(self) -> None:
        """
        The oldest is forgotten.
        """
        self.patch(token_logins, "MOST_CREDENTIALS", 1)
        one, other = self.create(), self.create()
        for token in (one, other, other, one):
            self.log_in(token)
        self.assertEqual(len(self.hashed), 3)

    def test_wrong(self) -> None:
        """
        Another HMAC, and that of another token, are refused without a request to the store.
        """
        token, other = self.create(), self.create()
        self.hostile.holds_changes = True
        self.patch(self.store, "catch_up", None)
        self.patch(self.store, "commit", None)
        self.patch(self.store, "holds", None)
        right = b64encode(token.hmac).decode()
        for name, password in (
            ("token-0", "x"),
            ("unknown", right),
            ("token-0", b64encode(other.hmac).decode()),
        ):
            with self.assertRaises(Refused) as caught:
                self.log_in(token, name=name, password=password)
            self.assertIsNone(caught.exception.message)

    def test_ended(self) -> None:
        """
        A token that has ended is refused at once, before it is deleted, too; a renewed one is
        accepted on.
        """
        token = self.create(2 * HOUR)
        now(self.first.expire(token.hmac, ALICE, HOUR))
        self.clock.advance(HOUR / 1000 - 1)
        self.assertIsNotNone(self.log_in(token))
        self.clock.advance(1)
        with self.assertRaises(Refused):
            self.log_in(token)
        other = self.create()
        self.assertIsNotNone(self.log_in(other))
        now(self.first.expire(other.hmac, ALICE, -1))
        with self.assertRaises(Refused):
            self.log_in(other)

    def test_ahead_of_the_watch(self) -> None:
        """
        A token that this broker has not heard of, or not of its renewal, is looked for in
        the store.
        """
        self.hostile.holds_changes = True
        token = self.create()
        self.assertEqual(self.second.tokens(), [])
        self.assertIsNotNone(self.log_in(token))
        self.clock.advance(DAY / 1000 - 1)
        now(self.first.renew(token.hmac, ALICE, HOUR))
        self.clock.advance(2)
        self.assertIsNotNone(self.log_in(token))
        self.clock.advance(HOUR / 1000)
        with self.assertRaises(Refused):
            self.log_in(token)

    def test_store_unavailable(self) -> None:
        """
        Without the store known tokens are accepted, and others refused.
        """
        token = self.create()
        self.hostile.holds_changes = True
        later = self.create()

        def fail(*_: Any) -> Any:
            raise StoreUnavailable("it is away")

        self.patch(self.store, "holds", fail)
        self.assertIsNotNone(self.log_in(token))
        with self.assertRaises(Refused):
            self.log_in(later)
        self.assertEqual(begin(self.logins.identity("token-1")).result, None)
