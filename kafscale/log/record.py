"""
A partition's record in the metadata store: who leads it, and where its log is.

Every commit on it compares the record's revision (log-rules, 11), so of two
writers that read the same state one loses, whatever the clocks say.
"""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class PartitionRecord:
    """
    @ivar leader: Broker id of the leader, -1 if it was never led.
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
        hold records that are not rolled (log-rules, 13).
    """

    leader: int = -1
    incarnation: int = 0
    epoch: int = -1
    rolled_to: int = 0
    log_start: int = 0
    first_segment: int | None = None
    last_segment: int | None = None
    stored_bytes: int = 0
    epochs: tuple[tuple[int, int], ...] = ()
    journals: tuple[tuple[int, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        value = attrs.asdict(self)
        value["epochs"] = [list(pair) for pair in self.epochs]
        value["journals"] = [list(pair) for pair in self.journals]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PartitionRecord:
        """
        From the metadata store.
        """
        pairs = {name: tuple((a, b) for a, b in value[name]) for name in ("epochs", "journals")}
        return cls(**{**value, **pairs})
