"""
Giving out producer ids.

A producer id must never be given twice. And ids are in the order of the commits to the
metadata store: an id that a producer asks for after a topic was created is higher than
all that were given out before (L{first_id_after}). The log depends on that to recognize
producers that are new to a partition (rule 25). So a broker cannot keep a block of ids
for later, as Kafka's brokers do (KIP-730): those would be lower than ids that other
brokers have given out meanwhile. It allocates as many ids as producers wait for, with a
read and a commit, and those that ask meanwhile are served together by the next one.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from kafscale.errors import CommitConflict
from kafscale.format import metadata_keys
from kafscale.format.cluster import IDS_PER_REVISION, first_id_after, producer_ids_of
from kafscale.interfaces import Compare, IMetadataStore, IProducerIds, Put


@implementer(IProducerIds)
class ProducerIds:
    """
    Gives out producer ids.
    """

    def __init__(self, store: IMetadataStore) -> None:
        """
        @param store: The metadata store that all brokers share.
        """
        self._store = store
        self._waiting: list[Deferred[int]] = []
        self._allocating = False

    async def new(self) -> int:
        """
        Return an id that no broker has given out before.

        @raise StoreUnavailable: it could not be allocated.
        """
        waiter: Deferred[int] = Deferred()
        self._waiting.append(waiter)
        if not self._allocating:
            Deferred.fromCoroutine(self._serve())
        return await waiter

    async def _serve(self) -> None:
        """
        Allocate ids until no producer waits.
        """
        self._allocating = True
        while self._waiting:
            served = self._waiting[:IDS_PER_REVISION]
            del self._waiting[:IDS_PER_REVISION]
            try:
                first = await self._allocate(len(served))
            except Exception as error:  # noqa: BLE001 - goes to those that wait
                for waiter in served:
                    waiter.errback(error)
            else:
                for producer_id, waiter in enumerate(served, first):
                    waiter.callback(producer_id)
        self._allocating = False

    async def _allocate(self, count: int) -> int:
        """
        Allocate ids, and return the first of them. A commit of unknown outcome wastes
        ids at worst: the next one continues from the stored value.
        """
        while True:
            entries, revision = await self._store.range(metadata_keys.PRODUCER_IDS)
            first = first_id_after(revision)
            compare = Compare(metadata_keys.PRODUCER_IDS, 0)
            for entry in entries:
                # Higher only if the entry was copied to a store with lower revisions.
                first = max(first, producer_ids_of(entry))
                compare = Compare(entry.key, entry.revision)
            try:
                await self._store.commit(
                    [compare], [Put(metadata_keys.PRODUCER_IDS, first + count)]
                )
            except CommitConflict:
                continue  # another broker has allocated those ids
            return first
