"""
ACLs in one line each, and an authorizer with them.
"""

from __future__ import annotations

from collections.abc import Collection

from kafscale.access.authorization.authorizer import StandardAuthorizer
from kafscale.cluster.records import ClusterRecords
from kafscale.format import metadata_keys
from kafscale.format.acl import AclRecord, Operation, PatternType, Permission, ResourceType
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import now


def acl(text: str, principal: str = "User:alice", host: str = "*") -> AclRecord:
    """
    An ACL such as C{"allow read topic foo*"}: a star after other characters makes a
    prefixed pattern.
    """
    permission, operation, kind, name = text.split(" ")
    prefixed = name.endswith("*") and name != "*"
    return AclRecord(
        ResourceType[kind.upper()],
        name[:-1] if prefixed else name,
        PatternType.PREFIXED if prefixed else PatternType.LITERAL,
        principal,
        host,
        Operation[operation.upper()],
        Permission[permission.upper()],
    )


def ten_thousand() -> list[str]:
    """
    Ten thousand ACLs, of many names and of prefixes of 1 to 248 times C{p}.
    """
    texts = [f"allow read topic t{each}" for each in range(9_752)]
    return texts + [f"allow read topic {'p' * length}*" for length in range(1, 249)]


class Acls:
    """
    An authorizer over a metadata store in memory.

    @ivar authorizer: The authorizer.
    @ivar store: The metadata store.
    """

    def __init__(self, super_users: Collection[str] = (), open_without_acl: bool = False) -> None:
        self.store = SQLiteMetadataStore(":memory:", at_once)
        self._records = ClusterRecords(self.store, metadata_keys.ACLS, AclRecord.from_entry)
        now(self._records.start())
        self.authorizer = StandardAuthorizer(self._records, super_users, open_without_acl)

    def create(self, *texts: str, principal: str = "User:alice", host: str = "*") -> None:
        """
        Create ACLs.
        """
        now(self.authorizer.create([acl(text, principal, host) for text in texts]))

    def delete(self, *texts: str, principal: str = "User:alice", host: str = "*") -> None:
        """
        Delete ACLs.
        """
        keys = [metadata_keys.acl(acl(text, principal, host)) for text in texts]
        now(self.authorizer.delete(keys))

    def all(self) -> list[AclRecord]:
        """
        What ACLs there are.
        """
        return list(self.authorizer.acls().values())

    def close(self) -> None:
        """
        Close the store.
        """
        now(self.store.close())
