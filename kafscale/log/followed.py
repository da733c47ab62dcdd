"""
The segments of a partition that another broker leads.
"""

from __future__ import annotations

from kafscale.errors import KafkaError, NotLeaderOrFollower
from kafscale.log.record import PartitionRecord
from kafscale.log.segments import Segments


class FollowedSegments(Segments):
    """
    As the partition's record tells of them.
    """

    def follow(self, record: PartitionRecord) -> None:
        """
        The record has changed.
        """
        self._first = record.first_segment
        self._newest = record.last_segment
        self.makers = record.makers
        if self._bases is not None and self._first is not None:
            # What the leader has made since, the chain tells.
            self._bases = [base for base in self._bases if base >= self._first]
            self._bases = self._bases or [self._first]

    def _gone(self, base: int) -> KafkaError:
        # What is known here may be old: the leader knows whether it was deleted.
        return NotLeaderOrFollower("a segment is not there (any more)")
