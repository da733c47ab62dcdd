"""
FindCoordinator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import (
    CoordinatorNotAvailable,
    InvalidGroupId,
    InvalidRequest,
    KafkaError,
    TransactionalIdAuthorizationFailed,
    message_of,
)
from kafscale.interfaces import Broker, ICoordinationService, RequestContext, Serving
from kafscale.services.refusals import refusal
from kafscale.wire.messages import FindCoordinatorRequest, FindCoordinatorResponse
from kafscale.wire.schema import NOT_TEXT

Coordinator: TypeAlias = FindCoordinatorResponse.Coordinator

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
        @param coordinator: Returns the broker that a group is assigned to; None
            while there is none.
        """
        self._coordinator = coordinator

    def serves(self) -> list[Serving]:
        """
        FindCoordinator. librdkafka uses lz4 if it is served.
        """
        return [Serving(FindCoordinatorRequest, 0, 6, self.find_coordinator, _refuse)]

    async def find_coordinator(
        self, request: FindCoordinatorRequest, context: RequestContext
    ) -> FindCoordinatorResponse:
        """
        The broker that each group is assigned to, which all brokers compute
        alike. It may have to take the group over first, and answers
        COORDINATOR_LOAD_IN_PROGRESS until then.
        """
        error = _refusal(request.key_type)
        if error is not None:
            response: FindCoordinatorResponse = _refuse(request, context, error.code, str(error))
            return response
        listener = context.session.listener.name
        if context.api_version < 4:
            coordinator = self._find(request.key, listener)
            return FindCoordinatorResponse(
                error_code=coordinator.error_code,
                error_message=coordinator.error_message,
                node_id=coordinator.node_id,
                host=coordinator.host,
                port=coordinator.port,
            )
        return FindCoordinatorResponse(
            coordinators=[self._find(key, listener) for key in request.coordinator_keys]
        )

    def _find(self, key: str, listener: str) -> Coordinator:
        if NOT_TEXT in key:
            return _without_broker(key, InvalidGroupId())
        broker = self._coordinator(key)
        address = None if broker is None else broker.address(listener)
        if broker is None or address is None:
            error = CoordinatorNotAvailable("No broker is available to coordinate the group")
            return _without_broker(key, error)
        host, port = address
        return Coordinator(key=key, node_id=broker.broker_id, host=host, port=port)


def _without_broker(key: str, error: KafkaError) -> Coordinator:
    return Coordinator(
        key=key,
        node_id=-1,
        host="",
        port=-1,
        error_code=error.code,
        error_message=message_of(error),
    )


def _refusal(key_type: int) -> KafkaError | None:
    """
    The error for keys of this type; None if they have a coordinator.
    """
    if key_type == _GROUP:
        return None
    if key_type == _TRANSACTION:
        # Clients retry for ever after other codes.
        return TransactionalIdAuthorizationFailed("Transactions are not supported by this broker")
    return InvalidRequest(f"This broker has no coordinators for key type {key_type}")
