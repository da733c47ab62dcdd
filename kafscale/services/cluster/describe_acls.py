"""
DescribeAcls, CreateAcls and DeleteAcls.

Without an authorizer they say so, because tools that look for one do not go on without
an answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from typing import TypeVar

import attrs
from zope.interface import implementer

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.errors import (
    InvalidRequest,
    KafkaError,
    SecurityDisabled,
    UnknownServerError,
    message_of,
)
from kafscale.format import metadata_keys
from kafscale.format.acl import AclRecord, Operation, PatternType, Permission, ResourceType
from kafscale.interfaces import IAcls, IAdminService, RequestContext, Serving
from kafscale.wire.error_responses import error_response
from kafscale.wire.messages import (
    CreateAclsRequest,
    CreateAclsResponse,
    DeleteAclsRequest,
    DeleteAclsResponse,
    DescribeAclsRequest,
    DescribeAclsResponse,
)
from kafscale.wire.schema import Response
from kafscale.wire.steps import Steps

E = TypeVar("E", bound=IntEnum)

def _word(kind: type[E], number: int, what: str) -> E:
    try:
        return kind(number)
    except ValueError:
        raise InvalidRequest(f"Invalid {what} UNKNOWN") from None


@attrs.frozen
class _Filter:
    """
    Which ACLs are meant. Fields that are None, or C{ANY}, match all.

    @ivar pattern_type: C{MATCH}: all patterns that match the name.
    """

    resource_type: ResourceType
    name: str | None
    pattern_type: PatternType
    principal: str | None
    host: str | None
    operation: Operation
    permission: Permission

    def only(self) -> AclRecord | None:
        """
        The only ACL that is meant; None if there may be several.
        """
        if (
            self.name is None
            or self.principal is None
            or self.host is None
            or self.pattern_type not in (PatternType.LITERAL, PatternType.PREFIXED)
            or self.resource_type is ResourceType.ANY
            or self.operation is Operation.ANY
            or self.permission is Permission.ANY
        ):
            return None
        return AclRecord(
            self.resource_type,
            self.name,
            self.pattern_type,
            self.principal,
            self.host,
            self.operation,
            self.permission,
        )

    def match(self, acl: AclRecord) -> bool:
        """
        Whether an ACL is meant.
        """
        return (
            (self.principal is None or self.principal == acl.principal)
            and (self.host is None or self.host == acl.host)
            and self.resource_type in (ResourceType.ANY, acl.resource_type)
            and self.operation in (Operation.ANY, acl.operation)
            and self.permission in (Permission.ANY, acl.permission)
            and self._match_pattern(acl)
        )

    def _match_pattern(self, acl: AclRecord) -> bool:
        name = self.name
        if self.pattern_type is PatternType.MATCH:
            if name is None:
                return True
            if acl.pattern_type is PatternType.PREFIXED:
                return name.startswith(acl.name)
            return acl.name in (name, "*")
        if self.pattern_type not in (PatternType.ANY, acl.pattern_type):
            return False
        return name is None or name == acl.name


def _filter_of(asked: DescribeAclsRequest | DeleteAclsRequest.Filter) -> _Filter:
    """
    @raise InvalidRequest: a number has no meaning.
    """
    return _Filter(
        _word(ResourceType, asked.resource_type_filter, "resource type"),
        asked.resource_name_filter,
        _word(PatternType, asked.pattern_type_filter, "pattern type"),
        asked.principal_filter,
        asked.host_filter,
        _word(Operation, asked.operation, "operation"),
        _word(Permission, asked.permission_type, "permission type"),
    )


def _acl_of(asked: CreateAclsRequest.Creation) -> AclRecord:
    """
    @raise KafkaError: it cannot be an ACL.
    """
    acl = AclRecord(
        _word(ResourceType, asked.resource_type, "resource type"),
        asked.resource_name,
        _word(PatternType, asked.resource_pattern_type, "pattern type"),
        asked.principal,
        asked.host,
        _word(Operation, asked.operation, "operation"),
        _word(Permission, asked.permission_type, "permission type"),
    )
    if (
        acl.resource_type is ResourceType.ANY
        or acl.pattern_type in (PatternType.ANY, PatternType.MATCH)
        or acl.operation is Operation.ANY
        or acl.permission is Permission.ANY
    ):
        raise UnknownServerError  # as in Kafka, whose clients refuse these themselves
    return acl


def _has_unknown(request: DescribeAclsRequest | CreateAclsRequest | DeleteAclsRequest) -> bool:
    """
    Whether a value in a request is 0, which stands for those that the client does not know.
    Kafka closes the connection of such a client.
    """
    if isinstance(request, CreateAclsRequest):
        return any(
            0
            in (
                each.resource_type,
                each.resource_pattern_type,
                each.operation,
                each.permission_type,
            )
            for each in request.creations
        )
    filters = [request] if isinstance(request, DescribeAclsRequest) else request.filters
    return any(
        0
        in (
            each.resource_type_filter,
            each.pattern_type_filter,
            each.operation,
            each.permission_type,
        )
        for each in filters
    )


def _failed(
    request: DescribeAclsRequest | CreateAclsRequest | DeleteAclsRequest,
    context: RequestContext,
    code: int,
    message: str,
) -> Response | None:
    if _has_unknown(request):
        return None
    response: Response = error_response(request, context.api_version, code, message)
    return response


@implementer(IAdminService)
class DescribeAclsService:
    """
    Versions 0 to 3. Version 1 has pattern types (KIP-290), 2 is flexible, 3 has users as
    resources.
    """

    def __init__(self, acls: IAcls | None, work: WorkQueue) -> None:
        """
        @param acls: None if there is no authorizer.
        @param work: Looks through ACLs: there may be many.
        """
        self._acls = acls
        self._work = work

    def serves(self) -> list[Serving]:
        """
        The three APIs.
        """
        return [
            Serving(DescribeAclsRequest, 0, 3, self.describe, _failed, long=True),
            Serving(CreateAclsRequest, 0, 3, self.create, _failed),
            Serving(DeleteAclsRequest, 0, 3, self.delete, _failed, long=True),
        ]

    def _checked(
        self,
        request: DescribeAclsRequest | CreateAclsRequest | DeleteAclsRequest,
        disabled: str = "No Authorizer is configured.",
    ) -> IAcls:
        """
        The ACLs, for a request that may use them.

        @param disabled: The message if there is no authorizer.
        """
        if _has_unknown(request):
            raise InvalidRequest("The request has a value that its client does not know")
        if self._acls is None:
            raise SecurityDisabled(disabled)
        return self._acls

    async def describe(
        self, request: DescribeAclsRequest, context: RequestContext
    ) -> DescribeAclsResponse:
        """
        The ACLs that match, by resource pattern.

        @raise SecurityDisabled: there is no authorizer.
        @raise InvalidRequest: the filter is invalid.
        """
        acls = self._checked(request, "No Authorizer is configured on the broker")
        wanted = _filter_of(request)
        return await self._work.run(_described(wanted, list(acls.acls().values())))

    async def create(
        self, request: CreateAclsRequest, context: RequestContext
    ) -> CreateAclsResponse:
        """
        Create ACLs, each of which succeeds or fails on its own.

        @raise SecurityDisabled: there is no authorizer.
        """
        acls = self._checked(request)
        results: list[CreateAclsResponse.Result] = []
        valid: list[AclRecord] = []
        for creation in request.creations:
            result = CreateAclsResponse.Result(error_message="")
            results.append(result)
            try:
                acl = _acl_of(creation)
                acls.check(acl)
            except KafkaError as error:
                result.error_code, result.error_message = error.code, _message(error)
            else:
                valid.append(acl)
        await acls.create(valid)
        return CreateAclsResponse(results=results)

    async def delete(
        self, request: DeleteAclsRequest, context: RequestContext
    ) -> DeleteAclsResponse:
        """
        Delete the ACLs that match any of the filters, and say which each filter has.

        @raise SecurityDisabled: there is no authorizer.
        @raise StoreUnavailable: some may not have been deleted.
        """
        acls = self._checked(request)
        results: list[DeleteAclsResponse.FilterResult] = []
        filters: list[tuple[_Filter, DeleteAclsResponse.FilterResult]] = []
        for asked in request.filters:
            result = DeleteAclsResponse.FilterResult(matching_acls=[])
            results.append(result)
            try:
                filters.append((_filter_of(asked), result))
            except KafkaError as error:
                result.error_code, result.error_message = error.code, _message(error)
        known: list[tuple[str, AclRecord]] = []
        if any(wanted.only() is None for wanted, _ in filters):
            await acls.refresh()  # another broker may just have created one that is meant
            known = list(acls.acls().items())
        meant = [
            (await self._work.run(_meant(wanted, known)), result) for wanted, result in filters
        ]
        there = await acls.delete(list({key: None for found, _ in meant for key in found}))
        for found, result in meant:
            result.matching_acls = await self._work.run(_matching_of(found, there))
        return DeleteAclsResponse(filter_results=results)


def _described(wanted: _Filter, acls: Iterable[AclRecord]) -> Steps[DescribeAclsResponse]:
    resources: dict[tuple[int, str, int], DescribeAclsResponse.Resource] = {}
    for acl in acls:
        yield None
        if not wanted.match(acl):
            continue
        pattern = acl.resource_type, acl.name, acl.pattern_type
        resource = resources.get(pattern)
        if resource is None:
            resource = resources[pattern] = DescribeAclsResponse.Resource(
                resource_type=acl.resource_type,
                resource_name=acl.name,
                pattern_type=acl.pattern_type,
                acls=[],
            )
        resource.acls.append(
            DescribeAclsResponse.Resource.Acl(
                principal=acl.principal,
                host=acl.host,
                operation=acl.operation,
                permission_type=acl.permission,
            )
        )
    return DescribeAclsResponse(resources=list(resources.values()))


def _meant(
    wanted: _Filter, acls: Iterable[tuple[str, AclRecord]]
) -> Steps[Mapping[str, AclRecord]]:
    """
    The ACLs that a filter matches, by their keys. If it can be only one, it need not exist.
    """
    only = wanted.only()
    if only is not None:
        return {metadata_keys.acl(only): only}
    found = {}
    for key, acl in acls:
        yield None
        if wanted.match(acl):
            found[key] = acl
    return found


def _matching_of(
    found: Mapping[str, AclRecord], there: Collection[str]
) -> Steps[list[DeleteAclsResponse.FilterResult.MatchingAcl]]:
    matching = []
    for key, acl in found.items():
        yield None
        if key in there:
            matching.append(_matching(acl))
    return matching


def _matching(acl: AclRecord) -> DeleteAclsResponse.FilterResult.MatchingAcl:
    return DeleteAclsResponse.FilterResult.MatchingAcl(
        resource_type=acl.resource_type,
        resource_name=acl.name,
        pattern_type=acl.pattern_type,
        principal=acl.principal,
        host=acl.host,
        operation=acl.operation,
        permission_type=acl.permission,
    )


def _message(error: KafkaError) -> str | None:
    return None if isinstance(error, UnknownServerError) else message_of(error)
