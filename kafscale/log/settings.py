"""
The bounds of the log. `kafscale.config` describes the settings behind them.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class LogSettings:
    """
    @ivar namespace: The prefix of all object keys.
    @ivar fencing: How incarnations are stopped:
        L{kafscale.format.incarnation.METADATA} if a create may replace an
        object.
    @ivar slot_bytes: Bytes of a full slot.
    @ivar slots_in_flight: How many slots may be on their way to the store.
    @ivar linger: See L{kafscale.log.journal.linger.Linger.longest}; in seconds.
    @ivar rolls: How many rolls may be under way at once.
    @ivar segment_bytes: Bytes at which a partition is rolled.
    @ivar segment_seconds: Age at which records are rolled at the latest.
    @ivar unrolled_bytes: Bytes of records in memory above which the largest
        partitions are rolled.
    @ivar journal_slots: How many slots recovery may have to read.
    @ivar bundled: How many neighbouring slots are stored again as one bundle;
        0 for no bundles.
    @ivar chapters: How many small segments of a partition may be chapters of
        volumes; 0 if each segment is an object of its own.
    @ivar orphan_seconds: Interval between two searches for objects that no
        record refers to; 0 for no search.
    @ivar readahead: How many runs of a segment are read ahead of a reader.
    """

    namespace: str = "default"
    fencing: str = "create"
    slot_bytes: int = 8 << 20
    slots_in_flight: int = 4
    linger: float = 0.0
    rolls: int = 2
    segment_bytes: int = 64 << 20
    segment_seconds: float = 7200.0
    unrolled_bytes: int = 96 << 20
    journal_slots: int = 4096
    bundled: int = 0
    chapters: int = 0
    orphan_seconds: float = 3600.0
    readahead: int = 1

    @property
    def unsettled_bytes(self) -> int:
        """
        Bytes that may be appended and not durable yet. Where slots linger, two
        more of them fill while the others are under way.
        """
        slots = self.slots_in_flight + (2 if self.linger else 0)
        return self.slot_bytes * slots

    @property
    def held_bytes(self) -> int:
        """
        Bytes of records that may be in memory before producers must wait. Where
        the store takes a while, many segments are being written meanwhile.
        """
        under_way = self.unrolled_bytes // 4 if self.linger else 0
        return self.unrolled_bytes + under_way + self.unsettled_bytes
