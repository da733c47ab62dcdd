"""
DescribeGroups, ListGroups and DeleteGroups.
"""

from __future__ import annotations

from typing import TypeAlias

from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import GroupIdNotFound, KafkaError
from kafscale.interfaces import ICoordinationService, IGroupCoordinator, RequestContext, Serving
from kafscale.services.authorized_operations import GROUP_OPERATIONS, NO_OPERATIONS
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    ListGroupsRequest,
    ListGroupsResponse,
)

DescribedGroup: TypeAlias = DescribeGroupsResponse.Group

_CLASSIC = "classic"
"""The type of all groups of this broker (KIP-848)."""


@implementer(ICoordinationService)
class DescribeGroupsService:
    """
    Versions 0 to 6 of DescribeGroups, 0 to 5 of ListGroups, 0 to 3 of
    DeleteGroups::

        ===========  ============================================================
        Describe v3  authorized operations
        v4           static members
        v5           flexible; List v3, Delete v2 likewise
        v6           an unknown group is GROUP_ID_NOT_FOUND; before, its state was
                     Dead, without an error
        List v4      states, and a filter by state
        v5           types, and a filter by type
        Delete v3    error messages
        ===========  ============================================================

    """

    def __init__(self, coordinator: IGroupCoordinator) -> None:
        """
        @param coordinator: The groups of this broker.
        """
        self._coordinator = coordinator

    def serves(self) -> list[Serving]:
        """
        DescribeGroups, ListGroups and DeleteGroups.
        """
        return [
            Serving(DescribeGroupsRequest, 0, 6, self.describe, refusal()),
            Serving(ListGroupsRequest, 0, 5, self.list_groups, refusal()),
            Serving(DeleteGroupsRequest, 0, 3, self.delete, refusal()),
        ]

    async def describe(
        self, request: DescribeGroupsRequest, context: RequestContext
    ) -> DescribeGroupsResponse:
        """
        The groups, each with an error of its own.
        """
        groups = [self._describe(name, context.api_version) for name in request.groups]
        for group in groups:
            if request.include_authorized_operations and not group.error_code:
                group.authorized_operations = GROUP_OPERATIONS
        return DescribeGroupsResponse(groups=groups)

    def _describe(self, name: str, version: int) -> DescribedGroup:
        try:
            group = self._coordinator.describe(name)
        except GroupIdNotFound as error:
            if version < 6:
                return _without_group(name, 0, None)
            return _without_group(name, error.code, f"Group {name} not found.")
        except KafkaError as error:
            return _without_group(name, error.code, None, state="")
        return DescribedGroup(
            group_id=name,
            group_state=group.state,
            protocol_type=group.protocol_type,
            protocol_data=group.protocol,
            members=[
                DescribedGroup.Member(
                    member_id=member.member_id,
                    group_instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    member_metadata=member.metadata,
                    member_assignment=member.assignment,
                )
                for member in group.members
            ],
        )

    async def list_groups(
        self, request: ListGroupsRequest, context: RequestContext
    ) -> ListGroupsResponse:
        """
        The groups that this broker coordinates, if their state and type match
        the filters, whose case does not matter.
        """
        states = {state.lower() for state in request.states_filter}
        types = {kind.lower() for kind in request.types_filter}
        groups = [] if types and _CLASSIC not in types else self._coordinator.groups()
        return ListGroupsResponse(
            groups=[
                ListGroupsResponse.Group(
                    group_id=group.name,
                    protocol_type=group.protocol_type,
                    group_state=group.state,
                    group_type=_CLASSIC,
                )
                for group in groups
                if not states or group.state.lower() in states
            ]
        )

    async def delete(
        self, request: DeleteGroupsRequest, context: RequestContext
    ) -> DeleteGroupsResponse:
        """
        Each group is answered when its deletion is durable.
        """

        async def delete(name: str) -> DeleteGroupsResponse.Result:
            result = DeleteGroupsResponse.Result(group_id=name)
            try:
                await self._coordinator.delete(name)
            except Exception as error:
                fields = error_fields(error, f"delete group {name}")
                result.error_code, result.error_message = fields
            return result

        return DeleteGroupsResponse(results=await map_bounded(delete, request.groups_names))



def _without_group(
    name: str, code: int, message: str | None, state: str = "Dead"
) -> DescribedGroup:
    return DescribedGroup(
        error_code=code,
        error_message=message,
        group_id=name,
        group_state=state,
        protocol_type="",
        protocol_data="",
        members=[],
        authorized_operations=NO_OPERATIONS,
    )
