"""
Decisions by ACLs alone.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.authorization.acl_index import AclIndex
from kafscale.access.authorization.hosts import Hosts, address_of, check_host
from kafscale.errors import InvalidRequest
from kafscale.format.acl import AclRecord, Operation, PatternType, Permission, ResourceType
from tests.access.authorization.acls import acl

TOPIC = ResourceType.TOPIC
LOCAL = address_of("127.0.0.1")


def may(
    index: AclIndex, operation: str, name: str, principal: str = "User:alice"
) -> bool | None:
    """
    A decision on a topic.
    """
    return index.decide(principal, LOCAL, Operation[operation.upper()], TOPIC, name)


class PatternTests(SynchronousTestCase):
    """
    Which resources an ACL is about.
    """

    def test_literal(self) -> None:
        """
        A literal name is that name, in the same case, and has no other wildcards than a
        star alone.
        """
        index = AclIndex([acl("allow read topic foo")])
        self.assertEqual(
            [may(index, "read", name) for name in ("foo", "Foo", "foo-1", "fo", "")],
            [True, None, None, None, None],
        )
        glob = AclRecord(
            TOPIC, "fo*", PatternType.LITERAL, "User:alice", "*", Operation.READ, Permission.ALLOW
        )
        self.assertIsNone(may(AclIndex([glob]), "read", "foo"))
        self.assertTrue(may(AclIndex([acl("allow read topic *")]), "read", "anything"))

    def test_prefixed(self) -> None:
        """
        A prefix is about itself and what begins with it; a star is no wildcard there.
        """
        index = AclIndex([acl("allow read topic foo*"), acl("allow write topic foo-b*")])
        self.assertEqual(
            [may(index, "read", name) for name in ("foo", "foo-1", "fo", "xfoo")],
            [True, True, None, None],
        )
        self.assertEqual(
            [may(index, "write", name) for name in ("foo", "foo-b", "foo-bar")],
            [False, True, True],
        )
        star = acl("allow read topic **")
        self.assertEqual((star.name, star.pattern_type), ("*", PatternType.PREFIXED))
        self.assertEqual(
            [may(AclIndex([star]), "read", name) for name in ("foo", "*", "*x")], [None, True, True]
        )

    def test_types(self) -> None:
        """
        Resources of another type have other ACLs.
        """
        index = AclIndex([acl("allow read group foo")])
        self.assertIsNone(may(index, "read", "foo"))
        self.assertTrue(
            index.decide("User:alice", LOCAL, Operation.READ, ResourceType.GROUP, "foo")
        )

    def test_principals(self) -> None:
        """
        An ACL is about its own principal, or all of them.
        """
        index = AclIndex(
            [acl("allow read topic foo"), acl("allow write topic foo", principal="User:*")]
        )
        self.assertIs(may(index, "read", "foo", "User:bob"), False)
        self.assertTrue(may(index, "write", "foo", "User:bob"))
        self.assertIs(may(index, "read", "foo", "Group:alice"), False)


class PermissionTests(SynchronousTestCase):
    """
    What an ACL permits.
    """

    def test_deny_beats_allow(self) -> None:
        """
        Whatever their patterns and principals.
        """
        for denied in ("deny read topic foo", "deny read topic f*", "deny all topic *"):
            for allowed in ("allow read topic foo", "allow all topic fo*", "allow read topic *"):
                for order in ((denied, allowed), (allowed, denied)):
                    index = AclIndex(acl(each) for each in order)
                    self.assertIs(may(index, "read", "foo"), False)
        everybody = acl("deny read topic foo", principal="User:*")
        index = AclIndex([everybody, acl("allow read topic foo")])
        self.assertIs(may(index, "read", "foo"), False)
        self.assertIs(may(index, "write", "foo"), False)

    def test_implied(self) -> None:
        """
        What an ACL allows implies describing, and what it denies does not.
        """
        for operation in ("read", "write", "delete", "alter", "all", "describe"):
            self.assertTrue(
                may(AclIndex([acl(f"allow {operation} topic foo")]), "describe", "foo")
            )
        for operation in ("create", "alter_configs", "describe_configs", "cluster_action"):
            index = AclIndex([acl(f"allow {operation} topic foo")])
            self.assertIs(may(index, "describe", "foo"), False)
        configs = AclIndex([acl("allow alter_configs topic foo")])
        self.assertTrue(may(configs, "describe_configs", "foo"))
        self.assertIs(may(configs, "alter", "foo"), False)
        index = AclIndex([acl("allow describe topic foo"), acl("deny read topic foo")])
        self.assertEqual((may(index, "describe", "foo"), may(index, "read", "foo")), (True, False))
        index = AclIndex([acl("allow read topic foo"), acl("deny describe topic foo")])
        self.assertEqual((may(index, "describe", "foo"), may(index, "read", "foo")), (False, True))

    def test_none_matches(self) -> None:
        """
        It is another answer if no ACL of any kind matches the name than if some do.
        """
        index = AclIndex([acl("allow read topic f*", principal="User:bob")])
        self.assertIs(may(index, "read", "foo"), False)
        self.assertIsNone(may(index, "read", "bar"))

    def test_removed(self) -> None:
        """
        ACLs that are removed are as if they had never been.
        """
        acls = [
            acl(text, host=host)
            for text in ("allow read topic foo", "deny read topic f*", "allow read topic *")
            for host in ("*", "127.0.0.1")
        ]
        index = AclIndex(acls)
        for each in acls:
            index.remove(each)
        self.assertIsNone(may(index, "read", "foo"))
        self.assertFalse(index.allows_any("User:alice", LOCAL, Operation.READ, TOPIC))
        index.add(acls[0])
        self.assertTrue(may(index, "read", "foo"))

    def test_any(self) -> None:
        """
        Whether there is something to write to: not if all that is allowed is denied.
        """

        def any_written(*texts: str) -> bool:
            index = AclIndex(acl(each) for each in texts)
            return index.allows_any("User:alice", LOCAL, Operation.WRITE, TOPIC)

        self.assertTrue(any_written("allow write topic foo"))
        self.assertTrue(any_written("allow all topic f*"))
        self.assertTrue(any_written("allow write topic foo", "deny write topic bar"))
        self.assertTrue(any_written("allow write topic f*", "deny write topic foo"))
        self.assertFalse(any_written("allow read topic foo"))
        self.assertFalse(any_written("allow write topic foo", "deny write topic foo"))
        self.assertFalse(any_written("allow write topic foo", "deny all topic f*"))
        self.assertFalse(any_written("allow write topic foo", "deny write topic *"))

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["allow", "deny"]),
                st.sampled_from(["read", "write", "describe", "all"]),
                st.sampled_from(["a", "ab", "a*", "ab*", "b*", "*"]),
                st.sampled_from(["User:alice", "User:bob", "User:*"]),
                st.sampled_from(["*", "127.0.0.1", "10.0.0.0/8"]),
            ),
            unique=True,
        ),
        st.integers(0, 20),
    )
    def test_as_one_by_one(self, chosen: list[tuple[str, str, str, str, str]], kept: int) -> None:
        """
        The index decides as the rules do that look at every ACL.
        """
        acls = [
            acl(f"{permission} {operation} topic {name}", principal, host)
            for permission, operation, name, principal, host in chosen
        ]
        index = AclIndex(acls)
        for each in acls[kept:]:
            index.remove(each)
        for operation in (Operation.READ, Operation.DESCRIBE):
            for name in ("a", "ab", "abc", "b", "c"):
                self.assertIs(
                    index.decide("User:alice", LOCAL, operation, TOPIC, name),
                    one_by_one(acls[:kept], operation, name),
                )


def one_by_one(acls: list[AclRecord], operation: Operation, name: str) -> bool | None:
    """
    The decision of the rules for alice at 127.0.0.1.
    """
    implying = {operation, Operation.ALL}
    if operation is Operation.DESCRIBE:
        implying |= {Operation.READ, Operation.WRITE, Operation.DELETE, Operation.ALTER}
    matching = [
        each
        for each in acls
        if (
            name.startswith(each.name)
            if each.pattern_type is PatternType.PREFIXED
            else each.name in (name, "*")
        )
    ]
    if not matching:
        return None
    mine = [
        each
        for each in matching
        if each.principal in ("User:alice", "User:*") and each.host != "10.0.0.0/8"
    ]
    if any(
        each.permission is Permission.DENY and each.operation in (operation, Operation.ALL)
        for each in mine
    ):
        return False
    return any(
        each.permission is Permission.ALLOW and each.operation in implying for each in mine
    )


class HostTests(SynchronousTestCase):
    """
    Hosts in ACLs (KIP-1274).
    """

    def matches(self, host: str, address: str) -> bool:
        """
        Whether a host in an ACL matches an address.
        """
        hosts = Hosts()
        hosts.add(host)
        return hosts.match(address_of(address))

    def test_hosts(self) -> None:
        """
        Addresses and networks match; names, ranges and other wildcards never do.
        """
        for host in ("*", "127.0.0.1", "127.0.0.0/8", "127.0.0.0/31", "0.0.0.0/0", "127.9.9.9/8"):
            self.assertTrue(self.matches(host, "127.0.0.1"), host)
        for host in ("127.0.0.2", "10.0.0.0/8", "127.0.*", "localhost", "::/0", "127.0.0.0-9", ""):
            self.assertFalse(self.matches(host, "127.0.0.1"), host)
        self.assertTrue(self.matches("0:0:0:0:0:0:0:1", "::1"))
        self.assertTrue(self.matches("::/0", "fe80::1%eth0"))
        self.assertTrue(self.matches("10.0.0.0/8", "::ffff:10.1.2.3"))
        self.assertTrue(self.matches("*", "no address"))
        self.assertFalse(self.matches("127.0.0.1", "no address"))

    def test_check(self) -> None:
        """
        A host of an ACL must not be empty, nor an invalid network.
        """
        for host in ("*", "10.0.0.0/8", "::1/128", "name", "127.0.*"):
            check_host(host)
        for host in ("", "10.0.0.0/33", "name/8", "10.0.0/8/8"):
            self.assertRaises(InvalidRequest, check_host, host)
