"""
The members of a group, their common protocols and their rebalance timeout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from kafscale.errors import FencedInstanceId, UnknownMemberId
from kafscale.interfaces import (
    JoinedMember,
    JoinParameters,
    JoinResult,
    MemberDescription,
    SyncResult,
)


@attrs.define(eq=False)
class Member:
    """
    One member. It waits for at most one JoinGroup and one SyncGroup, and never
    for both.

    @ivar instance_id: Set for a static member (KIP-345).
    @ivar session_timeout: How long it may send nothing, in seconds.
    @ivar rebalance_timeout: How long it may take to join again, in seconds.
    @ivar protocols: Pairs of name and metadata, the preferred one first.
    @ivar assignment: What the leader has assigned to it, as the leader wrote it.
    @ivar is_new: Whether it has not been in any generation yet.
    @ivar expiry: Its session timeout; None while it has none.
    @ivar awaiting_join: Its JoinGroup request, while that waits for the round;
        or, of a static member that has restarted, for the store.
    @ivar awaiting_sync: Its SyncGroup request, while that waits for the leader.
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout: float
    rebalance_timeout: float
    protocols: tuple[tuple[str, bytes], ...]
    assignment: bytes = b""
    is_new: bool = False
    expiry: IDelayedCall | None = None
    awaiting_join: Deferred[JoinResult] | None = None
    awaiting_sync: Deferred[SyncResult] | None = None

    @classmethod
    def create(cls, parameters: JoinParameters, member_id: str) -> Member:
        """
        A member that has not been in the group before.
        """
        return cls(
            member_id,
            parameters.instance_id,
            parameters.client_id,
            parameters.client_host,
            parameters.session_timeout_ms / 1000,
            _rebalance_timeout(parameters),
            tuple(parameters.protocols),
            is_new=True,
        )

    def update(self, parameters: JoinParameters) -> None:
        """
        Take over what the member states when it joins again.
        """
        self.client_id = parameters.client_id
        self.client_host = parameters.client_host
        self.session_timeout = parameters.session_timeout_ms / 1000
        self.rebalance_timeout = _rebalance_timeout(parameters)
        self.protocols = tuple(parameters.protocols)

    def protocol_names(self) -> set[str]:
        """
        The names of the protocols that it supports.
        """
        return {name for name, _ in self.protocols}

    def metadata(self, protocol: str | None) -> bytes:
        """
        Its metadata for a protocol; empty if it does not support that.
        """
        return next((data for name, data in self.protocols if name == protocol), b"")

    def vote(self, candidates: set[str]) -> str:
        """
        The one of these protocols that it prefers.
        """
        return next(name for name, _ in self.protocols if name in candidates)

    def matches(self, protocols: Sequence[tuple[str, bytes]]) -> bool:
        """
        Whether these protocols and metadata are those that it joined with.
        """
        return self.protocols == tuple(protocols)

    def as_joined(self, protocol: str | None) -> JoinedMember:
        """
        The member in the answer to the leader's JoinGroup.
        """
        return JoinedMember(self.member_id, self.instance_id, self.metadata(protocol))

    def describe(self, protocol: str, assignment: bytes) -> MemberDescription:
        """
        The member in the answer to a DescribeGroups.
        """
        return MemberDescription(
            self.member_id,
            self.instance_id,
            self.client_id,
            self.client_host,
            self.metadata(protocol),
            assignment,
        )


class Roster:
    """
    The members by member id, in the order in which they joined, and the static
    ones among them by instance id.
    """

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._static: dict[str, Member] = {}
        self._supporters: Counter[str] = Counter()  # members by name of a protocol

    def __len__(self) -> int:
        return len(self._members)

    def all(self) -> list[Member]:
        """
        All members; the list is the caller's own.
        """
        return list(self._members.values())

    def get(self, member_id: str) -> Member | None:
        """
        The member with this id, or None.
        """
        return self._members.get(member_id)

    def static(self, instance_id: str | None) -> Member | None:
        """
        The static member with this instance id, or None.
        """
        return None if instance_id is None else self._static.get(instance_id)

    def find(self, member_id: str, instance_id: str | None) -> Member:
        """
        The member that a request identifies.

        @raise UnknownMemberId: there is no such member.
        @raise FencedInstanceId: another member has taken the place of this
            instance id (KIP-345).
        """
        static = self.static(instance_id)
        if static is not None and static.member_id != member_id:
            raise FencedInstanceId
        member = self._members.get(member_id)
        if member is None or (instance_id is not None and static is None):
            raise UnknownMemberId
        return member

    def add(self, member: Member) -> None:
        """
        Add a member.
        """
        self._members[member.member_id] = member
        if member.instance_id is not None:
            self._static[member.instance_id] = member
        self._supporters.update(member.protocol_names())

    def remove(self, member: Member) -> None:
        """
        Remove a member.
        """
        del self._members[member.member_id]
        if member.instance_id is not None:
            del self._static[member.instance_id]
        self._withdraw(member)

    def rename(self, member: Member, member_id: str) -> None:
        """
        Give a static member another member id. It keeps its place.
        """
        member.member_id = member_id
        self._members = {each.member_id: each for each in self._members.values()}

    def update(self, member: Member, parameters: JoinParameters) -> None:
        """
        Take over what a member states when it joins again.
        """
        self._withdraw(member)
        member.update(parameters)
        self._supporters.update(member.protocol_names())

    def _withdraw(self, member: Member) -> None:
        for name in member.protocol_names():
            self._supporters[name] -= 1
            if not self._supporters[name]:
                del self._supporters[name]

    def longest_rebalance_timeout(self) -> float:
        """
        How long the slowest member may take to join again, in seconds.
        """
        return max((member.rebalance_timeout for member in self._members.values()), default=0.0)

    def protocols(self) -> set[str]:
        """
        The names of the protocols that all members support.
        """
        size = len(self._members)
        return {name for name, members in self._supporters.items() if members == size > 0}

    def choose_protocol(self) -> str:
        """
        The protocol that most members prefer among those that all support; of
        several, the one that was voted for first.
        """
        candidates = self.protocols()
        votes = Counter(member.vote(candidates) for member in self._members.values())
        return votes.most_common(1)[0][0]


def _rebalance_timeout(parameters: JoinParameters) -> float:
    """
    In seconds. Before version 1 of JoinGroup there was one timeout for both.
    """
    milliseconds = parameters.rebalance_timeout_ms
    return (parameters.session_timeout_ms if milliseconds < 0 else milliseconds) / 1000
