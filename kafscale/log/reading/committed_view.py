"""
A partition as consumers with C{isolation.level=read_committed} see it: what is the same for
them as for all others. How they read is in the subclasses.
"""

from __future__ import annotations

from collections.abc import Awaitable

from kafscale.interfaces import IReadable, Watcher


class CommittedView:
    """
    Tells all of a partition but its records.
    """

    def __init__(self, partition: IReadable) -> None:
        """
        @param partition: The partition itself.
        """
        self._whole = partition
        self.topic_id = partition.topic_id
        self.index = partition.index

    @property
    def committed(self) -> CommittedView:
        """
        See L{IReadable}.
        """
        return self

    @property
    def leader_epoch(self) -> int:
        """
        See L{IReadable}.
        """
        epoch: int = self._whole.leader_epoch
        return epoch

    @property
    def log_start(self) -> int:
        """
        See L{IReadable}.
        """
        start: int = self._whole.log_start
        return start

    @property
    def high_watermark(self) -> int:
        """
        See L{IReadable}.
        """
        end: int = self._whole.high_watermark
        return end

    @property
    def last_stable_offset(self) -> int:
        """
        See L{IReadable}.
        """
        stable: int = self._whole.last_stable_offset
        return stable

    @property
    def next_offset(self) -> int:
        """
        See L{IReadable}.
        """
        end: int = self._whole.next_offset
        return end

    @property
    def dropped(self) -> bool:
        """
        See L{IReadable}.
        """
        dropped: bool = self._whole.dropped
        return dropped

    def watch(self, watcher: Watcher) -> None:
        """
        See L{IReadable.watch}.
        """
        self._whole.watch(watcher)

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """
        See L{IReadable.end_of_epoch}.
        """
        return self._whole.end_of_epoch(epoch)

    def confirm(self) -> Awaitable[None]:
        """
        See L{IReadable.confirm}.
        """
        return self._whole.confirm()
