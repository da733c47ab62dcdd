"""
Joining a group: who may, and what comes of it.

=========================== ==================================================
without a member id         becomes a member; or, if it can come again with the
                            id that it is given, it is told one (KIP-394)
a static member, likewise   takes the place of the one of its instance id
with an id that was given   becomes a member
a member, unchanged         is told of its generation; but the leader asks for
                            a new assignment in this way
a member that has changed   joins the next round
=========================== ==================================================
"""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred, succeed

from kafscale.errors import FencedInstanceId, GroupMaxSizeReached, InconsistentGroupProtocol
from kafscale.group.group import Group
from kafscale.group.member import Member
from kafscale.interfaces import GroupState, Joined, Joining


def join(group: Group, joining: Joining) -> Deferred[Joined]:
    """
    See L{ICoordinator.join}.
    """
    group.check_alive()
    try:
        return _join(group, joining)
    finally:
        group.answers.give()


def _join(group: Group, joining: Joining) -> Deferred[Joined]:
    known = group.members.get(joining.member_id)
    if not joining.member_id:
        known = group.members.static(joining.instance_id)
    if not _has_room_for(group, known):
        if known is not None:
            group.drop(known)
        raise GroupMaxSizeReached
    if not _goes_with(group, joining):
        raise InconsistentGroupProtocol
    if not joining.member_id:
        return _join_without_id(group, joining, known)
    if group.pending.take(joining.member_id):
        return _add(group, joining, joining.member_id)
    return _join_again(group, joining)


def _has_room_for(group: Group, known: Member | None) -> bool:
    """
    While a round is prepared the places are for those who have joined.
    """
    limit = group.settings.max_size
    if len(group.members) < limit:
        return True
    if group.state is not GroupState.PREPARING:
        return known is not None
    if known is not None and known.joining is not None:
        return True
    return sum(each.joining is not None for each in group.members.all()) < limit


def _goes_with(group: Group, joining: Joining) -> bool:
    if not group.members:
        return bool(joining.protocol_type and joining.protocols)
    if joining.protocol_type != group.protocol_type:
        return False
    common = group.members.protocols()
    return any(name in common for name, _ in joining.protocols)


def _join_without_id(group: Group, joining: Joining, known: Member | None) -> Deferred[Joined]:
    prefix = joining.client_id if joining.instance_id is None else joining.instance_id
    member_id = f"{prefix}-{group.new_id()}"
    if known is not None:
        return _replace(group, joining, known, member_id)
    if joining.instance_id is None and joining.takes_id_first:
        group.pending.expect(member_id, joining.session_timeout_ms / 1000)
        return succeed(Joined(member_id))
    return _add(group, joining, member_id)


def _add(group: Group, joining: Joining, member_id: str) -> Deferred[Joined]:
    if group.members.static(joining.instance_id) is not None:
        raise FencedInstanceId
    if not group.members:
        group.protocol_type = joining.protocol_type
    member = Member.joins(joining, member_id)
    group.members.add(member)
    return group.wait_for_round(member)


def _join_again(group: Group, joining: Joining) -> Deferred[Joined]:
    member = group.members.known(joining.member_id, joining.instance_id)
    if member.matches(joining.protocols) and (
        group.state is GroupState.COMPLETING
        or (group.state is GroupState.STABLE and member.member_id != group.leader)
    ):
        group.silence.heard(member)
        return succeed(group.joined(member))
    group.members.update(member, joining)
    return group.wait_for_round(member)


def _replace(group: Group, joining: Joining, member: Member, member_id: str) -> Deferred[Joined]:
    """
    A static member has restarted, and takes its own place (KIP-345). As long
    as the group would choose the same protocol, nobody else notices.
    """
    led = group.leader
    group.rename(member, member_id)
    group.members.update(member, joining)
    if group.state is not GroupState.STABLE or group.members.choose() != group.protocol:
        return group.wait_for_round(member)
    group.silence.heard(member)
    joined = group.joined(member)
    if not joining.may_skip:
        # It must not take itself for the leader: it would assign anew, and
        # nobody else would ask for that assignment.
        joined = attrs.evolve(joined, leader=led or "", members=())
    elif joined.leader == member_id:
        joined = attrs.evolve(joined, skip_assignment=True)
    return group.store().addCallback(lambda _: joined)
