"""
A group as its coordinator has it.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kafscale.format.partition import TopicIdPartition
from kafscale.group.group import Group
from kafscale.group.offsets import Offsets
from kafscale.group.shard import Shard
from kafscale.interfaces import Delete


@attrs.frozen
class Kept:
    """
    A group, and its commits.
    """

    group: Group
    shard: Shard
    offsets: Offsets

    def deletions(self, gone: Iterable[TopicIdPartition]) -> list[Delete]:
        """
        What removes the commits for these partitions from the store.
        """
        return [Delete(self.offsets.key(where)) for where in gone]
