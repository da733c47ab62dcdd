"""
What principals may do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence

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

    def acls() -> Collection[AclRecord]:
        """
        All of them.
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

    def delete(acls: Sequence[AclRecord]) -> Awaitable[Collection[AclRecord]]:
        """
        Delete ACLs, in the same way, and return those that there were. They need not be
        among L{acls}: another broker may just have created them.

        @raise StoreUnavailable: some may not have been deleted.
        """
