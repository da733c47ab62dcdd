"""
Tokens of an issuer, and the keys by which they are checked.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.authentication.exchange import Identity, Refused
from kafscale.access.authentication.jwks import MIN_GAP, InvalidKeys, Jwks, read_keys
from kafscale.access.authentication.oauthbearer import (
    INVALID_TOKEN,
    InvalidToken,
    OAuthBearerExchange,
)
from kafscale.access.authentication.tokens import TokenJudge, TokenRules
from tests.access.authentication.issuer import AUDIENCE, EC, ED, ISSUER, OCT, RSA, jwks, token
from tests.harness.coroutines import begin, now

NOW = 1_700_000_000.0


class Issuer:
    """
    What is fetched.

    @ivar answers: The answers to come; None waits for the test.
    """

    def __init__(self, *answers: bytes | Exception | None) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.waiting: Deferred[bytes] = Deferred()

    async def fetch(self) -> bytes:
        """
        The next answer; the last one stays.
        """
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            self.waiting = Deferred()
            return await self.waiting
        if isinstance(answer, Exception):
            raise answer
        return answer


class JudgeTestCase(SynchronousTestCase):
    """
    A broker that has read an issuer's keys.
    """

    def judge(
        self, *answers: bytes | Exception | None, rules: TokenRules | None = None
    ) -> TokenJudge:
        """
        @param answers: What the issuer answers when it is asked for its keys.
        """
        self.clock, self.issuer = Clock(), Issuer(*answers)
        self.keys = Jwks(self.issuer.fetch, self.clock, "the test", 3600.0)
        self.keys.start()
        self.addCleanup(lambda: now(self.keys.stop()))
        default = TokenRules(issuer=ISSUER, audiences=(AUDIENCE, "other"))
        return TokenJudge(self.keys, rules or default, lambda: NOW)

    def refused(self, judge: TokenJudge, given: str) -> str:
        """
        Why a token is not accepted.
        """
        with self.assertRaises(InvalidToken) as caught:
            now(judge.judge(given))
        return str(caught.exception)


class JudgeTests(JudgeTestCase):
    """
    Which tokens are accepted.
    """

    def test_good(self) -> None:
        """
        Tokens by each kind of key, with their ends.
        """
        judge = self.judge(jwks(RSA, EC, ED))
        for key in (RSA, EC, ED):
            self.assertEqual(
                now(judge.judge(token(key, NOW))), Identity("carol", int(NOW + 60) * 1000)
            )

    def test_claims(self) -> None:
        """
        Issuer, audience, times and name.
        """
        judge = self.judge(jwks(RSA))
        for changes, why in (
            ({"iss": "https://other.example"}, "issuer"),
            ({"iss": None}, "issuer"),
            ({"aud": "billing"}, "audience"),
            ({"aud": ["billing"]}, "audience"),
            ({"aud": None}, "audience"),
            ({"exp": NOW - 5}, "expired"),
            ({"exp": NOW}, "expired"),
            ({"exp": None}, "no end"),
            ({"exp": "soon"}, "exp is no time"),
            ({"exp": True}, "exp is no time"),
            ({"nbf": NOW + 31}, "nbf"),
            ({"iat": NOW + 31}, "iat"),
            ({"sub": None}, "sub"),
            ({"sub": " "}, "sub"),
            ({"sub": 7}, "sub"),
        ):
            self.assertIn(why, self.refused(judge, token(RSA, NOW, **changes)), changes)
        for good in ({"nbf": NOW + 29}, {"iat": NOW + 29}, {"aud": ["x", "other"]}):
            self.assertEqual(now(judge.judge(token(RSA, NOW, **good))).name, "carol")

    def test_scope_and_principal(self) -> None:
        """
        Scopes are a list or words; the name may be in another claim.
        """
        rules = TokenRules(ISSUER, (AUDIENCE,), "client", "scp", ("read", "write"))
        judge = self.judge(jwks(RSA), rules=rules)
        for scopes in ("read write x", ["write", "read"]):
            given = token(RSA, NOW, client="svc", scp=scopes)
            self.assertEqual(now(judge.judge(given)).name, "svc")
        for missing in ("read", ["write"], None, 7):
            given = token(RSA, NOW, client="svc", scp=missing)
            self.assertIn("lacks the scopes", self.refused(judge, given))

    def test_algorithms(self) -> None:
        """
        The key says which algorithm, not the token: not C{none}, not the public key as
        a password, not another one of the same key.
        """
        judge = self.judge(jwks(RSA, EC))
        self.assertIn("'none'", self.refused(judge, token(RSA, NOW, {"alg": "none"})))
        self.assertIn(
            "'HS256'", self.refused(judge, token(OCT, NOW, {"kid": "rsa", "alg": "HS256"}))
        )
        self.assertIn("'RS512'", self.refused(judge, token(RSA, NOW, {"alg": "RS512"})))
        self.assertIn("'ES256'", self.refused(judge, token(EC, NOW, {"kid": "rsa"})))

    def test_forged(self) -> None:
        """
        Another payload, another signature, another key of the same name.
        """
        judge = self.judge(jwks(RSA))
        head, body, signature = token(RSA, NOW).split(".")
        _, other, _ = token(RSA, NOW, sub="admin").split(".")
        for given in (f"{head}.{other}.{signature}", f"{head}.{body}.AAAA", f"{head}.{body}."):
            self.assertIn("signature", self.refused(judge, given))

    def test_garbage(self) -> None:
        """
        What is no JWT at all.
        """
        judge = self.judge(jwks(RSA))
        for given in ("", "a.b", "a.b.c", "e30.e30.e30", "W10.e30.e30", "x" * 40_000, "." * 5):
            self.refused(judge, given)
        nested = "WyI" * 9_000
        self.refused(judge, f"{nested}.e30.e30")


class KeyTests(JudgeTestCase):
    """
    When the keys are read.
    """

    def test_without_an_id(self) -> None:
        """
        A token need not name the only key; among several it has to.
        """
        unnamed = token(RSA, NOW, {"kid": None})
        self.assertEqual(now(self.judge(jwks(RSA)).judge(unnamed)).name, "carol")
        self.assertIn("no key", self.refused(self.judge(jwks(RSA, EC)), unnamed))

    def test_new_key(self) -> None:
        """
        A key that is not known is looked for, and the login waits for it.
        """
        judge = self.judge(jwks(RSA), None, jwks(RSA, EC))
        self.clock.advance(MIN_GAP)
        first, second = begin(judge.judge(token(EC, NOW))), begin(judge.judge(token(EC, NOW)))
        self.assertNoResult(first)
        self.assertEqual(self.issuer.asked, 2)
        self.assertEqual(now(judge.judge(token(RSA, NOW))).name, "carol")
        self.issuer.waiting.callback(jwks(RSA, EC))
        self.assertEqual(self.successResultOf(first).name, "carol")
        self.assertEqual(self.successResultOf(second).name, "carol")

    def test_unknown_keys_are_no_load(self) -> None:
        """
        However many unknown keys are named, the issuer is asked once in a while.
        """
        judge = self.judge(jwks(RSA))
        for _ in range(100):
            self.refused(judge, token(EC, NOW))
        self.assertEqual(self.issuer.asked, 1)
        self.clock.advance(MIN_GAP)
        for _ in range(100):
            self.refused(judge, token(EC, NOW))
        self.assertEqual(self.issuer.asked, 2)

    def test_issuer_away(self) -> None:
        """
        The keys that were read last go on; those of the first answer come late.
        """
        judge = self.judge(OSError("no route"), jwks(RSA), OSError("no route"), b"{}")
        self.assertEqual((self.keys.failures, self.keys.read_at), (1, None))
        self.refused(judge, token(RSA, NOW))
        self.clock.advance(MIN_GAP)
        self.assertEqual(now(judge.judge(token(RSA, NOW))).name, "carol")
        for _ in range(2):
            self.clock.advance(3600.0)
            self.assertEqual(now(judge.judge(token(RSA, NOW))).name, "carol")
        self.assertGreaterEqual(self.keys.failures, 3)
        self.assertEqual(self.keys.read_at, MIN_GAP)

    def test_unusable_keys(self) -> None:
        """
        Symmetric keys, keys for encryption, keys without an algorithm or with one of
        another kind.
        """
        for text in (
            b"",
            b"[]",
            b"{}",
            b'{"keys": []}',
            b'{"keys": [7]}',
            b'{"keys": [{"kty": "RSA", "alg": "RS256", "n": "!", "e": "AQAB"}]}',
            jwks(OCT),
            jwks(RSA, use="enc"),
            jwks(RSA, alg=None),
            jwks(RSA, alg="HS256"),
            jwks(EC, alg="RS256"),
        ):
            with self.assertRaises(InvalidKeys, msg=text):
                read_keys(text)

    def test_algorithm_by_the_operator(self) -> None:
        """
        Keys that state none have those that the operator names, if they fit.
        """
        found = read_keys(jwks(RSA, EC, alg=None), ("RS256", "PS256"))
        self.assertEqual(set(found), {"rsa"})
        self.assertEqual(found["rsa"].algorithms, {"RS256", "PS256"})

    def test_private_parts_are_dropped(self) -> None:
        """
        An issuer that publishes its private key has it used as a public one.
        """
        found = read_keys(json.dumps({"keys": [RSA.as_dict(private=True)]}).encode())
        self.assertFalse(found["rsa"].key.is_private)


class ExchangeTests(JudgeTestCase):
    """
    The rounds of OAUTHBEARER.
    """

    def exchange(self) -> OAuthBearerExchange:
        """
        A new exchange.
        """
        return OAuthBearerExchange(self.judge(jwks(RSA)).judge)

    def first(self, given: str, header: str = "n,,", more: str = "") -> bytes:
        """
        The client's first message.
        """
        return f"{header}\x01auth=Bearer {given}\x01{more}\x01".encode()

    def test_good(self) -> None:
        """
        One round, with an authorization id and extensions or without.
        """
        for message in (
            self.first(token(RSA, NOW)),
            self.first(token(RSA, NOW), "n,a=carol,"),
            self.first(token(RSA, NOW), more="traceId=1\x01"),
        ):
            step = now(self.exchange().step(message))
            self.assertEqual(step.token, b"")
            self.assertEqual(step.identity, Identity("carol", int(NOW + 60) * 1000))

    def test_bad_token(self) -> None:
        """
        Two rounds: the first is no error yet. The reason is for the log.
        """
        for answer, message in ((b"\x01", INVALID_TOKEN), (b"", None)):
            exchange = self.exchange()
            step = now(exchange.step(self.first(token(RSA, NOW, exp=NOW - 5))))
            self.assertEqual((step.token, step.identity), (INVALID_TOKEN.encode(), None))
            self.assertEqual(step.refused, "its token is not accepted: it has expired")
            self.assertEqual(exchange.user, "carol")
            with self.assertRaises(Refused) as caught:
                now(exchange.step(answer))
            self.assertEqual(caught.exception.message, message)

    def test_user(self) -> None:
        """
        Whose a token is, is known when the issuer has signed it, and not before.
        """
        forged = token(RSA, NOW).rpartition(".")[0] + ".AAAA"
        for given, user, words in (
            (token(RSA, NOW), "carol", None),
            (token(RSA, NOW, aud="nobody"), "carol", "its audience is 'nobody'"),
            (forged, None, "its signature or its payload is not valid"),
        ):
            exchange = self.exchange()
            step = now(exchange.step(self.first(given)))
            self.assertEqual(exchange.user, user)
            self.assertIn(words or "", step.refused or "")
            self.assertEqual(step.refused is None, words is None)

    def test_one_line(self) -> None:
        """
        What a client writes into the header ends no line of the log.
        """
        header = {"alg": "RS256", "kid": "rsa", "crit": ["x\nanother line"]}
        first = urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
        step = now(self.exchange().step(self.first(f"{first}.e30.AAAA")))
        self.assertIn("another line", step.refused or "")
        self.assertNotIn("\n", step.refused or "")

    def test_other_authorization_id(self) -> None:
        """
        A token is for its own principal.
        """
        with self.assertRaises(Refused) as caught:
            now(self.exchange().step(self.first(token(RSA, NOW), "n,a=bob,")))
        self.assertEqual(
            caught.exception.message,
            "Authentication failed: Client requested an authorization id (bob) that is different"
            " from the token's principal name (carol)",
        )

    def test_garbage(self) -> None:
        """
        What is no first message fails at once.
        """
        for message in (
            b"",
            b"\x01",
            b"n,,\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Basic abc\x01\x01",
            b"y,,\x01auth=Bearer abc\x01\x01",
            b"n,,\x01auth=Bearer abc\x01",
            b"n,,\x01auth=Bearer \xff\x01\x01",
        ):
            with self.assertRaises(Refused) as caught:
                now(self.exchange().step(message))
            self.assertIsNone(caught.exception.message)
