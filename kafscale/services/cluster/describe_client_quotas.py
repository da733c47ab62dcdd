"""
DescribeClientQuotas. This broker has no quotas.
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
class DescribeClientQuotasService:
    """
    Versions 0 to 1 of DescribeClientQuotas. Version 1 is flexible.
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
        No quota matches. A filter that Kafka refuses is refused (Kafka's
        C{ClientQuotasImage}).
        """
        seen = set()
        for component in request.components:
            kind = component.entity_type
            if not kind:
                raise InvalidRequest("An entity type is empty")
            if kind not in _ENTITIES:
                raise UnsupportedVersion(f"Custom entity type {kind[:50]!r} is not supported")
            if kind in seen:
                raise InvalidRequest(f"Entity type {kind} is given twice")
            seen.add(kind)
            if component.match_type not in (_EXACT, _DEFAULT, _ANY):
                raise InvalidRequest(f"Unknown match type {component.match_type}")
            if (component.match_type == _EXACT) == (component.match is None):
                raise InvalidRequest("An exact match needs a name, and other match types take none")
        if "ip" in seen and len(seen) > 1:
            raise InvalidRequest("A filter for ip cannot have other entity types")
        return DescribeClientQuotasResponse(entries=[])
