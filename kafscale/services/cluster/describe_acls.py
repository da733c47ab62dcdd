"""
DescribeAcls, CreateAcls and DeleteAcls, DescribeUserScramCredentials and
AlterUserScramCredentials. This broker has neither an authorizer nor users, and says
so in the responses of these APIs, because tools that look for either do not go on
without an answer.
"""

from __future__ import annotations

from collections import Counter

from zope.interface import implementer

from kafscale.errors import DuplicateResource, ResourceNotFound, SecurityDisabled
from kafscale.interfaces import IAdminService, RequestContext, Serving
from kafscale.services.refusals import refusal
from kafscale.wire.messages import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
)
from kafscale.wire.schema import Request

_NO_USERS = "This broker has no users"


@implementer(IAdminService)
class DescribeAclsService:
    """
    Versions 0 to 3 of DescribeAcls, CreateAcls and DeleteAcls, and version 0 of
    DescribeUserScramCredentials and AlterUserScramCredentials.
    """

    def serves(self) -> list[Serving]:
        """
        The five APIs.
        """
        return [
            Serving(DescribeAclsRequest, 0, 3, self.refuse, refusal()),
            Serving(CreateAclsRequest, 0, 3, self.refuse, refusal()),
            Serving(DeleteAclsRequest, 0, 3, self.refuse, refusal()),
            Serving(DescribeUserScramCredentialsRequest, 0, 0, self.describe_users, refusal()),
            Serving(AlterUserScramCredentialsRequest, 0, 0, self.alter_users, refusal()),
        ]

    async def refuse(self, request: Request, context: RequestContext) -> None:
        """
        There is no authorizer.

        @raise SecurityDisabled: always.
        """
        raise SecurityDisabled("No authorizer is configured")

    async def describe_users(
        self, request: DescribeUserScramCredentialsRequest, context: RequestContext
    ) -> DescribeUserScramCredentialsResponse:
        """
        There are none: a user that is named is unknown, or named twice (Kafka's
        C{ScramImage}).
        """
        named = Counter(user.name for user in request.users or ())
        result = DescribeUserScramCredentialsResponse.Result
        return DescribeUserScramCredentialsResponse(
            results=[
                result(
                    user=name,
                    error_code=(ResourceNotFound if times == 1 else DuplicateResource).code,
                    error_message=_NO_USERS,
                    credential_infos=[],
                )
                for name, times in named.items()
            ]
        )

    async def alter_users(
        self, request: AlterUserScramCredentialsRequest, context: RequestContext
    ) -> AlterUserScramCredentialsResponse:
        """
        Each user is refused.
        """
        result = AlterUserScramCredentialsResponse.Result
        names = [deletion.name for deletion in request.deletions]
        names += [upsertion.name for upsertion in request.upsertions]
        return AlterUserScramCredentialsResponse(
            results=[
                result(user=name, error_code=SecurityDisabled.code, error_message=_NO_USERS)
                for name in dict.fromkeys(names)
            ]
        )
