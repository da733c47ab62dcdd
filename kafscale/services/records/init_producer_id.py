"""
InitProducerId: an id for an idempotent producer, by which the log recognizes
repeated batches.
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
    Versions 0 to 5 of InitProducerId, without transactions::

        ====  ==================================================================
        v2    flexible
        v3    the producer may state the id and epoch that it has
        v4    PRODUCER_FENCED is possible (only with transactions)
        v5    TRANSACTION_ABORTABLE is possible (only with transactions)
        ====  ==================================================================

    """

    def __init__(self, producer_ids: IProducerIds) -> None:
        """
        @param producer_ids: Gives new ids.
        """
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
        A new producer id with epoch 0, also for a producer that has one already:
        it asks because it cannot use that any longer, and an epoch is increased
        only for a transactional id.
        """
        if request.transactional_id is not None:
            if not request.transactional_id:
                raise InvalidRequest("The transactional id is empty")
            raise TransactionalIdAuthorizationFailed
        if (request.producer_id == -1) != (request.producer_epoch == -1):
            raise InvalidRequest("A producer id needs a producer epoch, and the other way round")
        producer_id = await self._producer_ids.new()
        return InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)
