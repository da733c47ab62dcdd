"""
The segments of a partition that another broker leads.
"""

from __future__ import annotations

from kafscale.errors import KafkaError, NotLeaderOrFollower
from kafscale.log.reading.segments import Segments


class FollowedSegments(Segments):
    """
    As the partition's record tells of them.
    """

    def _gone(self, base: int) -> KafkaError:
        # What is known here may be old: the leader knows whether it was deleted.
        return NotLeaderOrFollower("a segment is not there (any more)")
