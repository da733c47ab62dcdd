"""
JoinGroup, SyncGroup, Heartbeat and LeaveGroup: being a member of a group.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import (
    NONE,
    CoordinatorLoadInProgress,
    FencedInstanceId,
    InconsistentGroupProtocol,
    MemberIdRequired,
    RebalanceInProgress,
    UnknownMemberId,
)
from kafscale.interfaces import (
    ICoordinationService,
    IGroupCoordinator,
    JoinParameters,
    MemberIdentity,
    RequestContext,
    Serving,
)
from kafscale.services.refusals import refusal
from kafscale.wire.messages import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)

Left: TypeAlias = LeaveGroupResponse.Member


@implementer(ICoordinationService)
class JoinGroupService:
    """
    Versions 0 to 9 of JoinGroup, 0 to 5 of SyncGroup, 0 to 4 of Heartbeat, 0
    to 5 of LeaveGroup::

        =========  ==============================================================
        Join v1    the rebalance time-out is a time-out of its own
        v4         one who comes without a member id gets one, and comes again
        v5         static members; Sync v3, Heartbeat v3, Leave v3 likewise
        v6         flexible; Sync v4, Heartbeat v4, Leave v4 likewise
        v7         the protocol type is told; Sync v5: and compared
        v8         a reason is given; Leave v5 likewise
        v9         the leader may be told that it need not assign
        Leave v3   many may leave at once, static ones by their instance ids
        =========  ==============================================================

    """

    def __init__(self, coordinator: IGroupCoordinator) -> None:
        self._coordinator = coordinator

    def serves(self) -> list[Serving]:
        """
        The four APIs of the classic protocol.
        """
        return [
            Serving(JoinGroupRequest, 0, 9, self.join, self._join_failed),
            Serving(SyncGroupRequest, 0, 5, self.sync, self._sync_failed),
            Serving(HeartbeatRequest, 0, 4, self.heartbeat, refusal()),
            Serving(LeaveGroupRequest, 0, 5, self.leave, refusal()),
        ]

    async def join(self, request: JoinGroupRequest, context: RequestContext) -> JoinGroupResponse:
        """
        Answered when the round is complete.
        """
        joined = await self._coordinator.join(
            JoinParameters(
                group=request.group_id,
                member_id=request.member_id,
                instance_id=request.group_instance_id,
                client_id=context.client_id or "",
                client_host=f"/{context.host}",
                session_timeout_ms=request.session_timeout_ms,
                rebalance_timeout_ms=request.rebalance_timeout_ms,
                protocol_type=request.protocol_type,
                protocols=[(each.name, bytes(each.metadata)) for each in request.protocols],
                requires_known_member_id=context.api_version >= 4,
                supports_skipping_assignment=context.api_version >= 9,
            )
        )
        if joined.generation < 0:
            response = self._join_failed(request, context, MemberIdRequired.code, "")
            response.member_id = joined.member_id
            return response
        return JoinGroupResponse(
            generation_id=joined.generation,
            protocol_type=joined.protocol_type,
            protocol_name=joined.protocol,
            leader=joined.leader,
            skip_assignment=joined.skip_assignment,
            member_id=joined.member_id,
            members=[
                JoinGroupResponse.Member(
                    member_id=member.member_id,
                    group_instance_id=member.instance_id,
                    metadata=member.metadata,
                )
                for member in joined.members
            ],
        )

    def _join_failed(
        self, request: JoinGroupRequest, context: RequestContext, code: int, message: str
    ) -> JoinGroupResponse:
        return JoinGroupResponse(
            error_code=code,
            protocol_name=None if context.api_version >= 7 else "",
            member_id=request.member_id,
        )

    async def sync(self, request: SyncGroupRequest, context: RequestContext) -> SyncGroupResponse:
        """
        Answered when the leader has assigned.
        """
        if context.api_version >= 5 and None in (request.protocol_type, request.protocol_name):
            raise InconsistentGroupProtocol
        synced = await self._coordinator.sync(
            request.group_id,
            MemberIdentity(request.member_id, request.generation_id, request.group_instance_id),
            request.protocol_type,
            request.protocol_name,
            {each.member_id: bytes(each.assignment) for each in request.assignments},
        )
        return SyncGroupResponse(
            protocol_type=synced.protocol_type,
            protocol_name=synced.protocol,
            assignment=synced.assignment,
        )

    def _sync_failed(
        self, request: SyncGroupRequest, context: RequestContext, code: int, message: str
    ) -> SyncGroupResponse:
        if code == CoordinatorLoadInProgress.code:
            # The round is lost with the broker that had it: as on Kafka
            # (C{handleSyncGroup}), whose clients expect to be told of no load.
            code = RebalanceInProgress.code
        return SyncGroupResponse(error_code=code)

    def heartbeat(self, request: HeartbeatRequest, context: RequestContext) -> HeartbeatResponse:
        """
        Touches nothing but memory. While the group is loaded nobody can be
        late, and nobody is told to wait: as on Kafka
        (C{GroupCoordinator.handleHeartbeat}), for there are clients that give
        up when they are.
        """
        with suppress(CoordinatorLoadInProgress):
            self._coordinator.heartbeat(
                request.group_id,
                MemberIdentity(request.member_id, request.generation_id, request.group_instance_id),
            )
        return HeartbeatResponse()

    def leave(self, request: LeaveGroupRequest, context: RequestContext) -> LeaveGroupResponse:
        """
        Each who leaves is answered for itself.
        """
        if context.api_version < 3:
            self._coordinator.leave(request.group_id, request.member_id, None)
            return LeaveGroupResponse()
        return LeaveGroupResponse(
            members=[
                Left(
                    member_id=member.member_id,
                    group_instance_id=member.group_instance_id,
                    error_code=self._leave(request.group_id, member),
                )
                for member in request.members
            ]
        )

    def _leave(self, group: str, member: LeaveGroupRequest.Member) -> int:
        """
        The code. What concerns the coordinator, and not the member, is raised.
        """
        try:
            self._coordinator.leave(group, member.member_id, member.group_instance_id)
        except (UnknownMemberId, FencedInstanceId) as error:
            return error.code
        return NONE
