"""
The quota of requests that create or delete partitions (KIP-599).
"""

from __future__ import annotations

from kafscale.interfaces import RequestContext
from kafscale.interfaces.quotas import IMutationQuota, IQuotas


def mutation_quota(quotas: IQuotas, context: RequestContext, strict_since: int) -> IMutationQuota:
    """
    What a request may change.

    @param strict_since: The first version of the API in which it is refused with
        THROTTLING_QUOTA_EXCEEDED if the quota is used up; in earlier ones the client is
        only slowed down.
    """
    user = context.session.principal.name
    return quotas.mutation(user, context.client_id, context.api_version >= strict_since)
