"""
What a partition needs of the log that it is part of.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kafscale.log.partition.partition import Partition


class Owner(Protocol):
    """
    The log, as its partitions know it.
    """

    def now_ms(self) -> int:
        """
        The time, in ms since 1970.
        """

    def grew(self, size: int) -> None:
        """
        So many bytes more are in memory (or less, below 0).
        """

    def confirm(self, partition: Partition) -> Awaitable[None]:
        """
        Raise NotLeaderOrFollower if somebody else leads it.
        """

    def move_start(self, partition: Partition, offset: int) -> Awaitable[None]:
        """
        Commit a new log start; segments before it go.
        """
