"""
How a leader changes the record of its partition.

Each change compares the revision of the last one, and that nobody has stopped
this incarnation. So whoever was replaced learns it here, at the latest.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.errors import NotLeaderOrFollower
from kafscale.format import metadata_keys
from kafscale.format.partition import PartitionRecord
from kafscale.interfaces import Compare, IMetadataStore
from kafscale.log.commit import Change, settle_all
from kafscale.log.journal.journal import Journal
from kafscale.log.partition.partition import Partition


class RecordChanges:
    """
    What one incarnation commits into the records of its partitions.
    """

    def __init__(self, metadata: IMetadataStore, journal: Journal, incarnation: int) -> None:
        """
        @param journal: The incarnation's: fenced by the commit that tells that
            it was replaced.
        """
        self._metadata = metadata
        self._journal = journal
        self._alive = Compare(metadata_keys.seal(incarnation), 0)

    async def commit(self, partition: Partition, record: PartitionRecord) -> int:
        """
        Commit a partition's record; its new revision (rule 11).

        @raise NotLeaderOrFollower: the partition is deleted, or somebody
            else's: it is dropped.
        """
        (revision,) = await self.commit_all([(partition, record)])
        if revision is None:
            raise NotLeaderOrFollower
        return revision

    async def commit_all(
        self, changed: Sequence[tuple[Partition, PartitionRecord]]
    ) -> list[int | None]:
        """
        Commit several partitions' records; their new revisions, None for each
        that is deleted, or somebody else's: it is dropped.
        """
        named = [
            (metadata_keys.partition(partition.topic_id, partition.index), partition, record)
            for partition, record in changed
        ]
        revisions = await settle_all(
            self._metadata,
            [Change(key, partition.revision, record.to_json()) for key, partition, record in named],
            (self._alive,),
        )
        for (key, partition, _), revision in zip(named, revisions, strict=True):
            if revision is None:
                if await self._metadata.get(key) is not None:
                    self._journal.fence()
                partition.drop()
        return revisions

    async def check(self, partition: Partition) -> None:
        """
        Ask the store whether the record is as this broker has it: something
        is not there that should be.

        @raise NotLeaderOrFollower: somebody else has changed the record since.
        """
        key = metadata_keys.partition(partition.topic_id, partition.index)
        entry = await self._metadata.get(key)
        if entry is not None and entry.revision == partition.revision:
            return
        if entry is not None:
            self._journal.fence()
        partition.drop()
        raise NotLeaderOrFollower
