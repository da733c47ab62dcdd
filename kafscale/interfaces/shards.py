"""
Shards: the sixteen parts into which groups and transactional ids are divided.

One broker at a time owns a shard, and the room that coordinates groups takes and
releases them. Other records in a shard belong to a tenant, which shares its commits:
all waiting operations are written together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from kafscale.interfaces.stores import Delete, Put


class IShard(Interface):
    """
    A shard that this broker has taken.
    """

    number: int = Attribute("The number of the shard.")

    def write(operations: Sequence[Put | Delete]) -> Deferred[None]:
        """
        Write these operations, if this broker still owns the shard. Fires when all of
        them are durable. They are written in the order of calls, together with others,
        and not necessarily by one commit.

        @raise NotCoordinator: by the Deferred: another broker owns the shard.
        @raise StoreError: likewise: they could not be written.
        """

    def look() -> Deferred[None]:
        """
        Read the owner of the shard from the store. Fires when a read that began after
        this call has found that it is this broker, ever since it has taken the shard:
        then no other broker has written to the shard before the read.

        @raise NotCoordinator: by the Deferred: another broker owns the shard.
        """


class IShardTenant(Interface):
    """
    What is stored in shards beside groups.
    """

    def expect(numbers: Collection[int]) -> None:
        """
        These shards are being taken, and no others.
        """

    def load(shard: IShard) -> Awaitable[None]:
        """
        This broker has taken the shard. Read what is stored in it, and use it.

        @raise StoreError: it could not be read.
        """

    def release(number: int) -> None:
        """
        This broker does not own the shard any longer, or may not. Use it no more. There
        may be no such shard.
        """
