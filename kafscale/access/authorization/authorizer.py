"""
Decisions by ACLs, super users and defaults, remembered by principal.

A decision is made once for each principal and address, and looked up from then on.
When an ACL changes all that was decided is dropped: each principal's decisions at its
next request, so a change costs nothing at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final

from zope.interface import implementer

from kafscale.access.authorization.acl_index import AclIndex
from kafscale.access.authorization.hosts import address_of, check_host
from kafscale.errors import InvalidRequest
from kafscale.format import metadata_keys
from kafscale.format.acl import AclRecord, Operation, ResourceType
from kafscale.interfaces import (
    CLUSTER_NAME,
    IAcls,
    IAuthorizer,
    IClusterRecords,
    IRights,
    Principal,
)

MOST_PRINCIPALS: Final = 10_000
"""For how many principals, each at an address, decisions are remembered."""

MOST_DECISIONS: Final = 5_000
"""How many decisions are remembered of each of them."""

_AT_ONCE: Final = 40
"""How many ACLs are in one commit. More would make long turns."""

_LONG_NAME: Final = 256
"""A decision about a longer name is not remembered: clients may ask for names of many
MiB, and no topic has such a one."""

_ANY_NAME = "hardcode"
"""A name of which Kafka assumes that no ACL is about it alone."""


@implementer(IRights)
class Rights:
    """
    What one principal may do from one address.
    """

    def __init__(self, authorizer: StandardAuthorizer, principal: str, host: str) -> None:
        self._authorizer = authorizer
        self._principal = principal
        self._address = address_of(host)
        self._generation = -1
        self._serial = 0
        self._decided: dict[tuple[Operation, ResourceType, str | None], bool] = {}

    @property
    def serial(self) -> int:
        """
        See L{IRights.serial}.
        """
        self._renew()
        return self._serial

    def allows(self, operation: Operation, resource_type: ResourceType, name: str) -> bool:
        """
        See L{IRights.allows}.
        """
        if self._generation != self._authorizer.generation:
            self._renew()
        what = operation, resource_type, name
        decided = self._decided.get(what)
        if decided is None:
            decided = self._authorizer.decide(
                self._principal, self._address, operation, resource_type, name
            )
            self._remember(what, decided)
        return decided

    def allows_any(self, operation: Operation, resource_type: ResourceType) -> bool:
        """
        See L{IRights.allows_any}.
        """
        self._renew()
        what = operation, resource_type, None
        decided = self._decided.get(what)
        if decided is None:
            decided = self._authorizer.decide_any(
                self._principal, self._address, operation, resource_type
            )
            self._remember(what, decided)
        return decided

    def _renew(self) -> None:
        if self._generation != self._authorizer.generation:
            self._generation = self._authorizer.generation
            self._serial = self._authorizer.new_serial()
            self._decided = {}

    def _remember(
        self, what: tuple[Operation, ResourceType, str | None], decided: bool
    ) -> None:
        name = what[2]
        if name is not None and len(name) > _LONG_NAME:
            return
        if len(self._decided) >= MOST_DECISIONS:
            self._decided = {}
        self._decided[what] = decided


@implementer(IAuthorizer, IAcls)
class StandardAuthorizer:
    """
    The rules of Kafka's C{StandardAuthorizer}, with the ACLs of the metadata store.

    @ivar generation: Counts the changes of ACLs.
    """

    def __init__(
        self,
        records: IClusterRecords,
        super_users: Collection[str] = (),
        allow_without_acl: bool = False,
    ) -> None:
        """
        @param records: The ACLs. They have been read.
        @param super_users: The principals that may do everything, such as C{User:admin}.
        @param allow_without_acl: Whether everybody may use a resource that no ACL matches
            (C{allow.everyone.if.no.acl.found}).
        """
        self.generation = 0
        self._serials = 0
        self._records = records
        self._super_users = frozenset(super_users)
        self._allow_without_acl = allow_without_acl
        self._known: dict[str, AclRecord] = dict(records.records())
        self._index = AclIndex(self._known.values())
        self._rights: dict[tuple[str, str, str], Rights] = {}
        records.on_change(self.changed)

    # -- deciding ---------------------------------------------------------------

    def rights(self, principal: Principal, host: str) -> IRights:
        """
        See L{IAuthorizer.rights}.
        """
        where = principal.kind, principal.name, host
        rights = self._rights.get(where)
        if rights is None:
            if len(self._rights) >= MOST_PRINCIPALS:
                del self._rights[next(iter(self._rights))]
            rights = self._rights[where] = Rights(self, str(principal), host)
        return rights

    def decide(
        self,
        principal: str,
        address: tuple[int, int] | None,
        operation: Operation,
        resource_type: ResourceType,
        name: str,
    ) -> bool:
        """
        Whether a principal may do something with a resource.
        """
        if principal in self._super_users:
            return True
        decided = self._index.decide(principal, address, operation, resource_type, name)
        return self._allow_without_acl if decided is None else decided

    def decide_any(
        self,
        principal: str,
        address: tuple[int, int] | None,
        operation: Operation,
        resource_type: ResourceType,
    ) -> bool:
        """
        Whether a principal may do something with any resource of a type.
        """
        return self.decide(
            principal, address, operation, resource_type, _ANY_NAME
        ) or self._index.allows_any(principal, address, operation, resource_type)

    def new_serial(self) -> int:
        """
        A number that was not returned before.
        """
        self._serials += 1
        return self._serials

    def changed(self, changed: Mapping[str, AclRecord | None]) -> None:
        """
        ACLs have changed: what was decided is forgotten.

        @param changed: The new ones by their keys, and None for those that are deleted.
        """
        self.generation += 1
        for key, record in changed.items():
            before = self._known.pop(key, None)
            if before is not None:
                self._index.remove(before)
            if record is not None:
                self._known[key] = record
                self._index.add(record)

    # -- ACLs -------------------------------------------------------------------

    def acls(self) -> Mapping[str, AclRecord]:
        """
        See L{IAcls.acls}.
        """
        return self._known

    async def refresh(self) -> None:
        """
        See L{IAcls.refresh}.
        """
        await self._records.refresh()

    def check(self, acl: AclRecord) -> None:
        """
        See L{IAcls.check}.
        """
        if not acl.name:
            raise InvalidRequest("Invalid empty resource name")
        if acl.resource_type is ResourceType.CLUSTER and acl.name != CLUSTER_NAME:
            raise InvalidRequest(
                f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}"
            )
        kind, colon, _ = acl.principal.partition(":")
        if not (kind and colon):
            raise InvalidRequest(
                f"Could not parse principal from {acl.principal[:100]!r}: it has no colon"
            )
        check_host(acl.host)

    async def create(self, acls: Sequence[AclRecord]) -> None:
        """
        See L{IAcls.create}.
        """
        for start in range(0, len(acls), _AT_ONCE):
            some = {metadata_keys.acl(acl): acl for acl in acls[start : start + _AT_ONCE]}
            await self._records.change(some, partial(_regardless, some, set()))

    async def delete(self, keys: Sequence[str]) -> Collection[str]:
        """
        See L{IAcls.delete}.
        """
        there: set[str] = set()
        for start in range(0, len(keys), _AT_ONCE):
            some = dict.fromkeys(keys[start : start + _AT_ONCE])
            await self._records.change(some, partial(_regardless, some, there))
        return there


def _regardless(
    wanted: Mapping[str, AclRecord | None], there: set[str], present: Mapping[str, AclRecord]
) -> Mapping[str, AclRecord | None]:
    there.update(present)
    return wanted
