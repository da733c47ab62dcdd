"""
A group and its record in the metadata store (`kafscale.format.group`).
"""

from __future__ import annotations

from collections.abc import Mapping

from kafscale.format.group import GroupRecord, MemberRecord
from kafscale.group.group import Group
from kafscale.group.members import Member


def record_of(group: Group, assignments: Mapping[str, bytes]) -> GroupRecord:
    """
    A group as it is now, but with these assignments.

    @param assignments: What the leader assigns to each member, by member id.
    """
    return GroupRecord(
        group.generation,
        group.protocol_type,
        group.protocol,
        group.leader,
        round(group.since * 1000),
        tuple(
            MemberRecord(
                member.member_id,
                member.instance_id,
                member.client_id,
                member.client_host,
                round(member.session_timeout * 1000),
                round(member.rebalance_timeout * 1000),
                member.protocols,
                assignments[member.member_id],
            )
            for member in group.members.all()
        ),
    )


def restore(group: Group, record: GroupRecord) -> None:
    """
    Make a new group what the group was when its record was put.
    """
    group.generation = record.generation
    group.protocol_type = record.protocol_type
    group.protocol = record.protocol
    group.leader = record.leader
    group.since = record.since_ms / 1000
    group.restore(
        [
            Member(
                member.member_id,
                member.instance_id,
                member.client_id,
                member.client_host,
                member.session_ms / 1000,
                member.rebalance_ms / 1000,
                member.protocols,
                member.assignment,
            )
            for member in record.members
        ]
    )
