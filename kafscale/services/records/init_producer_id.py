"""
InitProducerId: the identity by which a producer's batches are told from their
repetitions.
"""

from __future__ import annotations

from zope.interface import implementer

from kafscale.errors import InvalidRequest, TransactionalIdAuthorizationFailed
from kafscale.interfaces import IProducerIds, IProduceService, RequestContext, Serving
from kafscale.services.refusals import refusal
from kafscale.wire.messages import InitProducerIdRequest, InitProducerIdResponse


@implementer(IProduceService)
class InitProducerIdService:
    """
    Versions 0 to 5 of InitProducerId, without transactions.

    ====  ==================================================================
    v2    flexible
    v3    the producer may name the id and epoch that it has
    v4    PRODUCER_FENCED may be answered (only to transactions)
    v5    TRANSACTION_ABORTABLE may be answered (only to transactions)
    ====  ==================================================================

    """

    def __init__(self, producer_ids: IProducerIds) -> None:
        self._producer_ids = producer_ids

    def serves(self) -> list[Serving]:
        """
        InitProducerId. Version 6 is two-phase commit.
        """
        return [Serving(InitProducerIdRequest, 0, 5, self.init_producer_id, refusal())]

    async def init_producer_id(
        self, request: InitProducerIdRequest, context: RequestContext
    ) -> InitProducerIdResponse:
        """
        A new id at epoch 0, also for a producer that names the one it has: it
        asks because that one is of no use to it any more, and only with a
        transactional id is an epoch raised.
        """
        if request.transactional_id is not None:
            if not request.transactional_id:
                raise InvalidRequest("The transactional id is empty")
            raise TransactionalIdAuthorizationFailed
        if (request.producer_id == -1) != (request.producer_epoch == -1):
            raise InvalidRequest("Producer id and epoch come together, or not at all")
        producer_id = await self._producer_ids.new()
        return InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)
