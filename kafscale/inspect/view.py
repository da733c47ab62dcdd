"""
The metadata of a namespace's log at one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from uuid import UUID

import attrs

from kafscale.format import metadata_keys, object_keys
from kafscale.format.cluster import LevelsRecord, StoreRecord, cluster_id_of
from kafscale.format.errors import NewerFormat, UnreadableData
from kafscale.format.incarnation import (
    IncarnationRecord,
    JournalRecord,
    SealRecord,
    lowest_incarnation_of,
    needed_slots,
)
from kafscale.format.levels import check_level
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.format.topic import TombstoneRecord, TopicRecord
from kafscale.interfaces import Entry, IMetadataStore

K = TypeVar("K")
V = TypeVar("V")


@attrs.frozen
class Journal:
    """
    The metadata of one incarnation's journal.

    @ivar number: The number of the incarnation.
    @ivar record: The record of the incarnation.
    @ivar seal: The record of its seal; None if the incarnation is not stopped.
    @ivar stored: A number. All slots below it were acknowledged.
    """

    number: int
    record: IncarnationRecord
    seal: SealRecord | None
    stored: int = 0

    @property
    def sealed_at(self) -> int | None:
        """
        The number of the slot after the last one that counts; None while the
        end is not recorded.
        """
        return None if self.seal is None else self.seal.sealed_at

    @property
    def needed(self) -> range:
        """
        See L{needed_slots}.
        """
        return needed_slots(self.record, self.seal)


@attrs.frozen
class View:
    """
    The metadata of a namespace.

    @ivar cluster: The id of the cluster; None if no broker has started yet.
    @ivar revision: The revision of the metadata store.
    @ivar store: The object store that the metadata belong to; None if no broker
        has noted it yet.
    @ivar levels: The levels of formats that are in force, but for those at 0.
    @ivar journals: By the number of the incarnation.
    @ivar lowest: Incarnations below this number that have no record are over: of
        what they had only seals may be left.
    @ivar topics: By id, like the tombstones.
    @ivar tombstones: Of topics whose data may not be gone yet.
    @ivar unknown: The entries that cannot be read: the reasons, by their keys.
    """

    namespace: str
    cluster: str | None
    revision: int
    store: StoreRecord | None
    levels: Mapping[str, int]
    journals: dict[int, Journal]
    lowest: int
    partitions: dict[TopicIdPartition, PartitionRecord]
    topics: dict[UUID, TopicRecord]
    tombstones: dict[UUID, TombstoneRecord]
    unknown: dict[str, str]

    def name(self, where: TopicIdPartition) -> str:
        """
        Return topic name and index, as in C{clicks-0}; with the topic's id if
        there is no such topic.
        """
        topic_id, index = where
        topic = self.topics.get(topic_id)
        return f"{topic_id if topic is None else topic.name}-{index}"

    def slots(self, journal: Journal) -> str:
        """
        The prefix of the keys of a journal's slots.
        """
        return object_keys.journal(self.namespace, journal.record.broker, journal.number)

    def bundles(self, journal: Journal) -> str:
        """
        The prefix of the keys of a journal's bundles.
        """
        return object_keys.bundles(self.namespace, journal.record.broker, journal.number)

    def is_over(self, incarnation: int) -> bool:
        """
        Whether the record of an incarnation is gone, because nothing of it is
        left but seals (rule 27).
        """
        return incarnation < self.lowest and incarnation not in self.journals

    def counts(self, incarnation: int, where: TopicIdPartition, epoch: int) -> bool:
        """
        Whether the records of a partition that an incarnation has written in
        this leader epoch, and that are in no segment, are part of the log
        (rule 13).
        """
        record = self.partitions.get(where)
        return record is not None and (incarnation, epoch) in record.journals


async def load(metadata: IMetadataStore, namespace: str) -> View:
    """
    Read the metadata.

    @raise NewerFormat: brokers write a level of a format that this version does
        not read.
    """
    levels = await _levels(metadata)
    unknown: dict[str, str] = {}

    async def each(
        prefix: str, name_of: Callable[[str], K], value_of: Callable[[Entry], V]
    ) -> dict[K, V]:
        entries, _ = await metadata.range(prefix)
        found = {}
        for entry in entries:
            try:
                found[name_of(entry.key)] = value_of(entry)
            except UnreadableData as error:
                unknown[entry.key] = error.reason
            except ValueError as error:
                unknown[entry.key] = f"the key is not understood: {error}"
        return found

    incarnation_of, topic_of = metadata_keys.incarnation_of, metadata_keys.topic_of
    seals = await each(metadata_keys.SEALS, incarnation_of, SealRecord.from_entry)
    records = await each(
        metadata_keys.INCARNATIONS, incarnation_of, IncarnationRecord.from_entry
    )
    stored = await each(
        metadata_keys.JOURNALS,
        incarnation_of,
        lambda entry: JournalRecord.from_entry(entry).stored,
    )
    # Read last, so that no record was deleted unnoticed meanwhile.
    lowest = await metadata.get(metadata_keys.LOWEST_INCARNATION)
    lowest_number = 0 if lowest is None else lowest_incarnation_of(lowest)
    for number in sorted(seals.keys() - records.keys()):
        if number >= lowest_number:
            unknown[metadata_keys.seal(number)] = "there is no such incarnation"
    entry = await metadata.get(metadata_keys.CLUSTER_ID)
    _, revision = await metadata.range(metadata_keys.CLUSTER_ID)
    store = await metadata.get(metadata_keys.STORE)
    return View(
        namespace=namespace,
        store=None if store is None else StoreRecord.from_entry(store),
        cluster=None if entry is None else cluster_id_of(entry),
        revision=revision,
        levels=levels,
        journals={
            number: Journal(number, record, seals.get(number), stored.get(number, 0))
            for number, record in records.items()
        },
        lowest=lowest_number,
        partitions=await each(
            metadata_keys.PARTITIONS, metadata_keys.partition_of, PartitionRecord.from_entry
        ),
        topics=await each(metadata_keys.TOPICS, topic_of, TopicRecord.from_entry),
        tombstones=await each(metadata_keys.TOMBSTONES, topic_of, TombstoneRecord.from_entry),
        unknown=unknown,
    )


async def _levels(metadata: IMetadataStore) -> Mapping[str, int]:
    entry = await metadata.get(metadata_keys.LEVELS)
    if entry is None:
        return {}
    levels = LevelsRecord.from_entry(entry).in_force
    for name, level in levels.items():
        try:
            check_level(name, level)
        except NewerFormat as newer:
            newer.key = metadata_keys.LEVELS
            raise
    return levels
