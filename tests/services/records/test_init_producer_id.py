"""
InitProducerId.
"""

from __future__ import annotations

from typing import Any

from kafscale import errors
from kafscale.services.records.init_producer_id import InitProducerIdService
from kafscale.wire.messages import InitProducerIdRequest
from tests.services.client import ServiceCase


class Ids:
    """
    A source of producer ids from 5 on.
    """

    last = 4

    async def new(self) -> int:
        """
        The next id.
        """
        self.last += 1
        return self.last


class InitProducerIdTests(ServiceCase):
    """
    Gives ids to producers.
    """

    def setUp(self) -> None:
        """
        Serve ids from 5 on.
        """
        super().setUp()
        self.serve(InitProducerIdService(Ids()))  # type: ignore[arg-type]

    def request(self, **kw: Any) -> InitProducerIdRequest:
        """
        A request of a producer without transactions, but for these fields.
        """
        return InitProducerIdRequest(
            **{"transactional_id": None, "transaction_timeout_ms": -1, **kw}
        )

    def test_every_version(self) -> None:
        """
        Each request gets a new id, with epoch 0.
        """
        for number, version in enumerate(self.client.versions(InitProducerIdRequest)):
            answer = self.client.now(self.request(), version)
            self.assertEqual(
                (answer.error_code, answer.producer_id, answer.producer_epoch),
                (0, 5 + number, 0),
            )

    def test_has_an_id(self) -> None:
        """
        A producer that has an id gets a new one, too: kafka-python asks for one
        in that way.
        """
        answer = self.client.now(self.request(producer_id=3, producer_epoch=8), 3)
        self.assertEqual((answer.producer_id, answer.producer_epoch), (5, 0))

    def test_half_a_pair(self) -> None:
        """
        An id without epoch, or the other way round, is refused.
        """
        for half in ({"producer_id": 3}, {"producer_epoch": 3}):
            asked = self.client.start(self.request(**half), 4)
            self.failureResultOf(asked, errors.InvalidRequest)

    def test_transactional(self) -> None:
        """
        A transactional id is error 53; an empty one is invalid.
        """
        asked = self.client.start(self.request(transactional_id="t"), 5)
        self.failureResultOf(asked, errors.TransactionalIdAuthorizationFailed)
        asked = self.client.start(self.request(transactional_id=""), 5)
        self.failureResultOf(asked, errors.InvalidRequest)

    def test_failed(self) -> None:
        """
        The response to an error has no id.
        """
        for version in self.client.versions(InitProducerIdRequest):
            answer = self.client.failed(self.request(), version, 53)
            self.assertEqual((answer.error_code, answer.producer_id), (53, -1))
