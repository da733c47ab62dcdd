"""
CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken and
DescribeDelegationToken (KIP-48).
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from kafscale.errors import DelegationTokenRequestNotAllowed
from kafscale.interfaces import (
    DelegationToken,
    IAdminService,
    IDelegationTokens,
    Principal,
    RequestContext,
    Serving,
    token_owner,
)
from kafscale.services.refusals import refusal
from kafscale.wire.error_responses import error_response
from kafscale.wire.messages import (
    CreateDelegationTokenRequest,
    CreateDelegationTokenResponse,
    DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse,
    ExpireDelegationTokenRequest,
    ExpireDelegationTokenResponse,
    RenewDelegationTokenRequest,
    RenewDelegationTokenResponse,
)

_NO_TIME = -1


@implementer(IAdminService)
class DelegationTokensService:
    """
    Versions 1 to 3 of Create and Describe, 1 and 2 of the others. Version 2 is flexible,
    version 3 has requesters beside owners (KIP-373).
    """

    def __init__(self, tokens: IDelegationTokens) -> None:
        """
        @param tokens: All tokens.
        """
        self._tokens = tokens

    def serves(self) -> list[Serving]:
        """
        The four APIs.
        """
        return [
            Serving(CreateDelegationTokenRequest, 1, 3, self.create, self.refuse_creation),
            Serving(RenewDelegationTokenRequest, 1, 2, self.renew, _refuse_end),
            Serving(ExpireDelegationTokenRequest, 1, 2, self.expire, _refuse_end),
            Serving(DescribeDelegationTokenRequest, 1, 3, self.describe, refusal()),
        ]

    async def create(
        self, request: CreateDelegationTokenRequest, context: RequestContext
    ) -> CreateDelegationTokenResponse:
        """
        Create a token.

        @raise KafkaError: it is not allowed.
        """
        requester = _allowed(context)
        token = await self._tokens.create(
            token_owner(request.owner_principal_type, request.owner_principal_name, requester),
            requester,
            [Principal(each.principal_type, each.principal_name) for each in request.renewers],
            request.max_lifetime_ms,
        )
        return CreateDelegationTokenResponse(
            principal_type=token.owner.kind,
            principal_name=token.owner.name,
            token_requester_principal_type=token.requester.kind,
            token_requester_principal_name=token.requester.name,
            issue_timestamp_ms=token.issued_ms,
            expiry_timestamp_ms=token.expires_ms,
            max_timestamp_ms=token.max_ms,
            token_id=token.token_id,
            hmac=token.hmac,
        )

    def refuse_creation(
        self,
        request: CreateDelegationTokenRequest,
        context: RequestContext,
        code: int,
        message: str,
    ) -> CreateDelegationTokenResponse:
        """
        The error, with those for whom the token was to be.
        """
        requester = context.session.principal
        owner = token_owner(request.owner_principal_type, request.owner_principal_name, requester)
        return CreateDelegationTokenResponse(
            error_code=code,
            principal_type=owner.kind,
            principal_name=owner.name,
            token_requester_principal_type=requester.kind,
            token_requester_principal_name=requester.name,
            issue_timestamp_ms=_NO_TIME,
            expiry_timestamp_ms=_NO_TIME,
            max_timestamp_ms=_NO_TIME,
            token_id="",
            hmac=b"",
        )

    async def renew(
        self, request: RenewDelegationTokenRequest, context: RequestContext
    ) -> RenewDelegationTokenResponse:
        """
        Prolong a token.

        @raise KafkaError: it is not allowed.
        """
        principal = _allowed(context)
        ends = await self._tokens.renew(bytes(request.hmac), principal, request.renew_period_ms)
        return RenewDelegationTokenResponse(expiry_timestamp_ms=ends)

    async def expire(
        self, request: ExpireDelegationTokenRequest, context: RequestContext
    ) -> ExpireDelegationTokenResponse:
        """
        Bring the end of a token forward, or end it at once.

        @raise KafkaError: it is not allowed.
        """
        principal = _allowed(context)
        period = request.expiry_time_period_ms
        ends = await self._tokens.expire(bytes(request.hmac), principal, period)
        return ExpireDelegationTokenResponse(expiry_timestamp_ms=ends)

    async def describe(
        self, request: DescribeDelegationTokenRequest, context: RequestContext
    ) -> DescribeDelegationTokenResponse:
        """
        The tokens of some principals, or all. Those that the client may not see are left out
        later (L{kafscale.access.authorization.needs}).

        @raise KafkaError: it is not allowed.
        """
        _allowed(context)
        found = self._tokens.tokens()
        if request.owners is not None:
            asked = {Principal(each.principal_type, each.principal_name) for each in request.owners}
            found = [token for token in found if not asked.isdisjoint(token.seen_by)]
        return DescribeDelegationTokenResponse(tokens=list(map(_described, found)))


def _refuse_end(
    request: RenewDelegationTokenRequest | ExpireDelegationTokenRequest,
    context: RequestContext,
    code: int,
    message: str,
) -> Any:
    """
    The error, without a time: -1 from Kafka's brokers, and 0 from its controllers.
    """
    time = _NO_TIME if code == DelegationTokenRequestNotAllowed.code else 0
    return error_response(request, context.api_version, code, message, expiry_timestamp_ms=time)


def _allowed(context: RequestContext) -> Principal:
    """
    The client, which may ask for tokens.

    @raise DelegationTokenRequestNotAllowed: It may not.
    """
    if not context.session.manages_tokens:
        raise DelegationTokenRequestNotAllowed
    return context.session.principal


def _described(token: DelegationToken) -> DescribeDelegationTokenResponse.Token:
    described = DescribeDelegationTokenResponse.Token
    return described(
        principal_type=token.owner.kind,
        principal_name=token.owner.name,
        token_requester_principal_type=token.requester.kind,
        token_requester_principal_name=token.requester.name,
        issue_timestamp=token.issued_ms,
        expiry_timestamp=token.expires_ms,
        max_timestamp=token.max_ms,
        token_id=token.token_id,
        hmac=token.hmac,
        renewers=[
            described.Renewer(principal_type=each.kind, principal_name=each.name)
            for each in token.renewers
        ],
    )
