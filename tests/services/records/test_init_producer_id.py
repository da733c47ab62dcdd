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
    Producer ids from 5 on.
    """

    last = 4

    async def new(self) -> int:
        """
        The next one.
        """
        self.last += 1
        return self.last


class InitProducerIdTests(ServiceCase):
    """
    Who a producer is.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        super().setUp()
        self.serve(InitProducerIdService(Ids()))  # type: ignore[arg-type]

    def request(self, **kw: Any) -> InitProducerIdRequest:
        """
        Of a producer without transactions, unless said otherwise.
        """
        return InitProducerIdRequest(
            **{"transactional_id": None, "transaction_timeout_ms": -1, **kw}
        )

    def test_every_version(self) -> None:
        """
        Each time a new id, at epoch 0.
        """
        for number, version in enumerate(self.client.versions(InitProducerIdRequest)):
            answer = self.client.now(self.request(), version)
            self.assertEqual(
                (answer.error_code, answer.producer_id, answer.producer_epoch),
                (0, 5 + number, 0),
            )

    def test_names_its_id(self) -> None:
        """
        A new id also for who has one: kafka-python's way to a new epoch.
        """
        answer = self.client.now(self.request(producer_id=3, producer_epoch=8), 3)
        self.assertEqual((answer.producer_id, answer.producer_epoch), (5, 0))

    def test_half_a_pair(self) -> None:
        """
        Id and epoch come together.
        """
        for half in ({"producer_id": 3}, {"producer_epoch": 3}):
            asked = self.client.start(self.request(**half), 4)
            self.failureResultOf(asked, errors.InvalidRequest)

    def test_transactional(self) -> None:
        """
        53; and an empty id makes no sense.
        """
        asked = self.client.start(self.request(transactional_id="t"), 5)
        self.failureResultOf(asked, errors.TransactionalIdAuthorizationFailed)
        asked = self.client.start(self.request(transactional_id=""), 5)
        self.failureResultOf(asked, errors.InvalidRequest)

    def test_failed(self) -> None:
        """
        An error comes without an id.
        """
        for version in self.client.versions(InitProducerIdRequest):
            answer = self.client.failed(self.request(), version, 53)
            self.assertEqual((answer.error_code, answer.producer_id), (53, -1))
