"""
FindCoordinator: who looks after a group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import (
    CoordinatorNotAvailable,
    InvalidRequest,
    KafkaError,
    TransactionalIdAuthorizationFailed,
)
from kafscale.interfaces import Broker, ICoordinationService, RequestContext, Serving
from kafscale.services.refusals import refusal
from kafscale.wire.messages import FindCoordinatorRequest, FindCoordinatorResponse

Found: TypeAlias = FindCoordinatorResponse.Coordinator

_GROUP = 0
_TRANSACTION = 1

_refuse = refusal(node_id=-1, port=-1)


@implementer(ICoordinationService)
class FindCoordinatorService:
    """
    Versions 0 to 6 of FindCoordinator.

    ====  ==================================================================
    v1    key type: a group's or a transaction's coordinator; error message
    v3    flexible
    v4    several keys at once, each answered for itself
    v5    TRANSACTION_ABORTABLE may be answered (only to transactions)
    v6    key type of share groups (which there are none of)
    ====  ==================================================================

    """

    def __init__(self, coordinator: Callable[[str], Broker | None]) -> None:
        """
        @param coordinator: Who should coordinate a group; None: nobody now.
        """
        self._coordinator = coordinator

    def serves(self) -> list[Serving]:
        """
        FindCoordinator. librdkafka decides by it whether it may use lz4.
        """
        return [Serving(FindCoordinatorRequest, 0, 6, self.find_coordinator, _refuse)]

    async def find_coordinator(
        self, request: FindCoordinatorRequest, context: RequestContext
    ) -> FindCoordinatorResponse:
        """
        Every broker knows it. Who is named may have to take the group over
        first, and says so.
        """
        error = _refusal(request.key_type)
        if error is not None:
            response: FindCoordinatorResponse = _refuse(request, context, error.code, str(error))
            return response
        if context.api_version < 4:
            found = self._found(request.key)
            return FindCoordinatorResponse(
                error_code=found.error_code,
                error_message=found.error_message,
                node_id=found.node_id,
                host=found.host,
                port=found.port,
            )
        return FindCoordinatorResponse(
            coordinators=[self._found(key) for key in request.coordinator_keys]
        )

    def _found(self, key: str) -> Found:
        broker = self._coordinator(key)
        if broker is None:
            return Found(
                key=key,
                node_id=-1,
                host="",
                port=-1,
                error_code=CoordinatorNotAvailable.code,
                error_message="No broker is available to coordinate the group",
            )
        return Found(key=key, node_id=broker.broker_id, host=broker.host, port=broker.port)

def _refusal(key_type: int) -> KafkaError | None:
    """
    Why keys of this type have no coordinator; None if they have one.
    """
    if key_type == _GROUP:
        return None
    if key_type == _TRANSACTION:
        # Any other code would be retried for ever.
        return TransactionalIdAuthorizationFailed("Transactions are not supported by this broker")
    return InvalidRequest(f"Coordinators of key type {key_type} are not known here")
