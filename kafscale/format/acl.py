"""
The records of access control lists, and the words of which they consist.

The numbers are those of Kafka's protocol (C{ResourceType}, C{PatternType},
C{AclOperation} and C{AclPermissionType} in C{org.apache.kafka.common}); records have
the names.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import attrs

from kafscale.format.record import StoredEntry, read_record


class ResourceType(IntEnum):
    """
    What an ACL is about.
    """

    UNKNOWN = 0
    ANY = 1
    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    DELEGATION_TOKEN = 6
    USER = 7


class PatternType(IntEnum):
    """
    How an ACL says which resources it is about.
    """

    UNKNOWN = 0
    ANY = 1
    MATCH = 2
    LITERAL = 3
    PREFIXED = 4


class Operation(IntEnum):
    """
    What is done with a resource.
    """

    UNKNOWN = 0
    ANY = 1
    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15


class Permission(IntEnum):
    """
    Whether an ACL allows or denies.
    """

    UNKNOWN = 0
    ANY = 1
    DENY = 2
    ALLOW = 3


@attrs.frozen
class AclRecord:
    """
    The entry under C{acls/}: one binding, as Kafka's C{AclBinding}. Its key is a digest
    of its fields (L{kafscale.format.metadata_keys.acl}), so it never changes.

    @ivar resource_type: L{ResourceType.TOPIC} or a later one.
    @ivar name: Of the resource, or what its name begins with; C{*} with
        L{PatternType.LITERAL}: all resources of the type.
    @ivar pattern_type: L{PatternType.LITERAL} or L{PatternType.PREFIXED}.
    @ivar principal: For example C{User:alice}; C{User:*} is every principal.
    @ivar host: The address of a client, a network (CIDR), or C{*}.
    @ivar operation: L{Operation.ALL} or a later one.
    @ivar permission: L{Permission.DENY} or L{Permission.ALLOW}.
    """

    resource_type: ResourceType
    name: str
    pattern_type: PatternType
    principal: str
    host: str
    operation: Operation
    permission: Permission

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return {
            "resource": self.resource_type.name,
            "name": self.name,
            "pattern": self.pattern_type.name,
            "principal": self.principal,
            "host": self.host,
            "operation": self.operation.name,
            "permission": self.permission.name,
        }

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> AclRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(
            resource: str,
            name: str,
            pattern: str,
            principal: str,
            host: str,
            operation: str,
            permission: str,
        ) -> AclRecord:
            return cls(
                ResourceType[resource],
                "" + name,
                PatternType[pattern],
                "" + principal,
                "" + host,
                Operation[operation],
                Permission[permission],
            )

        return read_record("acls", entry, lambda value: read(**value))
