"""
The allocation of producer ids.

A producer id must never be assigned twice, and a commit to the metadata store for
each id would make the store the bottleneck of short-lived producers. So a broker
allocates ids in blocks (as in KIP-730). The rest of a block is lost when the broker
stops.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredLock
from zope.interface import implementer

from kafscale.errors import CommitConflict
from kafscale.format import metadata_keys
from kafscale.format.cluster import producer_ids_of
from kafscale.interfaces import Compare, IMetadataStore, IProducerIds, Put

#: The size of a block, as in Kafka (C{ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE}).
BLOCK = 1000


@implementer(IProducerIds)
class ProducerIds:
    """
    Assigns the ids of a block, and allocates the next block when none is left.
    """

    def __init__(self, store: IMetadataStore, block: int = BLOCK) -> None:
        """
        @param store: The metadata store that all brokers share.
        @param block: The number of ids to allocate at once.
        """
        self._store = store
        self._block = block
        self._next = 0
        self._end = 0
        self._taking = DeferredLock()  # concurrent callers share one block

    async def new(self) -> int:
        """
        Return an id that no broker has assigned before.

        @raise StoreUnavailable: the next block could not be allocated.
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
        Allocate the next block. A commit of unknown outcome wastes a block at worst: the
        next attempt reads the stored value, and continues from there.
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
                continue  # another broker has allocated that block
            self._next, self._end = first, first + self._block
            return
