"""
The history of a partition's leader epochs.

Each new leader of a partition raises the leader epoch. The history has the
first offset of each epoch. With it consumers detect that records which they
have read were replaced (KIP-101, KIP-279, KIP-320). The rules are those of
Kafka's C{LeaderEpochFileCache}.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

UNKNOWN = -1
"""In place of an epoch or an offset that is not known."""


class Epochs:
    """
    A history of leader epochs. It is immutable; L{assign} and L{truncate}
    return new ones.

    @ivar entries: Pairs (epoch, offset of its first record); both increase.
    """

    __slots__ = ("entries",)

    def __init__(self, entries: Iterable[Sequence[int]] = ()) -> None:
        """
        @param entries: As L{entries}; the pairs may be lists, as in JSON.
        """
        self.entries: tuple[tuple[int, int], ...] = tuple(
            (epoch, start) for epoch, start in entries
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Epochs) and other.entries == self.entries

    def __hash__(self) -> int:
        return hash(self.entries)

    def __repr__(self) -> str:
        return f"Epochs({list(self.entries)})"

    def to_json(self) -> list[list[int]]:
        """
        Return the entries as lists.
        """
        return [list(entry) for entry in self.entries]

    def assign(self, epoch: int, start: int) -> Epochs:
        """
        Return the history in which C{epoch} begins at the offset C{start}.
        Epochs that are not older, or that wrote nothing before that offset, are
        left out.
        """
        if (epoch, start) in self.entries:
            return self
        kept = (entry for entry in self.entries if entry[0] < epoch and entry[1] < start)
        return Epochs((*kept, (epoch, start)))

    def truncate(self, log_start: int) -> Epochs:
        """
        Return the history without the records before C{log_start}: the epoch of
        the record at that offset begins there.
        """
        first = bisect_right(self.entries, log_start, key=_start) - 1
        if first < 0:
            return self
        return Epochs(((self.entries[first][0], log_start), *self.entries[first + 1 :]))

    def at(self, offset: int) -> int:
        """
        Return the epoch of the record at C{offset}, or of the next record to be
        written there; -1 if it is not known.
        """
        index = bisect_right(self.entries, offset, key=_start) - 1
        return self.entries[index][0] if index >= 0 else UNKNOWN

    def end_of(self, epoch: int, leader_epoch: int, end: int) -> tuple[int, int]:
        """
        Return the largest epoch that is at or below C{epoch}, and the offset
        where it ends: the first one of the next epoch (OffsetForLeaderEpoch).

        An epoch that is older than all known ones ends where they begin. An
        epoch that is newer than the leader's is not known: (-1, -1).

        @param leader_epoch: The epoch of the present leader; it is part of the
            history even if it has written nothing.
        @param end: The offset where the leader's epoch ends at present.
        """
        latest = self.entries[-1][0] if self.entries else UNKNOWN
        if epoch < 0 or epoch > max(leader_epoch, latest):
            return UNKNOWN, UNKNOWN
        if epoch == leader_epoch:
            return epoch, end
        index = bisect_right(self.entries, epoch, key=_epoch)
        following = self.entries[index][1] if index < len(self.entries) else end
        return (self.entries[index - 1][0] if index else epoch), following


def _epoch(entry: tuple[int, int]) -> int:
    return entry[0]


def _start(entry: tuple[int, int]) -> int:
    return entry[1]
