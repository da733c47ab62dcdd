"""
DescribeUserScramCredentials and AlterUserScramCredentials (KIP-554).
"""

from __future__ import annotations

from collections import Counter

from zope.interface import implementer

from kafscale.errors import DuplicateResource, ResourceNotFound
from kafscale.interfaces import (
    IAdminService,
    IUsers,
    RequestContext,
    ScramDeletion,
    ScramUpsertion,
    Serving,
)
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
)


@implementer(IAdminService)
class DescribeUsersService:
    """
    Version 0 of both.
    """

    def __init__(self, users: IUsers) -> None:
        """
        @param users: All users.
        """
        self._users = users

    def serves(self) -> list[Serving]:
        """
        The two APIs.
        """
        return [
            Serving(DescribeUserScramCredentialsRequest, 0, 0, self.describe, refusal()),
            Serving(AlterUserScramCredentialsRequest, 0, 0, self.alter, self.refuse_alteration),
        ]

    async def describe(
        self, request: DescribeUserScramCredentialsRequest, context: RequestContext
    ) -> DescribeUserScramCredentialsResponse:
        """
        The mechanisms and iterations of the users that the request names, or of all.
        """
        known = self._users.credentials()
        named = Counter(user.name for user in request.users or ())
        response = DescribeUserScramCredentialsResponse
        results = []
        for name, times in (named or Counter(known.keys())).items():
            result = response.Result(user=name, credential_infos=[])
            if times > 1:
                result.error_code = DuplicateResource.code
                result.error_message = (
                    "Cannot describe SCRAM credentials for the same user twice in a single"
                    f" request: {name}"
                )
            elif name not in known:
                result.error_code = ResourceNotFound.code
                result.error_message = (
                    f"Attempt to describe a user credential that does not exist: {name}"
                )
            else:
                result.credential_infos = [
                    response.Result.CredentialInfo(mechanism=mechanism, iterations=iterations)
                    for mechanism, iterations in sorted(known[name].items())
                ]
            results.append(result)
        return response(results=results)

    async def alter(
        self, request: AlterUserScramCredentialsRequest, context: RequestContext
    ) -> AlterUserScramCredentialsResponse:
        """
        Set and delete credentials. Each user succeeds or fails alone.
        """
        changes: dict[str, tuple[list[ScramDeletion], list[ScramUpsertion]]] = {}
        for deletion in request.deletions:
            deletions, _ = changes.setdefault(deletion.name, ([], []))
            deletions.append(ScramDeletion(deletion.mechanism))
        for each in request.upsertions:
            _, upsertions = changes.setdefault(each.name, ([], []))
            upsertions.append(
                ScramUpsertion(
                    each.mechanism, each.iterations, bytes(each.salt), bytes(each.salted_password)
                )
            )
        results = []
        for name, (deletions, upsertions) in changes.items():
            result = AlterUserScramCredentialsResponse.Result(user=name)
            try:
                await self._users.alter(name, deletions, upsertions)
            except Exception as error:  # noqa: BLE001 - each user has an error of its own
                result.error_code, result.error_message = error_fields(
                    error, "alter the credentials of a user"
                )
            results.append(result)
        return AlterUserScramCredentialsResponse(results=results)

    def refuse_alteration(
        self,
        request: AlterUserScramCredentialsRequest,
        context: RequestContext,
        code: int,
        message: str,
    ) -> AlterUserScramCredentialsResponse:
        """
        The error with each user that the request names, once.
        """
        names = [each.name for each in request.deletions]
        names += [each.name for each in request.upsertions]
        result = AlterUserScramCredentialsResponse.Result
        return AlterUserScramCredentialsResponse(
            results=[
                result(user=name, error_code=code, error_message=message)
                for name in dict.fromkeys(names)
            ]
        )
