"""
Who is in a group, and what its members have in common.
"""

from __future__ import annotations

from collections import Counter

from kafscale.errors import FencedInstanceId, UnknownMemberId
from kafscale.group.member import Member
from kafscale.interfaces import Joining


class Roster:
    """
    Members by member id, in the order in which they came, and the static ones
    among them by instance id.
    """

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._statics: dict[str, Member] = {}
        self._offers: Counter[str] = Counter()  # how many members have a protocol

    def __len__(self) -> int:
        return len(self._members)

    def all(self) -> list[Member]:
        """
        All members; the list is the caller's own.
        """
        return list(self._members.values())

    def ids(self) -> list[str]:
        """
        Their member ids.
        """
        return list(self._members)

    def get(self, member_id: str) -> Member | None:
        """
        The member of that id, if there is one.
        """
        return self._members.get(member_id)

    def static(self, instance_id: str | None) -> Member | None:
        """
        The static member of that instance id, if there is one.
        """
        return None if instance_id is None else self._statics.get(instance_id)

    def known(self, member_id: str, instance_id: str | None) -> Member:
        """
        The member that calls itself so.

        @raise UnknownMemberId: there is none.
        @raise FencedInstanceId: another has taken its place (KIP-345).
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
        It comes in.
        """
        self._members[member.member_id] = member
        if member.instance_id is not None:
            self._statics[member.instance_id] = member
        self._offers.update(member.names())

    def remove(self, member: Member) -> None:
        """
        It is out.
        """
        del self._members[member.member_id]
        if member.instance_id is not None:
            del self._statics[member.instance_id]
        self._withdraw(member)

    def rename(self, member: Member, member_id: str) -> None:
        """
        A static member has a new member id from now on.
        """
        member.member_id = member_id
        self._members = {each.member_id: each for each in self._members.values()}

    def update(self, member: Member, joining: Joining) -> None:
        """
        It joins again, and may have changed.
        """
        self._withdraw(member)
        member.update(joining)
        self._offers.update(member.names())

    def _withdraw(self, member: Member) -> None:
        for name in member.names():
            self._offers[name] -= 1
            if not self._offers[name]:
                del self._offers[name]

    def longest(self) -> float:
        """
        Seconds that the slowest may take to join again.
        """
        return max((member.rebalance for member in self._members.values()), default=0.0)

    def protocols(self) -> set[str]:
        """
        Those that all members can use.
        """
        everybody = len(self._members)
        return {name for name, members in self._offers.items() if members == everybody > 0}

    def choose(self) -> str:
        """
        The protocol of those that got most votes; of several, the one that was
        voted for first.
        """
        candidates = self.protocols()
        votes = Counter(member.wants(candidates) for member in self._members.values())
        return votes.most_common(1)[0][0]
