"""
The server's side of SCRAM, against the RFCs' examples and a client.
"""

from __future__ import annotations

from base64 import b64decode

from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.authentication.exchange import Identity, Refused
from kafscale.access.authentication.scram import (
    MECHANISMS,
    SHA_256,
    SHA_512,
    WRONG_PASSWORD,
    Known,
    Mechanism,
    ScramExchange,
)
from kafscale.format.user import ScramCredential
from tests.access.authentication.scram_client import ScramClient
from tests.harness.coroutines import now

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SECRET = b"of the cluster"


def credential(mechanism: Mechanism, password: str) -> ScramCredential:
    """
    What is kept of a password.
    """
    return mechanism.credential(mechanism.salted(password.encode(), SALT, 4096), SALT, 4096)


class FakeTokens:
    """
    The delegation token C{id-1} of C{user}, with the HMAC C{hmac}, as all have.
    """

    async def credential(self, token_id: str, mechanism: Mechanism) -> ScramCredential:
        """
        See L{kafscale.access.authentication.scram.Tokens}.
        """
        return credential(mechanism, "hmac")

    async def identity(self, token_id: str) -> Identity | None:
        """
        See L{kafscale.access.authentication.scram.Tokens}.
        """
        return Identity("user", 5000, by_token=True) if token_id == "id-1" else None


class ScramTestCase(SynchronousTestCase):
    """
    A server with the users C{user} and C{a,b=c}, and the delegation token C{id-1} of
    C{user}.
    """

    mechanism = SHA_256
    tokens: FakeTokens | None = FakeTokens()

    def look_up(self, name: str, mechanism: Mechanism) -> Known:
        """
        What is known of a name.
        """
        if name in ("user", "a,b=c"):
            return Known(credential(mechanism, "pencil"), Identity(name))
        return Known(mechanism.decoy(SECRET, name), None)

    def exchange(self) -> ScramExchange:
        """
        A new exchange.
        """
        return ScramExchange(self.mechanism, self.look_up, lambda: NONCE, self.tokens)

    def log_in(self, client: ScramClient) -> Identity | None:
        """
        Both rounds.

        @raise Refused: The server has not believed.
        """
        exchange = self.exchange()
        first = now(exchange.step(client.first()))
        self.assertIsNone(first.identity)
        final = now(exchange.step(client.final(first.token)))
        self.assertEqual(final.token, client.expected)
        return final.identity

    def refused(self, *tokens: bytes) -> str | None:
        """
        What a client hears of the last of these tokens.
        """
        exchange = self.exchange()
        for token in tokens[:-1]:
            now(exchange.step(token))
        with self.assertRaises(Refused) as caught:
            now(exchange.step(tokens[-1]))
        return caught.exception.message


class ExampleTests(ScramTestCase):
    """
    The example of RFC 7677.
    """

    def test_rfc_7677(self) -> None:
        """
        Each message is the RFC's.
        """
        exchange = self.exchange()
        first = now(exchange.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
        self.assertEqual(
            first.token,
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        )
        final = now(
            exchange.step(
                b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
            )
        )
        self.assertEqual(final.token, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        self.assertEqual(final.identity, Identity("user"))


class LoginTests(ScramTestCase):
    """
    Right and wrong credentials.
    """

    def test_both_mechanisms(self) -> None:
        """
        The right password is accepted, another is not, with either hash.
        """
        for self.mechanism in MECHANISMS.values():
            client = ScramClient(self.mechanism, "user", "pencil")
            self.assertEqual(self.log_in(client), Identity("user"))
            with self.assertRaises(Refused) as caught:
                self.log_in(ScramClient(self.mechanism, "user", "pen"))
            self.assertIsNone(caught.exception.message)

    def test_repeated_nonce(self) -> None:
        """
        librdkafka before 2.6.1 sends its nonce, and then the whole one.
        """
        for self.mechanism in MECHANISMS.values():
            client = ScramClient(self.mechanism, "user", "pencil", repeats=True)
            self.assertEqual(self.log_in(client), Identity("user"))
            with self.assertRaises(Refused):
                self.log_in(ScramClient(self.mechanism, "user", "pen", repeats=True))

    def test_escaped_name(self) -> None:
        """
        Commas and equals signs in a name are escaped.
        """
        self.assertEqual(
            self.log_in(ScramClient(SHA_256, "a,b=c", "pencil")), Identity("a,b=c")
        )

    def test_authorization_id(self) -> None:
        """
        A client may name itself a second time, and no other.
        """
        client = ScramClient(SHA_256, "user", "pencil", header="n,a=user,")
        self.assertEqual(self.log_in(client), Identity("user"))
        self.assertEqual(
            self.refused(b"n,a=root,n=user,r=abc"),
            "Authentication failed: Client requested an authorization id that is different from"
            " username",
        )

    def test_delegation_token(self) -> None:
        """
        A token's id is a name only with the extension, and a user's is none with it.
        """
        client = ScramClient(SHA_512, "id-1", "hmac", more=",tokenauth=true")
        self.mechanism = SHA_512
        self.assertEqual(self.log_in(client), Identity("user", 5000, by_token=True))
        with self.assertRaises(Refused):
            self.log_in(ScramClient(SHA_512, "id-1", "hmac"))
        with self.assertRaises(Refused):
            self.log_in(ScramClient(SHA_512, "user", "pencil", more=",tokenauth=true"))

    def test_ended_token(self) -> None:
        """
        A token that has ended is refused after the proof, as a wrong password is.
        """
        with self.assertRaises(Refused) as caught:
            self.log_in(ScramClient(SHA_256, "id-2", "hmac", more=",tokenauth=true"))
        self.assertIsNone(caught.exception.message)

    def test_no_tokens(self) -> None:
        """
        If there are no delegation tokens nobody gets in by one, and no user by the extension.
        """
        self.tokens = None
        for name, password in (("id-1", "hmac"), ("user", "pencil")):
            with self.assertRaises(Refused):
                self.log_in(ScramClient(SHA_256, name, password, more=",tokenauth=true"))


class UnknownUserTests(ScramTestCase):
    """
    Whether a user exists cannot be found out.
    """

    def test_looks_like_a_wrong_password(self) -> None:
        """
        There are both rounds, and the same refusal.
        """
        with self.assertRaises(Refused) as caught:
            self.log_in(ScramClient(SHA_256, "nobody", "pencil"))
        self.assertIsNone(caught.exception.message)

    def test_salt_stays(self) -> None:
        """
        An unknown user's salt is the same each time, as a known one's is, and
        another's is another.
        """
        salts = [
            now(self.exchange().step(b"n,,n=%s,r=abc" % name)).token
            for name in (b"x", b"x", b"y")
        ]
        self.assertEqual(salts[0], salts[1])
        self.assertNotEqual(salts[0], salts[2])

    def test_decoy_accepts_nobody(self) -> None:
        """
        Not even a client that knows the decoy's keys gets in.
        """
        decoy = SHA_256.decoy(SECRET, "x")
        known = Known(credential(SHA_256, "pencil"), None)
        exchange = ScramExchange(SHA_256, lambda *_: known, lambda: NONCE)
        client = ScramClient(SHA_256, "x", "pencil")
        final = client.final(now(exchange.step(client.first())).token)
        with self.assertRaises(Refused):
            now(exchange.step(final))
        self.assertEqual((len(decoy.stored_key), decoy.iterations), (32, 4096))


class ReasonTests(ScramTestCase):
    """
    What the log is told of a refusal, and the client is not.
    """

    def test_reasons(self) -> None:
        """
        Unknown names and wrong passwords have the same message, and not the same reason.
        """
        for name, password, reason in (
            ("user", "other", WRONG_PASSWORD),
            ("nobody", "pencil", "there is no such user"),
        ):
            client, exchange = ScramClient(SHA_256, name, password), self.exchange()
            final = client.final(now(exchange.step(client.first())).token)
            with self.assertRaises(Refused) as caught:
                now(exchange.step(final))
            self.assertEqual((exchange.user, caught.exception.message), (name, None))
            self.assertEqual(caught.exception.reason, reason)


class GarbageTests(ScramTestCase):
    """
    Messages that are none: all get the same refusal.
    """

    def test_first(self) -> None:
        """
        Channel bindings, mandatory extensions, what is no text, and what is too long.
        """
        for token in (
            b"",
            b"\xff\xfe",
            b"y,,n=user,r=abc",
            b"p=tls-unique,,n=user,r=abc",
            b"n,,m=ext,n=user,r=abc",
            b"n,,n=,r=abc",
            b"n,,n=us=er,r=abc",
            b"n,,n=user,r=",
            b"n,,n=user,r=a b",
            b"n,,n=user",
            b"n,,n=user,r=abc,=x",
            b"n,,n=user,r=" + b"a" * 5000,
        ):
            self.assertIsNone(self.refused(token), token)

    def test_final(self) -> None:
        """
        Another nonce, another header, a proof of another length, or not Base64.
        """
        first = b"n,,n=user,r=abc"
        nonce = b"abc" + NONCE.encode()
        proof = b"A" * 43 + b"="
        for final in (
            b"",
            b"\xff",
            b"c=biws,r=abc,p=" + proof,
            b"c=eSws,r=%s,p=%s" % (nonce, proof),
            b"c=biws,r=%s,p=AAAA" % nonce,
            b"c=biws,r=%s,p====" % nonce,
            b"c=biws,r=%s" % nonce,
        ):
            self.assertIsNone(self.refused(first, final), final)
