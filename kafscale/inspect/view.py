"""
What the metadata says of a namespace's log, at one moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import attrs

from kafscale.format import metadata_keys, object_keys
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.interfaces import IMetadataStore
from kafscale.log.journal.fencing import is_marked

T = TypeVar("T")


@attrs.frozen
class Incarnation:
    """
    @ivar trim: The lowest slot that may be needed.
    @ivar wound_up: Whether a successor has cleared its journal.
    @ivar sealed_at: The slot after the last one that counts; None while it is
        not recorded.
    @ivar marked: Whether a mark in the metadata stops it, and no seal.
    """

    number: int
    broker: int
    trim: int
    wound_up: bool
    sealed_at: int | None
    marked: bool = False

    def may_need(self, slot: int) -> bool:
        """
        Whether a slot, or the seal at the end, is part of the journal.
        """
        if slot < self.trim or self.sealed_at is None:
            return slot >= self.trim
        return slot < self.sealed_at or (slot == self.sealed_at and not self.marked)


@attrs.frozen
class View:
    """
    @ivar revision: Of the metadata store when this was read.
    @ivar topics: Name and number of partitions of each.
    @ivar tombstones: Names of topics whose data may not be gone yet.
    @ivar unknown: Entries that are not as they should be, and what is wrong.
    """

    namespace: str
    cluster: str | None
    revision: int
    incarnations: dict[int, Incarnation]
    partitions: dict[TopicIdPartition, PartitionRecord]
    topics: dict[UUID, tuple[str, int]]
    tombstones: dict[UUID, str]
    unknown: dict[str, str]

    def name(self, where: TopicIdPartition) -> str:
        """
        A partition, as a person calls it.
        """
        topic_id, index = where
        topic = self.topics.get(topic_id)
        return f"{topic_id if topic is None else topic[0]}-{index}"

    def prefix(self, incarnation: Incarnation) -> str:
        """
        Of the keys of an incarnation's slots.
        """
        return object_keys.journal(self.namespace, incarnation.broker, incarnation.number)

    def counts(self, incarnation: int, where: TopicIdPartition, epoch: int) -> bool:
        """
        Whether what an incarnation has written of a partition in this epoch
        is part of the log, if it is in no segment (rule 13).
        """
        record = self.partitions.get(where)
        return record is not None and (incarnation, epoch) in record.journals


async def load(metadata: IMetadataStore, namespace: str) -> View:
    """
    Read it all.
    """
    unknown: dict[str, str] = {}

    async def each(prefix: str, take: Callable[[str, Any], tuple[Any, T]]) -> dict[Any, T]:
        entries, _ = await metadata.range(prefix)
        found = {}
        for entry in entries:
            try:
                name, value = take(entry.key, entry.value)
                found[name] = value
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                unknown[entry.key] = f"{entry.value!r} is not understood: {error!r}"
        return found

    def seal(key: str, value: Any) -> tuple[int, int | None]:
        if "sealed_at" not in value and "by" in value:
            return metadata_keys.incarnation_of(key), None  # marked, and the end not found yet
        return metadata_keys.incarnation_of(key), int(value["sealed_at"])

    seals = await each(metadata_keys.SEALS, seal)

    def incarnation(key: str, value: Any) -> tuple[int, Incarnation]:
        number = metadata_keys.incarnation_of(key)
        return number, Incarnation(
            number,
            int(value["broker"]),
            int(value["trim"]),
            bool(value.get("wound_up")),
            seals.get(number),
            is_marked(value),
        )

    incarnations = await each(metadata_keys.INCARNATIONS, incarnation)
    for number in seals.keys() - incarnations.keys():
        unknown[metadata_keys.seal(number)] = "there is no such incarnation"
    entry = await metadata.get(metadata_keys.CLUSTER_ID)
    _, revision = await metadata.range(metadata_keys.CLUSTER_ID)
    return View(
        namespace=namespace,
        cluster=None if entry is None else str(entry.value),
        revision=revision,
        incarnations=incarnations,
        partitions=await each(
            metadata_keys.PARTITIONS,
            lambda key, value: (metadata_keys.partition_of(key), PartitionRecord.from_json(value)),
        ),
        topics=await each(
            metadata_keys.TOPICS,
            lambda key, value: (
                metadata_keys.topic_of(key),
                (str(value["name"]), int(value["partitions"])),
            ),
        ),
        tombstones=await each(
            metadata_keys.TOMBSTONES,
            lambda key, value: (metadata_keys.topic_of(key), str(value["name"])),
        ),
        unknown=unknown,
    )
