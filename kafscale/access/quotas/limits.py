"""
Which quota holds for a client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from kafscale.format.quota import QuotaEntity
from kafscale.interfaces.quotas import CLIENT_ID, CONNECTION_RATE, IP, USER


@attrs.frozen
class Limit:
    """
    A quota that holds for a client.

    @ivar value: The quota.
    @ivar user: The user whose use counts; empty if it is that of any user.
    @ivar client_id: The client id whose use counts; empty if it is that of any.
    """

    value: float
    user: str
    client_id: str


def limit_of(
    quotas: Mapping[QuotaEntity, Mapping[str, float]], key: str, user: str, client_id: str
) -> Limit | None:
    """
    The quota that holds for the requests of a user with a client id: of those that
    are set, the most specific (Kafka's C{ClientQuotaManager}, which has this order).
    """
    for entity, of_user, of_client in _entities(user, client_id):
        value = quotas.get(entity, {}).get(key)
        if value is not None:
            return Limit(value, of_user, of_client)
    return None


def _entities(user: str, client_id: str) -> Iterator[tuple[QuotaEntity, str, str]]:
    """
    The entities whose quotas may hold, the first that is set first, with the user and
    the client id whose use counts.
    """
    for name in (user, None):
        for client in (client_id, None):
            yield ((CLIENT_ID, client), (USER, name)), user, client_id
        yield ((USER, name),), user, ""
    for client in (client_id, None):
        yield ((CLIENT_ID, client),), "", client_id


def connection_limit_of(
    quotas: Mapping[QuotaEntity, Mapping[str, float]], host: str
) -> float | None:
    """
    How many connections an address may make in a second; None if there is no quota.
    """
    for name in (host, None):
        value = quotas.get(((IP, name),), {}).get(CONNECTION_RATE)
        if value is not None:
            return value
    return None
