"""
Decisions that are remembered, super users and defaults.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from statistics import median
from time import perf_counter

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.access.authorization import authorizer as module
from kafscale.errors import InvalidRequest
from kafscale.format.acl import Operation, ResourceType
from kafscale.interfaces import IAcls, IAuthorizer, IRights, Principal
from tests.access.authorization.acls import Acls, acl, ten_thousand

ALICE = Principal("User", "alice")
READ, TOPIC = Operation.READ, ResourceType.TOPIC


class AuthorizerTests(SynchronousTestCase):
    """
    What follows from ACLs, and when.
    """

    def setUp(self) -> None:
        """
        No ACLs.
        """
        self.acls = self.made()

    def made(self, *arguments: object, **named: object) -> Acls:
        """
        An authorizer, which is closed at the end.
        """
        acls = Acls(*arguments, **named)  # type: ignore[arg-type]
        self.addCleanup(acls.close)
        return acls

    def test_interfaces(self) -> None:
        """
        The objects provide their interfaces.
        """
        authorizer = self.acls.authorizer
        self.assertTrue(verifyObject(IAuthorizer, authorizer))
        self.assertTrue(verifyObject(IAcls, authorizer))
        self.assertTrue(verifyObject(IRights, authorizer.rights(ALICE, "127.0.0.1")))

    def test_changes(self) -> None:
        """
        A change is in force when it returns, for rights that were asked for before.
        """
        rights = self.acls.authorizer.rights(ALICE, "127.0.0.1")
        self.assertFalse(rights.allows(READ, TOPIC, "foo"))
        self.assertFalse(rights.allows_any(READ, TOPIC))
        before = rights.serial
        self.acls.create("allow read topic foo")
        self.assertTrue(rights.allows(READ, TOPIC, "foo"))
        self.assertTrue(rights.allows_any(READ, TOPIC))
        self.assertNotEqual(rights.serial, before)
        self.acls.delete("allow read topic foo")
        self.assertFalse(rights.allows(READ, TOPIC, "foo"))
        self.assertFalse(rights.allows_any(READ, TOPIC))

    def test_twice(self) -> None:
        """
        ACLs that exist are created again, and those that do not are deleted, without
        effect.
        """
        for _ in range(2):
            self.acls.create("allow read topic foo", "allow read topic foo")
            self.assertEqual(self.acls.all(), [acl("allow read topic foo")])
        for _ in range(2):
            self.acls.delete("allow read topic foo")
            self.assertEqual(self.acls.all(), [])

    def test_many(self) -> None:
        """
        More ACLs than fit into a commit are created and deleted.
        """
        texts = [f"allow read topic t{each}" for each in range(300)]
        self.acls.create(*texts)
        self.assertEqual(len(self.acls.all()), 300)
        self.acls.delete(*texts)
        self.assertEqual(len(self.acls.all()), 0)

    def test_super_users(self) -> None:
        """
        They may do everything, whatever is denied to all.
        """
        acls = self.made(["User:alice"])
        acls.create("deny all topic *", principal="User:*")
        rights = acls.authorizer.rights(ALICE, "127.0.0.1")
        self.assertTrue(rights.allows(READ, TOPIC, "foo"))
        self.assertTrue(rights.allows_any(Operation.WRITE, TOPIC))
        bob = acls.authorizer.rights(Principal("User", "bob"), "127.0.0.1")
        self.assertFalse(bob.allows(READ, TOPIC, "foo"))

    def test_without_acls(self) -> None:
        """
        With C{allow.everyone.if.no.acl.found} a resource is open until any ACL matches its
        name.
        """
        for closing in (
            "allow read topic foo",
            "deny write topic foo",
            "allow read topic f*",
            "allow read topic *",
        ):
            acls = self.made(open_without_acl=True)
            rights = acls.authorizer.rights(ALICE, "127.0.0.1")
            self.assertTrue(rights.allows(READ, TOPIC, "foo"))
            acls.create(closing, principal="User:bob")
            self.assertFalse(rights.allows(READ, TOPIC, "foo"))
            self.assertEqual(rights.allows(READ, TOPIC, "bar"), not closing.endswith(" *"))

    def test_hosts(self) -> None:
        """
        The same principal may do other things from another address.
        """
        self.acls.create("allow read topic foo", host="10.0.0.0/8")
        for host, expected in (("10.1.2.3", True), ("127.0.0.1", False)):
            rights = self.acls.authorizer.rights(ALICE, host)
            self.assertEqual(rights.allows(READ, TOPIC, "foo"), expected)

    def test_check(self) -> None:
        """
        What Kafka refuses is refused; what it does not check is not.
        """
        check = self.acls.authorizer.check
        check(acl("allow cluster_action topic foo"))
        check(acl("allow alter cluster kafka-cluster", principal="User:"))
        for wrong in (
            acl("allow alter cluster x"),
            acl("allow read topic "),
            acl("allow read topic foo", principal="alice"),
            acl("allow read topic foo", host=""),
            acl("allow read topic foo", host="10.0.0.0/99"),
        ):
            self.assertRaises(InvalidRequest, check, wrong)

    def test_bounded(self) -> None:
        """
        Decisions and principals are remembered within limits.
        """
        self.patch(module, "MOST_DECISIONS", 10)
        self.patch(module, "MOST_PRINCIPALS", 10)
        self.acls.create("allow read topic a1*")
        for host in range(30):
            rights = self.acls.authorizer.rights(ALICE, f"10.0.0.{host}")
            for number in range(30):
                self.assertEqual(
                    rights.allows(READ, TOPIC, f"a{number}"), f"a{number}".startswith("a1")
                )


    def test_long_names(self) -> None:
        """
        Names of many bytes, of which a request may be full, are judged and not kept.
        """
        self.acls.create("allow read topic a*")
        rights = self.acls.authorizer.rights(ALICE, "10.0.0.1")
        tracemalloc.start()
        try:
            for number in range(8):
                self.assertTrue(rights.allows(READ, TOPIC, f"a{number}" + "x" * (1 << 20)))
                self.assertFalse(rights.allows(READ, TOPIC, f"b{number}" + "x" * (1 << 20)))
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(kept, 1 << 20)


class CostTests(SynchronousTestCase):
    """
    What a decision costs with ten thousand ACLs: the median of several, which must be ten
    times below what a busy machine is allowed here.
    """

    def setUp(self) -> None:
        """
        Ten thousand ACLs.
        """
        acls = Acls()
        self.addCleanup(acls.close)
        self.authorizer = acls.authorizer
        texts = ten_thousand()
        self.assertEqual(len(texts), 10_000)
        self.authorizer.changed({text: acl(text) for text in texts})
        self.rights = self.authorizer.rights(ALICE, "127.0.0.1")

    def cost(self, work: Callable[[int], object]) -> float:
        """
        The median of the seconds that some work takes.
        """
        taken = []
        for number in range(21):
            begun = perf_counter()
            work(number)
            taken.append(perf_counter() - begun)
        return median(taken)

    def test_remembered(self) -> None:
        """
        A decision that is remembered is a look-up: 1 us.
        """

        def decide(_: int) -> None:
            for _ in range(1000):
                self.rights.allows(READ, TOPIC, "t77")

        self.assertTrue(self.rights.allows(READ, TOPIC, "t77"))
        self.assertLess(self.cost(decide), 1000 * 10e-6)

    def test_new(self) -> None:
        """
        A decision looks at the ACLs that concern it, not at all: 1 ms.
        """
        cost = self.cost(lambda number: self.rights.allows(READ, TOPIC, "p" * 200 + f"q{number}"))
        self.assertLess(cost, 0.01)

    def test_change(self) -> None:
        """
        A change, after which nothing is remembered any more, is a short turn: 5 ms.
        """

        def change(number: int) -> None:
            self.authorizer.changed({f"allow read topic t{number}": None})
            self.rights.allows(READ, TOPIC, "t77")

        for number in range(module.MOST_DECISIONS):
            self.rights.allows(READ, TOPIC, f"n{number}")
        self.assertLess(self.cost(change), 0.05)
