"""
Where producer ids come from.

A producer id must never be given twice, and asking the metadata store for each
one would make it the bottleneck of short-lived producers. So a broker takes a
block at a time; what is left of it when the broker stops is never used.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredLock
from zope.interface import implementer

from kafscale.errors import CommitConflict
from kafscale.format import metadata_keys
from kafscale.format.cluster import producer_ids_of
from kafscale.interfaces import Compare, IMetadataStore, IProducerIds, Put

#: As many as Kafka's own brokers take at once.
BLOCK = 1000


@implementer(IProducerIds)
class ProducerIds:
    """
    Hands out the ids of a block, and takes the next block when it is used up.
    """

    def __init__(self, store: IMetadataStore, block: int = BLOCK) -> None:
        self._store = store
        self._block = block
        self._next = 0
        self._end = 0
        self._taking = DeferredLock()  # one block at a time, however many ask

    async def new(self) -> int:
        """
        An id that was never given before, by any broker.
        """
        while self._next == self._end:
            await self._taking.acquire()
            try:
                if self._next == self._end:
                    await self._take()
            finally:
                self._taking.release()
        given = self._next
        self._next += 1
        return given

    async def _take(self) -> None:
        """
        Make the next block ours. A commit of unknown outcome costs a block at
        worst: the next try reads what stands there and goes on from it.
        """
        while True:
            entry = await self._store.get(metadata_keys.PRODUCER_IDS)
            first, revision = (0, 0) if entry is None else (producer_ids_of(entry), entry.revision)
            try:
                await self._store.commit(
                    [Compare(metadata_keys.PRODUCER_IDS, revision)],
                    [Put(metadata_keys.PRODUCER_IDS, first + self._block)],
                )
            except CommitConflict:
                continue  # another broker took that block
            self._next, self._end = first, first + self._block
            return
