"""
The settings of the group coordinator, in seconds.
"""

from __future__ import annotations

import attrs

from kafscale.config import Settings

NEW_MEMBER_SECONDS = 300.0
"""How long a member that has not been in any generation may wait for its first:
it sends no heartbeats, so it may be gone (KAFKA-7610)."""

LATE_SECONDS = 1.0
"""A timeout that fires later than this means that the broker was stopped or
busy, and not that a member was silent."""

CHECK_SECONDS = 600.0
"""How often expired offsets and groups are looked for
(C{offsets.retention.check.interval.ms})."""


@attrs.frozen
class GroupSettings:
    """
    Bounds and waits of groups. Times are in seconds.

    @ivar initial_delay: How long the first round waits for more members
        (C{group.initial.rebalance.delay.ms}).
    @ivar min_session: The shortest session timeout that a member may have.
    @ivar max_session: The longest.
    @ivar max_size: How many members a group may have.
    @ivar retention: How long committed offsets are kept.
    """

    initial_delay: float = 3.0
    min_session: float = 6.0
    max_session: float = 1800.0
    max_size: int = 2**31 - 1
    retention: float = 7 * 86400.0

    @classmethod
    def of(cls, settings: Settings) -> GroupSettings:
        """
        From the settings of the broker.
        """
        return cls(
            initial_delay=settings.group_initial_rebalance_delay_ms / 1000,
            min_session=settings.group_min_session_timeout_ms / 1000,
            max_session=settings.group_max_session_timeout_ms / 1000,
            max_size=settings.group_max_size,
            retention=settings.offsets_retention_minutes * 60.0,
        )
