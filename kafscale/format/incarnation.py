"""
The records of an incarnation: of its journal, and of its end.

An incarnation is one start of a broker; its journal is its own
(docs/architecture.md).
"""

from __future__ import annotations

import sys
from operator import index
from typing import Any

import attrs

from kafscale.format.record import StoredEntry, read_record

CREATE = "create"
"""Fencing by seals: a store that creates and never replaces refuses what comes late."""

METADATA = "metadata"
"""Fencing by marks in the metadata store, where a PUT may replace an object."""

GUARDED_LEVEL = 1
"""The level of records of incarnations that do nothing without them (rule 27)."""


@attrs.frozen
class IncarnationRecord:
    """
    The entry under C{incarnations/}. The incarnation itself puts it when it
    begins, and moves the trim mark; at its end a successor does.

    @ivar broker: The id of the broker.
    @ivar trim: The number of the lowest slot that may be needed (rule 9).
    @ivar wound_up: Whether a successor has deleted the journal's slots.
    @ivar fencing: What stops the incarnation, L{CREATE} or L{METADATA}
        (`kafscale.log.journal.fencing`).
    @ivar guarded: Whether every commit of the incarnation, and with marks every
        acknowledgement, demands that this record exists, so that it may be
        deleted at last (rule 27). Not so in versions that do not know
        L{GUARDED_LEVEL}.
    """

    broker: int = attrs.field(converter=index)
    trim: int = attrs.field(default=0, converter=index)
    wound_up: bool = False
    fencing: str = CREATE
    guarded: bool = False

    @property
    def is_marked(self) -> bool:
        """
        Whether a mark in the metadata store stops it, and no seal object.
        """
        return self.fencing == METADATA

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store: C{fencing} is absent if it is
        L{CREATE}, and C{wound_up} if it is false.
        """
        value: dict[str, Any] = {"broker": self.broker, "trim": self.trim}
        if self.guarded:
            value["level"] = GUARDED_LEVEL
        if self.fencing != CREATE:
            value["fencing"] = self.fencing
        if self.wound_up:
            value["wound_up"] = True
        return value

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> IncarnationRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(level: int = 0, **fields: Any) -> IncarnationRecord:
            return cls(**fields, guarded=index(level) >= GUARDED_LEVEL)

        return read_record("incarnations", entry, lambda value: read(**value))


def lowest_incarnation_of(entry: StoredEntry) -> int:
    """
    The number in the entry C{lowest-incarnation}, which only rises: an
    incarnation below it that has no record had one, or will never get one.
    Nothing that belongs to it is needed but its seals (rule 27).

    @raise CorruptRecord: it is no number.
    """
    return read_record("lowest-incarnation", entry, index)


@attrs.frozen
class SealRecord:
    """
    The entry under C{seals/}: absent while the incarnation may write, and again
    when its record was deleted (rule 27).

    @ivar by: The incarnation that recorded the end.
    @ivar sealed_at: The number of the slot after the last one that counts. None
        in a mark, which stops an incarnation with the fencing L{METADATA}
        before its end is known (rule 5).
    """

    by: int = attrs.field(converter=index)
    sealed_at: int | None = attrs.field(
        default=None, converter=attrs.converters.optional(index)
    )

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store: a mark has no C{sealed_at}.
        """
        if self.sealed_at is None:
            return {"by": self.by}
        return {"sealed_at": self.sealed_at, "by": self.by}

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> SealRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """
        return read_record("seals", entry, lambda value: cls(**value))


WINDOW = 256
"""A slot is not stored before all slots this far below it are acknowledged. So a
slot that is there shows that they were."""


@attrs.frozen
class JournalRecord:
    """
    The entry under C{journals/}. The incarnation puts it when its first slots
    are acknowledged, and raises it now and then. An incarnation that has this
    entry keeps to the L{WINDOW}.

    @ivar stored: A number. All slots below it were acknowledged (rule 26).
    """

    stored: int = attrs.field(converter=index)

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return {"stored": self.stored}

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> JournalRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """
        return read_record("journals", entry, lambda value: cls(**value))


NO_SLOTS = range(sys.maxsize, sys.maxsize)
"""The slots that may be needed of an incarnation whose record is gone."""


def needed_slots(record: IncarnationRecord, seal: SealRecord | None) -> range:
    """
    The numbers of the slots of a journal that may be needed: from the trim mark
    (rule 9) to the recorded end (rule 10), and the seal object at the end, if
    it is what stops the incarnation.

    @param seal: None if there is none.
    """
    if seal is None or seal.sealed_at is None:
        return range(record.trim, sys.maxsize)
    return range(record.trim, seal.sealed_at + (0 if record.is_marked else 1))
