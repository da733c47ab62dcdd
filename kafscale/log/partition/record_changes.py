"""
Commits of a leader on the records of its partitions.

Each commit compares the record's revision with that of the last one, and
compares that no broker has stopped this incarnation (rules 11 and 27). So a broker that was
replaced finds out here at the latest.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.errors import NotLeaderOrFollower
from kafscale.format import metadata_keys
from kafscale.format.partition import PartitionRecord
from kafscale.interfaces import IMetadataStore
from kafscale.interfaces.incarnations import alive
from kafscale.log.commit import Change, settle_all
from kafscale.log.journal.journal import Journal
from kafscale.log.partition.partition import Partition


class RecordChanges:
    """
    Commits records of partitions for one incarnation.
    """

    def __init__(self, metadata: IMetadataStore, journal: Journal, incarnation: int) -> None:
        """
        @param journal: The incarnation's journal. It is fenced when a commit shows
            that the incarnation was replaced.
        @param incarnation: Its number.
        """
        self._metadata = metadata
        self._journal = journal
        self._alive = alive(incarnation)

    async def commit(self, partition: Partition, record: PartitionRecord) -> int:
        """
        Commit a partition's record, and return the new revision (rule 11).

        @raise NotLeaderOrFollower: the partition was deleted, or another broker
            has changed the record. The partition is dropped.
        """
        (revision,) = await self.commit_all([(partition, record)])
        if revision is None:
            raise NotLeaderOrFollower
        return revision

    async def commit_all(
        self, changed: Sequence[tuple[Partition, PartitionRecord]]
    ) -> list[int | None]:
        """
        Commit the records of several partitions, in as few commits as possible.

        @return: The new revision of each. None if the partition was deleted, or
            if another broker has changed its record: it is dropped.
        """
        named = [
            (metadata_keys.partition(partition.topic_id, partition.index), partition, record)
            for partition, record in changed
        ]
        revisions = await settle_all(
            self._metadata,
            [Change(key, partition.revision, record.to_json()) for key, partition, record in named],
            self._alive,
        )
        for (key, partition, _), revision in zip(named, revisions, strict=True):
            if revision is None:
                if await self._metadata.get(key) is not None:
                    self._journal.fence()
                partition.drop()
        return revisions

    async def check(self, partition: Partition) -> None:
        """
        Check that a partition's record is still as this broker has committed it.
        Called when an object is missing that the record names.

        @raise NotLeaderOrFollower: another broker has changed the record, or it
            was deleted. The partition is dropped.
        """
        key = metadata_keys.partition(partition.topic_id, partition.index)
        entry = await self._metadata.get(key)
        if entry is not None and entry.revision == partition.revision:
            return
        if entry is not None:
            self._journal.fence()
        partition.drop()
        raise NotLeaderOrFollower
