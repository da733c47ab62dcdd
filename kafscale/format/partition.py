"""
A partition's record in the metadata store: who leads it, and where its log is.

Every commit on it compares the record's revision (rule 11), so of two
writers that read the same state one loses, whatever the clocks say.
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

Makers = tuple[tuple[int, int], ...]
"""(base offset, leader epoch): segments from this base on have that epoch in
their keys, up to the next pair's; none if it is -1, and before the first pair."""


def maker_of(makers: Sequence[tuple[int, int]], base: int) -> int:
    """
    The leader epoch in the key of the segment at C{base}; -1: there is none.
    """
    at = bisect_right(makers, base, key=lambda pair: pair[0])
    return makers[at - 1][1] if at else -1


@attrs.frozen
class Chapter:
    """
    A segment that is in a volume with others (see `kafscale.log.rolling.volumes`).

    @ivar base: Its base offset.
    @ivar incarnation: Whose volume it is in; C{number} is the volume's.
    @ivar position: Where it begins there; C{size} is its length in bytes.
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
    @ivar leader: Broker id of the leader, -1 if it was never led, or was released.
    @ivar incarnation: The leader's incarnation, 0 if none.
    @ivar epoch: Leader epoch; grows with every claim.
    @ivar rolled_to: Offset after the last record that is in a segment.
    @ivar log_start: Offset of the first record that is not deleted.
    @ivar first_segment: Base offset of the segment that holds C{log_start},
        where the listing of segments begins; None before the first.
    @ivar last_segment: Base offset of the newest segment; None before it.
    @ivar stored_bytes: Size of all segments from first to last.
    @ivar epochs: History of leader epochs: (epoch, start offset) pairs.
    @ivar journals: The (incarnation, epoch) pairs whose journals may still
        hold records that are not rolled (rule 13).
    @ivar makers: Which keys segments have that are objects of their own.
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
    makers: Makers = ()
    chapters: tuple[Chapter, ...] = ()

    def maker(self, base: int) -> int:
        """
        See L{maker_of}.
        """
        return maker_of(self.makers, base)

    @property
    def next_base(self) -> int:
        """
        Where the next segment begins that is an object of its own: it takes
        the chapters in.
        """
        return self.chapters[0].base if self.chapters else self.rolled_to

    def made(self, maker: int) -> Makers:
        """
        The makers when the next segment, at L{next_base}, is of this one.
        """
        if maker == self.maker(self.next_base):
            return self.makers
        return (*self.makers, (self.next_base, maker))

    def makers_from(self, base: int | None) -> Makers:
        """
        The makers of segments from C{base} on; all if that is None.
        """
        if base is None:
            return self.makers
        at = bisect_right(self.makers, base, key=lambda pair: pair[0])
        return self.makers[max(0, at - 1) :]

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        value = attrs.asdict(self)
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
        return cls(**{**whole, **pairs, "chapters": chapters})


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


_PAIRS = ("epochs", "journals", "makers")
_SELDOM = ("makers", "chapters")
"""What only some records have."""

_ALWAYS = {field.name for field in attrs.fields(PartitionRecord)} - set(_SELDOM)
