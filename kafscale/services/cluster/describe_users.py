"""
DescribeUserScramCredentials and AlterUserScramCredentials. This broker has no users, and
says so, because tools that look for them do not go on without an answer.
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
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
)

_NO_USERS = "This broker has no users"


@implementer(IAdminService)
class DescribeUsersService:
    """
    Version 0 of DescribeUserScramCredentials and AlterUserScramCredentials.
    """

    def serves(self) -> list[Serving]:
        """
        The two APIs.
        """
        return [
            Serving(DescribeUserScramCredentialsRequest, 0, 0, self.describe_users, refusal()),
            Serving(AlterUserScramCredentialsRequest, 0, 0, self.alter_users, refusal()),
        ]

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
