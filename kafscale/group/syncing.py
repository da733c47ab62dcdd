"""
Getting one's part of the work: the leader brings the parts of all.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.errors import InconsistentGroupProtocol, RebalanceInProgress
from kafscale.group.group import Group
from kafscale.group.member import Member
from kafscale.interfaces import GroupState, Membership, Synced

_log = Logger()


def sync(
    group: Group,
    asking: Membership,
    protocol_type: str | None,
    protocol: str | None,
    assignments: Mapping[str, bytes],
) -> Deferred[Synced]:
    """
    See L{ICoordinator.sync}.
    """
    member = group.present(asking)
    if protocol_type not in (None, group.protocol_type) or protocol not in (None, group.protocol):
        raise InconsistentGroupProtocol
    if group.state is GroupState.PREPARING:
        raise RebalanceInProgress
    group.has_asked(member)
    if group.state is GroupState.STABLE:
        group.silence.heard(member)
        return succeed(_part(group, member))
    group.answers.owe(member.syncing, RebalanceInProgress())  # it asks again: the first is lost
    waiting = member.syncing = Deferred()
    group.silence.waits(member)
    if member.member_id == group.leader and group.storing != group.generation:
        _assign(group, {each: assignments.get(each, b"") for each in group.members.ids()})
    group.answers.give()
    return waiting


def _assign(group: Group, assignments: Mapping[str, bytes]) -> None:
    """
    The leader has spoken. Members are told when a restart would know it.
    """
    group.storing = generation = group.generation

    def done(failure: Failure | None) -> None:
        if group.state is not GroupState.COMPLETING or group.generation != generation:
            return  # the group has gone on meanwhile
        if failure is None:
            group.become_stable(assignments)
            for member in group.members.all():
                if member.syncing is not None:
                    group.answer_sync(member, _part(group, member))
                    group.silence.heard(member)
        else:
            _log.warn(
                "group {name} rebalances, as its assignment was not stored: {error}",
                name=group.name,
                error=failure.getErrorMessage(),
            )
            group.rebalance()
        group.answers.give()

    group.store(assignments).addBoth(done)


def _part(group: Group, member: Member) -> Synced:
    return Synced(group.protocol_type or "", group.protocol or "", member.assignment)
