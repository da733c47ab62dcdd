"""
Users in the metadata store and in a file.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.access.authentication.exchange import Identity
from kafscale.access.authentication.scram import MECHANISMS, SHA_256, SHA_512
from kafscale.access.authentication.users import Users, login_secret, read_users
from kafscale.cluster.records import ClusterRecords
from kafscale.errors import KafkaError, SettingError
from kafscale.format import metadata_keys
from kafscale.format.user import UserRecord
from kafscale.interfaces import IUsers, ScramDeletion, ScramUpsertion
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from kafscale.tap.users import credentials_of
from tests.harness.coroutines import now


def upsertion(
    mechanism: int = 1, iterations: int = 4096, password: bytes = b"salted"
) -> ScramUpsertion:
    """
    A credential to set.
    """
    return ScramUpsertion(mechanism, iterations, b"salt", password)


class UsersTestCase(SynchronousTestCase):
    """
    Two brokers of one cluster; C{first} has C{filed} in its file.
    """

    def setUp(self) -> None:
        """
        Start both.
        """
        self.store = SQLiteMetadataStore(":memory:", at_once)
        self.addCleanup(lambda: now(self.store.close()))
        self.in_file = UserRecord(credentials_of("filed"))
        self.first, self.second = self.started({"filed": self.in_file}), self.started({})

    def started(self, in_file: dict[str, UserRecord]) -> Users:
        """
        The users as a broker has them.
        """
        records = ClusterRecords(self.store, metadata_keys.USERS, UserRecord.from_entry)
        now(records.start())
        users = Users(records, in_file)
        users.login_secret = "secret"
        return users

    def refused(
        self,
        name: str,
        deletions: Sequence[ScramDeletion] = (),
        upsertions: Sequence[ScramUpsertion] = (),
    ) -> tuple[int, str]:
        """
        Code and text of a change that is refused.
        """
        with self.assertRaises(KafkaError) as caught:
            now(self.first.alter(name, deletions, upsertions))
        return caught.exception.code, str(caught.exception)


class ChangeTests(UsersTestCase):
    """
    What administrators do.
    """

    def test_interface(self) -> None:
        """
        The object provides its interface.
        """
        self.assertTrue(verifyObject(IUsers, self.first))

    def test_set_and_delete(self) -> None:
        """
        Each change is in force on both brokers, and the last deletion deletes the user.
        """
        now(self.first.alter("a,b", [], [upsertion(1, 4096)]))
        now(self.first.alter("a,b", [], [upsertion(2, 16384)]))
        for users in (self.first, self.second):
            self.assertEqual(users.credentials(), {"a,b": {1: 4096, 2: 16384}})
            known = users.look_up("a,b", SHA_256)
            self.assertEqual(known.credential, SHA_256.credential(b"salted", b"salt", 4096))
            self.assertEqual(known.identity, Identity("a,b"))
        now(self.second.alter("a,b", [ScramDeletion(1)], []))
        self.assertEqual(self.first.credentials(), {"a,b": {2: 16384}})
        self.assertIsNone(self.first.look_up("a,b", SHA_256).identity)
        now(self.first.alter("a,b", [ScramDeletion(2)], []))
        self.assertEqual(self.second.credentials(), {})
        self.assertIsNone(now(self.store.get(metadata_keys.user("a,b"))))

    def test_refused(self) -> None:
        """
        Codes and texts are Kafka's.
        """
        missing = (91, "Attempt to delete a user credential that does not exist")
        twice = (92, "A user credential cannot be altered twice in the same request")
        unknown = (33, "Unknown SCRAM mechanism")
        empty = (93, "Username must not be empty")
        for name, deletions, upsertions, expected in (
            ("u", [], [upsertion(iterations=4095)], (93, "Too few iterations")),
            ("u", [], [upsertion(iterations=16385)], (93, "Too many iterations")),
            ("", [], [upsertion()], empty),
            ("", [ScramDeletion(1)], [], empty),
            ("u", [], [upsertion(0)], unknown),
            ("u", [], [upsertion(3)], unknown),
            ("u", [ScramDeletion(3)], [], unknown),
            ("u", [ScramDeletion(1)], [], missing),
            ("u", [ScramDeletion(1)], [upsertion(2)], missing),
            ("u", [], [upsertion(1), upsertion(2)], twice),
            ("u", [], [upsertion(password=b"")], (-1, "The salted password is empty")),
        ):
            self.assertEqual(self.refused(name, deletions, upsertions), expected)
        now(self.first.alter("u", [], [upsertion(1)]))
        self.assertEqual(self.refused("u", [ScramDeletion(1)], [upsertion(2)]), twice)
        self.assertEqual(self.first.credentials(), {"u": {1: 4096}})

    def test_first_user(self) -> None:
        """
        The first user is added once, and not to others.
        """
        credentials = credentials_of("secret")
        self.assertTrue(now(self.first.add_first("admin", credentials)))
        self.assertFalse(now(self.second.add_first("admin", credentials_of("other"))))
        self.assertFalse(now(self.second.add_first("root", credentials)))
        self.assertEqual(self.second.credentials(), {"admin": {1: 4096, 2: 4096}})
        known = self.second.look_up("admin", SHA_512)
        self.assertEqual(known.credential, credentials["SCRAM-SHA-512"])


class LookUpTests(UsersTestCase):
    """
    What is known of a name.
    """

    def test_file(self) -> None:
        """
        A user of the file is known to the broker that has it, unless the store has one of
        that name.
        """
        known = self.first.look_up("filed", SHA_256)
        self.assertEqual(known.identity, Identity("filed"))
        self.assertIsNone(self.second.look_up("filed", SHA_256).identity)
        self.assertEqual(self.first.credentials(), {})
        now(self.second.alter("filed", [], [upsertion(1)]))
        stored = self.first.look_up("filed", SHA_256).credential
        self.assertEqual(stored, SHA_256.credential(b"salted", b"salt", 4096))
        other = self.first.look_up("filed", SHA_512)
        self.assertIsNone(other.identity)
        self.assertEqual(other.unknown, "this user has no password for SCRAM-SHA-512")

    def test_unknown(self) -> None:
        """
        All brokers have the same decoy for a name.
        """
        for mechanism in MECHANISMS.values():
            known = self.first.look_up("nobody", mechanism)
            self.assertIsNone(known.identity)
            self.assertEqual(known, self.second.look_up("nobody", mechanism))

    def test_login_secret(self) -> None:
        """
        The first broker makes it, and all others read it.
        """
        self.assertEqual(now(login_secret(self.store, lambda: "one")), "one")
        self.assertEqual(now(login_secret(self.store, lambda: "two")), "one")


class FileTests(SynchronousTestCase):
    """
    Files of users.
    """

    def test_read(self) -> None:
        """
        A line for each credential; comments and empty lines; colons in names.
        """
        made = credentials_of("secret")
        lines = [
            "# the users",
            "",
            *(f"a:b:{each.to_text(name)}" for name, each in made.items()),
            f"c:{made['SCRAM-SHA-256'].to_text('SCRAM-SHA-256')}",
        ]
        self.assertEqual(
            read_users("\n".join(lines), "users"),
            {
                "a:b": UserRecord(made),
                "c": UserRecord({"SCRAM-SHA-256": made["SCRAM-SHA-256"]}),
            },
        )

    def test_bad_lines(self) -> None:
        """
        The number of the line is named, and the line is not repeated.
        """
        good = credentials_of("secret")["SCRAM-SHA-256"].to_text("SCRAM-SHA-256")
        for bad in (
            "alice:hush",
            good,
            f"alice:{good[:-8]}",
            f"alice:{good.replace('256', '512')}",
            "alice:SCRAM-SHA-256$4096:!$!:!",
            "alice:SCRAM-SHA-256$x:AAAA$AAAA:AAAA",
        ):
            with self.assertRaises(SettingError) as caught:
                read_users(f"#\n{bad}", "users")
            self.assertIn("line 2 of users", str(caught.exception))
            self.assertNotIn(bad, str(caught.exception))
