"""
What a replica asks of who keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kafscale.log.replicas.replica import Replica


class Source(Protocol):
    """
    Where replicas have what is in no segment.
    """

    def want(self, replica: Replica) -> None:
        """
        From now on there are readers for it.
        """

    async def fetch(self, replica: Replica, offset: int, max_bytes: int) -> bytes:
        """
        Batches from the one that contains C{offset}, at least one, from the
        leader.

        @raise KafkaError: it does not have them.
        """

    def grew(self, size: int) -> None:
        """
        So many bytes more are in memory; below 0, less.
        """
