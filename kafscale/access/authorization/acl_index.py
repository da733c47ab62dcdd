"""
ACLs, arranged so that the few that concern a decision are found at once.

A decision looks at the ACLs of the resource's own name, of C{*}, and of each prefix
of the name that an ACL has; and among those at the ones of the principal and of
C{User:*}, for the operation and those that stand for it. So it takes as long with
ten thousand ACLs as with ten.

The rules are those of Kafka's C{StandardAuthorizerData}:

  - an ACL that denies beats all that allow, whatever their patterns;
  - C{ALL} stands for each operation, in both;
  - an ACL that allows to read, write, delete or alter allows to describe, and one that
    allows to alter configurations allows to describe them. One that denies them does
    not deny that;
  - only C{*} as a literal name is a wildcard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from kafscale.access.authorization.hosts import Address, Hosts
from kafscale.format.acl import AclRecord, Operation, PatternType, Permission, ResourceType

WILDCARD = "*"
"""The literal name in an ACL for all resources of the type."""

EVERYBODY = "User:*"
"""The principal in an ACL for all principals."""

_IMPLYING = {
    Operation.DESCRIBE: (
        Operation.READ,
        Operation.WRITE,
        Operation.DELETE,
        Operation.ALTER,
    ),
    Operation.DESCRIBE_CONFIGS: (Operation.ALTER_CONFIGS,),
}
_DENYING = {each: (each, Operation.ALL) for each in Operation}
_ALLOWING = {each: (each, Operation.ALL, *_IMPLYING.get(each, ())) for each in Operation}

_Cells = dict[tuple[str, Operation], Hosts]
"""Hosts by principal and operation."""


class _Pattern:
    """
    The ACLs with one resource pattern.
    """

    __slots__ = ("allowed", "denied")

    def __init__(self) -> None:
        self.denied: _Cells = {}
        self.allowed: _Cells = {}


def _match(
    cells: _Cells, principal: str, address: Address, operations: tuple[Operation, ...]
) -> bool:
    if cells:
        for operation in operations:
            for each in (principal, EVERYBODY):
                hosts = cells.get((each, operation))
                if hosts is not None and hosts.match(address):
                    return True
    return False


class _OfType:
    """
    The ACLs for one type of resource.
    """

    def __init__(self) -> None:
        self.literal: dict[str, _Pattern] = {}
        self.prefixed: dict[str, _Pattern] = {}
        self.lengths: Counter[int] = Counter()  # of prefixes
        # Patterns that allow a principal an operation, with how many ACLs.
        self.allowing: dict[tuple[str, Operation], Counter[tuple[PatternType, str]]] = {}

    def of(self, pattern_type: PatternType) -> dict[str, _Pattern]:
        return self.literal if pattern_type is PatternType.LITERAL else self.prefixed

    def matching(self, name: str) -> Iterator[_Pattern]:
        """
        The patterns that match a name.
        """
        for literal in (name, WILDCARD):
            pattern = self.literal.get(literal)
            if pattern is not None:
                yield pattern
        yield from self.beginning(name)

    def beginning(self, name: str) -> Iterator[_Pattern]:
        """
        The prefixed patterns with which a name begins.
        """
        size = len(name)
        for length in self.lengths:
            if length <= size:
                pattern = self.prefixed.get(name[:length])
                if pattern is not None:
                    yield pattern


class AclIndex:
    """
    ACLs, and the decisions that follow from them.
    """

    def __init__(self, acls: Iterable[AclRecord] = ()) -> None:
        """
        @param acls: Those that there are at first.
        """
        self._types: dict[ResourceType, _OfType] = {each: _OfType() for each in ResourceType}
        for acl in acls:
            self.add(acl)

    def add(self, acl: AclRecord) -> None:
        """
        Add an ACL that is not in the index.
        """
        of_type = self._types[acl.resource_type]
        patterns = of_type.of(acl.pattern_type)
        pattern = patterns.get(acl.name)
        if pattern is None:
            pattern = patterns[acl.name] = _Pattern()
            if acl.pattern_type is PatternType.PREFIXED:
                of_type.lengths[len(acl.name)] += 1
        who = acl.principal, acl.operation
        if acl.permission is Permission.DENY:
            pattern.denied.setdefault(who, Hosts()).add(acl.host)
        else:
            pattern.allowed.setdefault(who, Hosts()).add(acl.host)
            allowing = of_type.allowing.setdefault(who, Counter())
            allowing[acl.pattern_type, acl.name] += 1

    def remove(self, acl: AclRecord) -> None:
        """
        Remove an ACL that is in the index.
        """
        of_type = self._types[acl.resource_type]
        patterns = of_type.of(acl.pattern_type)
        pattern = patterns[acl.name]
        who = acl.principal, acl.operation
        allows = acl.permission is Permission.ALLOW
        cells = pattern.allowed if allows else pattern.denied
        cells[who].remove(acl.host)
        if not cells[who]:
            del cells[who]
        if allows:
            where = acl.pattern_type, acl.name
            allowing = of_type.allowing[who]
            allowing[where] -= 1
            if not allowing[where]:
                del allowing[where]
        if not (pattern.denied or pattern.allowed):
            del patterns[acl.name]
            if acl.pattern_type is PatternType.PREFIXED:
                length = len(acl.name)
                of_type.lengths[length] -= 1
                if not of_type.lengths[length]:
                    del of_type.lengths[length]

    def decide(
        self,
        principal: str,
        address: Address,
        operation: Operation,
        resource_type: ResourceType,
        name: str,
    ) -> bool | None:
        """
        Whether a principal at an address may do something.

        @return: None if no ACL matches the resource, whatever it is about.
        """
        denying, allowing = _DENYING[operation], _ALLOWING[operation]
        allowed: bool | None = None
        for pattern in self._types[resource_type].matching(name):
            if _match(pattern.denied, principal, address, denying):
                return False
            allowed = allowed or _match(pattern.allowed, principal, address, allowing)
        return allowed

    def allows_any(
        self, principal: str, address: Address, operation: Operation, resource_type: ResourceType
    ) -> bool:
        """
        Whether there may be a resource with which the principal may do that: an ACL allows
        it, and no other denies all that this one allows (Kafka's
        C{Authorizer.authorizeByResourceType}).
        """
        of_type = self._types[resource_type]
        denying = _DENYING[operation]
        wildcard = of_type.literal.get(WILDCARD)
        if wildcard is not None and _match(wildcard.denied, principal, address, denying):
            return False
        for each in (principal, EVERYBODY):
            for allowing in _ALLOWING[operation]:
                for pattern_type, name in of_type.allowing.get((each, allowing), ()):
                    cells = of_type.of(pattern_type)[name].allowed
                    if not cells[each, allowing].match(address):
                        continue
                    denied = any(
                        _match(pattern.denied, principal, address, denying)
                        for pattern in of_type.beginning(name)
                    )
                    if pattern_type is PatternType.LITERAL and not denied:
                        denied = _match(of_type.literal[name].denied, principal, address, denying)
                    if not denied:
                        return True
        return False
