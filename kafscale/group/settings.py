"""
What a broker's settings say of groups, in seconds.
"""

from __future__ import annotations

import attrs

from kafscale.config import Settings

NEW_MEMBER_SECONDS = 300.0
"""How long one who has never been in the group may wait for its first round:
nobody can tell whether it is still there (KAFKA-7610)."""

LATE_SECONDS = 1.0
"""How late a time-out may come and still be the members' fault."""

CHECK_SECONDS = 600.0
"""How often commits and groups that are to be forgotten are looked for
(Kafka's ``offsets.retention.check.interval.ms``)."""


@attrs.frozen
class GroupSettings:
    """
    Bounds and waits.

    @ivar initial_delay: How long the first round waits for more members.
    @ivar min_session: The shortest session time-out.
    @ivar max_session: The longest.
    @ivar max_size: How many members a group may have.
    @ivar retention: How long commits are kept.
    """

    initial_delay: float = 3.0
    min_session: float = 6.0
    max_session: float = 1800.0
    max_size: int = 2**31 - 1
    retention: float = 7 * 86400.0

    @classmethod
    def of(cls, settings: Settings) -> GroupSettings:
        """
        What the broker's settings say.
        """
        return cls(
            initial_delay=settings.group_initial_rebalance_delay_ms / 1000,
            min_session=settings.group_min_session_timeout_ms / 1000,
            max_session=settings.group_max_session_timeout_ms / 1000,
            max_size=settings.group_max_size,
            retention=settings.offsets_retention_minutes * 60.0,
        )
