"""
A group as operators see it.
"""

from __future__ import annotations

from kafscale.group.group import Group
from kafscale.interfaces import DescribedGroup, DescribedMember, GroupState


def described(group: Group, with_members: bool) -> DescribedGroup:
    """
    What members say of themselves and have to do is told of a stable group
    only: in any other it is of the past.
    """
    stable = group.state is GroupState.STABLE
    protocol = (stable and group.protocol) or ""
    members = [
        DescribedMember(
            member.member_id,
            member.instance_id,
            member.client_id,
            member.client_host,
            member.metadata(protocol),
            member.assignment if stable else b"",
        )
        for member in (group.members.all() if with_members else ())
    ]
    return DescribedGroup(
        group.name, group.state.value, group.protocol_type or "", protocol, members
    )
