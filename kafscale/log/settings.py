"""
The bounds of the log; what each means to a user is told in `kafscale.config`.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class LogSettings:
    """
    @ivar fencing: L{kafscale.format.incarnation.METADATA} if creates may replace.
    @ivar linger: See L{kafscale.log.journal.linger.Linger.longest}.
    @ivar rolls: How many segments are made at the same time.
    @ivar segment_seconds: The age at which records are rolled at the latest.
    @ivar unrolled_bytes: How much may be in memory and in no segment.
    @ivar journal_slots: How many slots recovery may have to read.
    @ivar bundled: How many small slots are stored once more together; 0: none.
    @ivar chapters: How many small segments of a partition may be in volumes
        with those of others; 0: each segment is an object of its own.
    @ivar orphan_seconds: How long something is unneeded before it is deleted,
        if whoever let go of it has not; 0: for ever.
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
        How much may be appended and not be durable. Where slots linger, others
        fill while so many are under way.
        """
        slots = self.slots_in_flight + (2 if self.linger else 0)
        return self.slot_bytes * slots

    @property
    def held_bytes(self) -> int:
        """
        How much may be in memory and in no segment before producers have to
        wait. Where a store takes a while, many segments are made meanwhile.
        """
        under_way = self.unrolled_bytes // 4 if self.linger else 0
        return self.unrolled_bytes + under_way + self.unsettled_bytes
