"""
DescribeClientQuotas: there are none.
"""

from __future__ import annotations

from zope.interface import implementer

from kafscale.errors import InvalidRequest, UnsupportedVersion
from kafscale.interfaces import IAdminService, RequestContext, Serving
from kafscale.services.refusals import refusal
from kafscale.wire.messages import DescribeClientQuotasRequest, DescribeClientQuotasResponse

_ENTITIES = ("user", "client-id", "ip")
_EXACT, _DEFAULT, _ANY = range(3)


@implementer(IAdminService)
class QuotasService:
    """
    Versions 0 to 1 of DescribeClientQuotas; 1 is flexible.
    """

    def serves(self) -> list[Serving]:
        """
        DescribeClientQuotas.
        """
        return [Serving(DescribeClientQuotasRequest, 0, 1, self.describe, refusal())]

    async def describe(
        self, request: DescribeClientQuotasRequest, context: RequestContext
    ) -> DescribeClientQuotasResponse:
        """
        Nothing matches; what could not match anything anywhere is refused, as
        in Kafka (C{ClientQuotasImage}).
        """
        seen = set()
        for component in request.components:
            kind = component.entity_type
            if not kind:
                raise InvalidRequest("The type of an entity is empty")
            if kind not in _ENTITIES:
                raise UnsupportedVersion(f"Custom entity type {kind[:50]!r} is not supported")
            if kind in seen:
                raise InvalidRequest(f"Entity type {kind} is given twice")
            seen.add(kind)
            if component.match_type not in (_EXACT, _DEFAULT, _ANY):
                raise InvalidRequest(f"Unknown match type {component.match_type}")
            if (component.match_type == _EXACT) == (component.match is None):
                raise InvalidRequest("An exact match needs a name, and no other takes one")
        if "ip" in seen and len(seen) > 1:
            raise InvalidRequest("Quotas of addresses have no users and clients")
        return DescribeClientQuotasResponse(entries=[])
