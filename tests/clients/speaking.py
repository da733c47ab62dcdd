"""
Speaking as a member of a group, or as somebody who is none, request by request.
"""

from __future__ import annotations

from kafscale.wire.messages import DescribeGroupsRequest, HeartbeatRequest
from tests.clients.raw import RawClient

ILLEGAL_GENERATION = 22


def generation(raw: RawClient, group: str) -> int:
    """
    That of a group, found out by trying: no API tells it.
    """
    (described,) = raw.call(DescribeGroupsRequest(groups=[group]), 5).groups
    member_id = described.members[0].member_id
    for number in range(1, 1000):
        asked = HeartbeatRequest(group_id=group, generation_id=number, member_id=member_id)
        if raw.call(asked, 4).error_code != ILLEGAL_GENERATION:
            return number
    raise AssertionError(f"{group} has no generation below 1000")
