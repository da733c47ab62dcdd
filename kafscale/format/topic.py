"""
The records of a topic: under its id, under its name, and after its deletion.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any
from uuid import UUID

import attrs

from kafscale.format.record import StoredEntry, read_record


def _copy(configs: Mapping[str, str]) -> dict[str, str]:
    return dict(configs)


@attrs.frozen
class TopicRecord:
    """
    The entry under C{topics/}, whose key has the topic's id.

    @ivar partitions: How many it has.
    @ivar configs: Its configuration's overrides, name to value.
    @ivar created_ms: When it was created, in ms since 1970.
    """

    name: str
    partitions: int = attrs.field(converter=index)
    configs: Mapping[str, str] = attrs.field(converter=_copy)
    created_ms: int = attrs.field(converter=index)

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return attrs.asdict(self)

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> TopicRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """
        return read_record("topics", entry, lambda value: cls(**value))


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
