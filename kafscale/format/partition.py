"""
The record of a partition in the metadata store: its leader, and the state of
its log.

Every commit on a record compares its revision (rule 11). So if two brokers read
the same state and change it, one of the commits fails.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import index
from typing import Any, SupportsIndex
from uuid import UUID

import attrs

from kafscale.format.record import StoredEntry, read_record

TopicIdPartition = tuple[UUID, int]
"""A partition by its topic's id and its index; Kafka's C{TopicIdPartition}."""

KeyEpochs = tuple[tuple[int, int], ...]
"""Pairs (base offset, leader epoch): the keys of segments from this base offset
on, up to that of the next pair, contain this leader epoch; none if it is -1, and
before the first pair."""


def key_epoch_of(key_epochs: Sequence[tuple[int, int]], base: int) -> int:
    """
    Return the leader epoch in the key of the segment at C{base}; -1 for none.
    """
    at = bisect_right(key_epochs, base, key=lambda pair: pair[0])
    return key_epochs[at - 1][1] if at else -1


@attrs.frozen
class Chapter:
    """
    A segment that is stored in a volume (`kafscale.format.volume`).

    @ivar base: The offset of its first record.
    @ivar incarnation: The incarnation that wrote the volume.
    @ivar number: The number of the volume in that incarnation.
    @ivar position: The first byte of the segment in the volume.
    @ivar size: Length of the segment in bytes.
    """

    base: int
    incarnation: int
    number: int
    position: int
    size: int


def _index_or_none(value: SupportsIndex | None) -> int | None:
    return None if value is None else index(value)


@attrs.frozen
class PartitionRecord:
    """
    The entry under C{partitions/}.

    @ivar leader: Broker id of the leader; -1 if the partition was never led, or
        was released.
    @ivar incarnation: The leader's incarnation; 0 if there is no leader.
    @ivar epoch: The leader epoch; each claim raises it.
    @ivar rolled_to: Offset after the last record that is in a segment.
    @ivar log_start: Offset of the first record that is not deleted.
    @ivar first_segment: Base offset of the segment that holds C{log_start},
        where the listing of segments begins; None before the first.
    @ivar last_segment: Base offset of the newest segment; None before it.
    @ivar stored_bytes: Size of all segments from first to last.
    @ivar epochs: History of leader epochs: (epoch, start offset) pairs.
    @ivar journals: The (incarnation, epoch) pairs whose journals may still
        hold records that are not rolled (rule 13).
    @ivar key_epochs: The leader epochs in the keys of segments that are objects
        of their own. Stored as C{makers}.
    @ivar chapters: The last segments, as far as they are in volumes; in order.
    """

    leader: int = attrs.field(default=-1, converter=index)
    incarnation: int = attrs.field(default=0, converter=index)
    epoch: int = attrs.field(default=-1, converter=index)
    rolled_to: int = attrs.field(default=0, converter=index)
    log_start: int = attrs.field(default=0, converter=index)
    first_segment: int | None = attrs.field(default=None, converter=_index_or_none)
    last_segment: int | None = attrs.field(default=None, converter=_index_or_none)
    stored_bytes: int = attrs.field(default=0, converter=index)
    epochs: tuple[tuple[int, int], ...] = ()
    journals: tuple[tuple[int, int], ...] = ()
    key_epochs: KeyEpochs = ()
    chapters: tuple[Chapter, ...] = ()

    def key_epoch(self, base: int) -> int:
        """
        See L{key_epoch_of}.
        """
        return key_epoch_of(self.key_epochs, base)

    @property
    def next_base(self) -> int:
        """
        The first offset of the next segment that is an object of its own. That
        segment includes the records of the chapters.
        """
        return self.chapters[0].base if self.chapters else self.rolled_to

    def with_key_epoch(self, key_epoch: int) -> KeyEpochs:
        """
        Return the key epochs after the next segment, at L{next_base}, whose key
        contains C{key_epoch}.
        """
        if key_epoch == self.key_epoch(self.next_base):
            return self.key_epochs
        return (*self.key_epochs, (self.next_base, key_epoch))

    def key_epochs_from(self, base: int | None) -> KeyEpochs:
        """
        Return the key epochs of the segments from C{base} on; all if it is
        None.
        """
        if base is None:
            return self.key_epochs
        at = bisect_right(self.key_epochs, base, key=lambda pair: pair[0])
        return self.key_epochs[max(0, at - 1) :]

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        value = {_STORED.get(name, name): held for name, held in attrs.asdict(self).items()}
        for name in _PAIRS:
            value[name] = [list(pair) for pair in value[name]]
        value["chapters"] = [list(attrs.astuple(each)) for each in self.chapters]
        for name in _SELDOM:
            if not value[name]:
                del value[name]
        return value

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> PartitionRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """
        return read_record("partitions", entry, cls.from_json)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PartitionRecord:
        """
        From the value of an entry of level 0.
        """
        if missing := _ALWAYS - value.keys():
            raise ValueError(f"{sorted(missing)} are missing")
        whole = {**dict.fromkeys(_SELDOM, ()), **value}
        pairs = {name: tuple((a, b) for a, b in whole[name]) for name in _PAIRS}
        chapters = tuple(Chapter(*each) for each in whole["chapters"])
        fields = {**whole, **pairs, "chapters": chapters}
        return cls(**{_FIELDS.get(name, name): held for name, held in fields.items()})


def leadership_of(entry: StoredEntry) -> tuple[int, int, int]:
    """
    Broker id, leader epoch and incarnation of the leader that a partition's
    record names. The rest of the record is not looked at: it changes often.

    @raise CorruptRecord: it is no such record.
    @raise NewerFormat: a newer version has written it.
    """
    return read_record("partitions", entry, _leadership)


def _leadership(value: dict[str, Any]) -> tuple[int, int, int]:
    return value["leader"], value["epoch"], value["incarnation"]


_STORED = {"key_epochs": "makers"}
"""The names of fields in the metadata store, where they differ."""

_FIELDS = {stored: name for name, stored in _STORED.items()}

_PAIRS = ("epochs", "journals", "makers")
_SELDOM = ("makers", "chapters")
"""What only some records have."""

_ALWAYS = {
    _STORED.get(field.name, field.name) for field in attrs.fields(PartitionRecord)
} - set(_SELDOM)
