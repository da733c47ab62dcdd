"""
A read replica as consumers with C{isolation.level=read_committed} read it.

Which transactions are open, and which were aborted, only the leader knows. So batches of
transactions are not shown here: a consumer that comes to one is sent to the leader.
"""

from __future__ import annotations

from zope.interface import implementer

from kafscale.errors import NotLeaderOrFollower
from kafscale.interfaces import Fetched, IReadable
from kafscale.log.reading.committed_view import CommittedView
from kafscale.wire.batches import CONTROL, TRANSACTIONAL
from kafscale.wire.records import iterate


@implementer(IReadable)
class CommittedReplica(CommittedView):
    """
    A partition that another broker leads; see L{IReadable.committed}.
    """

    def available(self, offset: int) -> int:
        """
        See L{IReadable.available}.
        """
        return self._whole.available(offset)

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        See L{IReadable.read}.

        @raise NotLeaderOrFollower: a batch is part of a transaction.
        """
        found = self._whole.read(offset, max_bytes, at_least_one)
        return None if found is None else _without_transactions(found)

    async def load(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        See L{IReadable.load}.

        @raise NotLeaderOrFollower: a batch is part of a transaction.
        """
        return _without_transactions(await self._whole.load(offset, max_bytes, at_least_one))


def _without_transactions(fetched: Fetched) -> Fetched:
    """
    Return what was read, if there is no batch of a transaction in it.
    """
    for piece in fetched.pieces:
        for _, header in iterate(piece):
            if header.attributes & (TRANSACTIONAL | CONTROL):
                raise NotLeaderOrFollower("only the leader knows which transactions are open")
    return fetched
