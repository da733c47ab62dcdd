"""
One member of a group, and the answers that it waits for.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from kafscale.interfaces import Joined, JoinedMember, Joining, Synced

Protocols = tuple[tuple[str, bytes], ...]


@attrs.define(eq=False)
class Member:
    """
    A member. It waits for at most one join and one sync, never for both.

    @ivar session: Seconds for which it may be silent.
    @ivar rebalance: Seconds that it may take to join again.
    @ivar protocols: Name and metadata, the most wanted first.
    @ivar is_new: It has not been in any generation yet.
    @ivar expiry: When it will have been silent for too long; None while that
        does not count.
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session: float
    rebalance: float
    protocols: Protocols
    assignment: bytes = b""
    is_new: bool = False
    expiry: IDelayedCall | None = None
    joining: Deferred[Joined] | None = None
    syncing: Deferred[Synced] | None = None

    @classmethod
    def joins(cls, joining: Joining, member_id: str) -> Member:
        """
        One who has not been in the group before.
        """
        return cls(
            member_id,
            joining.instance_id,
            joining.client_id,
            joining.client_host,
            joining.session_timeout_ms / 1000,
            rebalance_seconds(joining),
            tuple(joining.protocols),
            is_new=True,
        )

    def update(self, joining: Joining) -> None:
        """
        It joins again, and may have changed.
        """
        self.client_id = joining.client_id
        self.client_host = joining.client_host
        self.session = joining.session_timeout_ms / 1000
        self.rebalance = rebalance_seconds(joining)
        self.protocols = tuple(joining.protocols)

    def names(self) -> set[str]:
        """
        The protocols that it can use.
        """
        return {name for name, _ in self.protocols}

    def metadata(self, protocol: str | None) -> bytes:
        """
        What it says of itself under a protocol.
        """
        return next((data for name, data in self.protocols if name == protocol), b"")

    def as_joined(self, protocol: str | None) -> JoinedMember:
        """
        How the leader is told of it.
        """
        return JoinedMember(self.member_id, self.instance_id, self.metadata(protocol))

    def wants(self, candidates: set[str]) -> str:
        """
        Which of these protocols it votes for.
        """
        return next(name for name, _ in self.protocols if name in candidates)

    def matches(self, protocols: Sequence[tuple[str, bytes]]) -> bool:
        """
        Whether it said the same of itself before.
        """
        return self.protocols == tuple(protocols)


def rebalance_seconds(joining: Joining) -> float:
    """
    Before version 1 of JoinGroup there was one time-out for both.
    """
    milliseconds = joining.rebalance_timeout_ms
    return (joining.session_timeout_ms if milliseconds < 0 else milliseconds) / 1000
