"""
What principals may do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence

from zope.interface import Attribute, Interface

from kafscale.format.acl import AclRecord, Operation, ResourceType
from kafscale.interfaces.access import Principal

CLUSTER_NAME = "kafka-cluster"
"""The name of the only resource of type L{ResourceType.CLUSTER}."""


class IRights(Interface):
    """
    What a principal may do from an address.
    """

    serial: int = Attribute(
        "A number that no other rights have, and another one after each change of ACLs."
    )

    def allows(operation: Operation, resource_type: ResourceType, name: str) -> bool:
        """
        Whether the principal may do that with the resource.
        """

    def allows_any(operation: Operation, resource_type: ResourceType) -> bool:
        """
        Whether there may be a resource of the type with which it may do that.
        """


class IAuthorizer(Interface):
    """
    Decides what principals may do.
    """

    def rights(principal: Principal, host: str) -> IRights:
        """
        What a principal may do, now and later.

        @param host: The address of the client.
        """


class IAcls(Interface):
    """
    The access control lists.
    """

    def acls() -> Mapping[str, AclRecord]:
        """
        All of them by their keys. Later changes show in it.
        """

    def refresh() -> Awaitable[None]:
        """
        When it fires L{acls} has all that were created before the call, by whichever
        broker.

        @raise StoreUnavailable: the store did not answer.
        """

    def check(acl: AclRecord) -> None:
        """
        Check an ACL that is to be created.

        @raise InvalidRequest: it cannot be.
        """

    def create(acls: Sequence[AclRecord]) -> Awaitable[None]:
        """
        Create ACLs, unless they exist. When it fires they are durable, and in force on this
        broker. Each is created alone or not at all, whatever becomes of the others.

        @raise StoreUnavailable: some may not have been created.
        """

    def delete(keys: Sequence[str]) -> Awaitable[Collection[str]]:
        """
        Delete the ACLs with these keys, in the same way, and return the keys of those that
        there were. They need not be among L{acls}: another broker may just have created
        them.

        @raise StoreUnavailable: some may not have been deleted.
        """
