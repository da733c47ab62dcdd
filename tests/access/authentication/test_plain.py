"""
PLAIN, and how passwords are checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.authentication.exchange import LONGEST, Identity, Refused
from kafscale.access.authentication.passwords import AT_A_TIME, Passwords
from kafscale.access.authentication.plain import PlainExchange
from kafscale.access.authentication.scram import (
    SHA_256,
    SHA_512,
    WRONG_PASSWORD,
    Known,
    Mechanism,
)
from tests.harness.coroutines import begin, now


class PlainTests(SynchronousTestCase):
    """
    The only round, for a user C{alice} with the password C{secret}.
    """

    async def verify(self, name: str, password: str) -> str | None:
        """
        Whether it is her.
        """
        return None if (name, password) == ("alice", "secret") else "she is not"

    def refused(self, token: bytes) -> str | None:
        """
        What the client hears.
        """
        with self.assertRaises(Refused) as caught:
            now(PlainExchange(self.verify).step(token))
        return caught.exception.message

    def test_right(self) -> None:
        """
        With and without the name as authorization id.
        """
        for token in (b"\0alice\0secret", b"alice\0alice\0secret"):
            step = now(PlainExchange(self.verify).step(token))
            self.assertEqual((step.token, step.identity), (b"", Identity("alice")))

    def test_wrong(self) -> None:
        """
        The texts of Kafka, the first that applies.
        """
        failed = "Authentication failed: "
        for token, message in {
            b"\0alice\0wrong": f"{failed}Invalid username or password",
            b"\0bob\0secret": f"{failed}Invalid username or password",
            b"bob\0alice\0secret": f"{failed}Client requested an authorization id that is"
            " different from username",
            b"bob\0alice\0wrong": f"{failed}Invalid username or password",
            b"\0\0secret": f"{failed}username not specified",
            b"\0alice\0": f"{failed}password not specified",
            b"": "Invalid SASL/PLAIN response: expected 3 tokens, got 1",
            b"alice\0secret": "Invalid SASL/PLAIN response: expected 3 tokens, got 2",
            b"\0alice\0secret\0\0": "Invalid SASL/PLAIN response: expected 3 tokens, got 4",
            b"\0alice\0\xff": None,
        }.items():
            self.assertEqual(self.refused(token), message, token)

    def test_longest(self) -> None:
        """
        A message that is too long does not wait for its password to be checked.
        """
        verified: list[str] = []

        async def verify(name: str, password: str) -> str | None:
            verified.append(name)
            return None

        longest = b"\0alice\0".ljust(LONGEST, b"x")
        now(PlainExchange(verify).step(longest))
        with self.assertRaises(Refused):
            now(PlainExchange(verify).step(longest + b"x"))
        self.assertEqual(verified, ["alice"])


class PasswordTests(SynchronousTestCase):
    """
    Passwords of users that SCRAM knows: C{both} has the same for each mechanism, that of
    C{changed} was changed for one of them, and C{one} has only the longer.
    """

    def setUp(self) -> None:
        """
        What is run in a thread runs at once, or waits for the test.
        """
        self.waiting: list[Deferred[str | None]] | None = None
        self.hashed: list[int] = []
        self.passwords = Passwords(self.look_up, self.in_thread)

    def look_up(self, name: str, mechanism: Mechanism) -> Known:
        """
        What is known of a name.
        """
        passwords = {
            "both": ("same", "same"), "changed": ("old", "new"), "one": ("", "same")
        }.get(name, ("", ""))  # fmt: skip
        password = passwords[mechanism is SHA_512]
        if password:
            salted = mechanism.salted(password.encode(), b"salt", 4096)
            return Known(mechanism.credential(salted, b"salt", 4096), Identity(name))
        return Known(mechanism.decoy(b"secret", name), None)

    async def in_thread(self, function: Callable[..., str | None], *args: Any) -> str | None:
        """
        Record how much is computed.
        """
        self.hashed.append(len(args[0]))
        if self.waiting is not None:
            self.waiting.append(Deferred())
            return await self.waiting[-1]
        return function(*args)

    def test_all_mechanisms(self) -> None:
        """
        A password is good if the user has it with all of its mechanisms: an old one is
        refused as soon as it was changed for one of them.
        """
        for name, password, wrong in (
            ("both", "same", None),
            ("both", "other", WRONG_PASSWORD),
            ("both", "", WRONG_PASSWORD),
            ("changed", "old", WRONG_PASSWORD),
            ("changed", "new", WRONG_PASSWORD),
            ("one", "same", None),
            ("nobody", "same", "there is no such user"),
        ):
            self.assertEqual(now(self.passwords.verify(name, password)), wrong, (name, password))

    def test_unknown_takes_as_long(self) -> None:
        """
        As much is computed for unknown users, and those with one password.
        """
        for name in ("both", "one", "nobody"):
            now(self.passwords.verify(name, "x"))
        self.assertEqual(self.hashed, [2, 2, 2])

    def test_few_at_a_time(self) -> None:
        """
        Those beyond wait, in their order.
        """
        self.waiting = []
        results = [begin(self.passwords.verify(name, "x")) for name in ("a", "b", "c", "d")]
        self.assertEqual(len(self.waiting), AT_A_TIME)
        self.waiting[0].callback("wrong")
        self.assertEqual(self.successResultOf(results[0]), "wrong")
        self.assertEqual(len(self.waiting), AT_A_TIME + 1)
        self.waiting[1].errback(RuntimeError("the thread failed"))
        self.failureResultOf(results[1], RuntimeError)
        self.waiting[2].callback(None)
        self.assertIsNone(self.successResultOf(results[2]))
        self.waiting[3].callback("wrong")
        self.assertEqual(self.successResultOf(results[3]), "wrong")

    def test_same_hash(self) -> None:
        """
        The credentials of both mechanisms differ in length.
        """
        for mechanism, size in ((SHA_256, 32), (SHA_512, 64)):
            known = self.look_up("both", mechanism)
            self.assertEqual(len(known.credential.stored_key), size)
