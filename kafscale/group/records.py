"""
The values of groups and committed offsets in the metadata store.

A group is C{{"generation", "type", "protocol", "leader", "since_ms",
"members"}}, and a member of it C{{"id", "instance", "client", "host",
"session_ms", "rebalance_ms", "protocols", "assignment"}}; bytes are in base64.
A committed offset is C{{"offset", "epoch", "metadata", "at_ms"}}, with
C{"expires_ms"} if the consumer has set that.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from kafscale.group.group import Group
from kafscale.group.members import Member
from kafscale.interfaces import CommittedOffset


def group_value(group: Group, assignments: Mapping[str, bytes]) -> dict[str, Any]:
    """
    The value of a group as it is now, but with these assignments.

    @param assignments: By member id.
    """
    return {
        "generation": group.generation,
        "type": group.protocol_type,
        "protocol": group.protocol,
        "leader": group.leader,
        "since_ms": round(group.since * 1000),
        "members": [
            {
                "id": member.member_id,
                "instance": member.instance_id,
                "client": member.client_id,
                "host": member.client_host,
                "session_ms": round(member.session_timeout * 1000),
                "rebalance_ms": round(member.rebalance_timeout * 1000),
                "protocols": [[name, _text(data)] for name, data in member.protocols],
                "assignment": _text(assignments[member.member_id]),
            }
            for member in group.members.all()
        ],
    }


def restore_group(group: Group, value: Mapping[str, Any]) -> None:
    """
    Set a new group to what was stored.
    """
    group.generation = value["generation"]
    group.protocol_type = value["type"]
    group.protocol = value["protocol"]
    group.leader = value["leader"]
    group.since = value["since_ms"] / 1000
    group.restore(
        [
            Member(
                member["id"],
                member["instance"],
                member["client"],
                member["host"],
                member["session_ms"] / 1000,
                member["rebalance_ms"] / 1000,
                tuple((name, b64decode(data)) for name, data in member["protocols"]),
                b64decode(member["assignment"]),
            )
            for member in value["members"]
        ]
    )


def offset_value(offset: CommittedOffset) -> dict[str, Any]:
    """
    The value of a committed offset.
    """
    value = {
        "offset": offset.offset,
        "epoch": offset.leader_epoch,
        "metadata": offset.metadata,
        "at_ms": offset.committed_ms,
    }
    return value if offset.expires_ms < 0 else {**value, "expires_ms": offset.expires_ms}


def offset_from(value: Mapping[str, Any]) -> CommittedOffset:
    """
    The committed offset of a stored value.
    """
    return CommittedOffset(
        value["offset"],
        value["epoch"],
        value["metadata"],
        value["at_ms"],
        value.get("expires_ms", -1),
    )


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
