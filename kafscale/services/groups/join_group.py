"""
JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the membership in a group.
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

MemberResponse: TypeAlias = LeaveGroupResponse.Member


@implementer(ICoordinationService)
class JoinGroupService:
    """
    Versions 0 to 9 of JoinGroup, 0 to 5 of SyncGroup, 0 to 4 of Heartbeat, 0
    to 5 of LeaveGroup::

        =========  ==============================================================
        Join v1    the rebalance timeout, besides the session timeout
        v4         a member without id gets one, and joins again (KIP-394)
        v5         static members; Sync v3, Heartbeat v3, Leave v3 likewise
        v6         flexible; Sync v4, Heartbeat v4, Leave v4 likewise
        v7         protocol type in the response; Sync v5 checks it
        v8         reason; Leave v5 likewise
        v9         the leader may skip the assignment (KIP-814)
        Leave v3   several members, static ones by their instance ids
        =========  ==============================================================

    """

    def __init__(self, coordinator: IGroupCoordinator) -> None:
        """
        @param coordinator: The groups of this broker.
        """
        self._coordinator = coordinator

    def serves(self) -> list[Serving]:
        """
        JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
        """
        return [
            Serving(JoinGroupRequest, 0, 9, self.join, self._join_failed),
            Serving(SyncGroupRequest, 0, 5, self.sync, self._sync_failed),
            Serving(HeartbeatRequest, 0, 4, self.heartbeat, refusal()),
            Serving(LeaveGroupRequest, 0, 5, self.leave, refusal()),
        ]

    async def join(self, request: JoinGroupRequest, context: RequestContext) -> JoinGroupResponse:
        """
        Join a group. Answered when its next generation is formed.
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
        The assignment of a member. Answered when the leader has assigned, and
        that is durable.
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
            # The round was lost with the broker that had it. Clients do not expect
            # COORDINATOR_LOAD_IN_PROGRESS here (Kafka's handleSyncGroup).
            code = RebalanceInProgress.code
        return SyncGroupResponse(error_code=code)

    def heartbeat(self, request: HeartbeatRequest, context: RequestContext) -> HeartbeatResponse:
        """
        Restart the session timeout of a member. While the group is being loaded
        no session can time out, and the heartbeat succeeds, because some clients
        give up after an error (Kafka's C{GroupCoordinator.handleHeartbeat}).
        """
        with suppress(CoordinatorLoadInProgress):
            self._coordinator.heartbeat(
                request.group_id,
                MemberIdentity(request.member_id, request.generation_id, request.group_instance_id),
            )
        return HeartbeatResponse()

    def leave(self, request: LeaveGroupRequest, context: RequestContext) -> LeaveGroupResponse:
        """
        Remove members from a group, each with an error of its own.
        """
        if context.api_version < 3:
            self._coordinator.leave(request.group_id, request.member_id, None)
            return LeaveGroupResponse()
        return LeaveGroupResponse(
            members=[
                MemberResponse(
                    member_id=member.member_id,
                    group_instance_id=member.group_instance_id,
                    error_code=self._leave(request.group_id, member),
                )
                for member in request.members
            ]
        )

    def _leave(self, group: str, member: LeaveGroupRequest.Member) -> int:
        """
        The error code of a member.

        @raise KafkaError: the error is the coordinator's, and not the member's.
        """
        try:
            self._coordinator.leave(group, member.member_id, member.group_instance_id)
        except (UnknownMemberId, FencedInstanceId) as error:
            return error.code
        return NONE
