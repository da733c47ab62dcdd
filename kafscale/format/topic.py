"""
The records of a topic: under its id, under its name, and after its deletion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any
from uuid import UUID

import attrs

from kafscale.format.record import StoredEntry, read_record

REPLICAS_LEVEL = 1
"""The level of topics at which replicas may be assigned by hand."""


@attrs.frozen
class Reassignment:
    """
    A change of the replicas of a partition, until its leader has moved.

    @ivar previous: The replicas assigned before; empty if there were none.
    @ivar epoch: The partition's leader epoch when the change was made. In a later
        one the partition has been led according to it.
    """

    previous: tuple[int, ...]
    epoch: int = attrs.field(converter=index)


def _copy(configs: Mapping[str, str]) -> dict[str, str]:
    return dict(configs)


def _lists(replicas: Mapping[int, Sequence[int]]) -> dict[int, tuple[int, ...]]:
    return {part: tuple(map(index, brokers)) for part, brokers in sorted(replicas.items())}


@attrs.frozen
class TopicRecord:
    """
    The entry under C{topics/}, whose key has the topic's id.

    @ivar partitions: How many it has.
    @ivar configs: Its configuration's overrides, name to value.
    @ivar created_ms: When it was created, in ms since 1970.
    @ivar replicas: The broker ids assigned to partitions by hand, the preferred
        leader first, by the index of the partition. With any the record is of
        L{REPLICAS_LEVEL}.
    @ivar reassignments: The last changes of these, by the index of the partition.
    """

    name: str
    partitions: int = attrs.field(converter=index)
    configs: Mapping[str, str] = attrs.field(converter=_copy)
    created_ms: int = attrs.field(converter=index)
    replicas: Mapping[int, Sequence[int]] = attrs.field(factory=dict, converter=_lists)
    reassignments: Mapping[int, Reassignment] = attrs.field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        value = attrs.asdict(self, recurse=False)
        del value["replicas"], value["reassignments"]
        if self.replicas:
            value["level"] = REPLICAS_LEVEL
            value["replicas"] = [
                [part, list(brokers)] for part, brokers in self.replicas.items()
            ]
        if self.reassignments:
            value["reassignments"] = [
                [part, list(each.previous), each.epoch]
                for part, each in sorted(self.reassignments.items())
            ]
        return value

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> TopicRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """
        return read_record("topics", entry, cls._from_json)

    @classmethod
    def _from_json(cls, value: Mapping[str, Any]) -> TopicRecord:
        if value.get("level", 0) < REPLICAS_LEVEL:
            return cls(**value)
        fields = {name: held for name, held in value.items() if name != "level"}
        fields["replicas"] = dict(fields["replicas"])
        fields["reassignments"] = {
            part: Reassignment(tuple(map(index, previous)), epoch)
            for part, previous, epoch in fields.get("reassignments", ())
        }
        return cls(**fields)


@attrs.frozen
class NameRecord:
    """
    The entry under C{names/}: which topic has the name.
    """

    topic_id: UUID

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return {"topic_id": str(self.topic_id)}

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> NameRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(topic_id: str) -> NameRecord:
            return cls(UUID(topic_id))

        return read_record("names", entry, lambda value: read(**value))


@attrs.frozen
class TombstoneRecord:
    """
    The entry under C{tombstones/}, from a topic's deletion until its data is
    gone.

    @ivar partitions: How many the topic had.
    @ivar deleted_ms: When it was deleted, in ms since 1970.
    """

    name: str
    partitions: int = attrs.field(converter=index)
    deleted_ms: int = attrs.field(converter=index)

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return attrs.asdict(self)

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> TombstoneRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """
        return read_record("tombstones", entry, lambda value: cls(**value))
