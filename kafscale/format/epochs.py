"""
Which leader wrote what.

Each time a partition gets a new leader, the leader epoch grows. The history
says from which offset on each epoch wrote; with it a consumer finds out
whether what it has read is still there (KIP-101, KIP-279, KIP-320). The rules
are those of Kafka's C{LeaderEpochFileCache}.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

UNKNOWN = -1
"""Where an epoch or an offset is not known."""


class Epochs:
    """
    A history of leader epochs. It does not change; L{assign} and L{truncate}
    return others.

    @ivar entries: Pairs (epoch, offset of its first record); both grow.
    """

    __slots__ = ("entries",)

    def __init__(self, entries: Iterable[Sequence[int]] = ()) -> None:
        """
        @param entries: As L{entries}; lists will do, as they come from JSON.
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
        The entries as lists.
        """
        return [list(entry) for entry in self.entries]

    def assign(self, epoch: int, start: int) -> Epochs:
        """
        C{epoch} writes from the offset C{start} on. Epochs that wrote nothing
        before it, and those that are not older, are no part of the history.
        """
        if (epoch, start) in self.entries:
            return self
        kept = (entry for entry in self.entries if entry[0] < epoch and entry[1] < start)
        return Epochs((*kept, (epoch, start)))

    def truncate(self, log_start: int) -> Epochs:
        """
        Records before C{log_start} are gone: the epoch that wrote the record
        there begins with it now.
        """
        first = bisect_right(self.entries, log_start, key=_start) - 1
        if first < 0:
            return self
        return Epochs(((self.entries[first][0], log_start), *self.entries[first + 1 :]))

    def at(self, offset: int) -> int:
        """
        The epoch in which the record at C{offset} was or will be written; -1
        if it is not known.
        """
        index = bisect_right(self.entries, offset, key=_start) - 1
        return self.entries[index][0] if index >= 0 else UNKNOWN

    def end_of(self, epoch: int, leader_epoch: int, end: int) -> tuple[int, int]:
        """
        Where C{epoch} ends: the largest epoch at or below it, and the offset
        where the next one begins.

        An epoch older than all that are known ends where they begin. One that
        is newer than the leader's is not known: (-1, -1).

        @param leader_epoch: The present leader's; it is part of the history
            even if it has written nothing.
        @param end: Where that one ends at present.
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
