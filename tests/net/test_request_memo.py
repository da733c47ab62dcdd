"""
Tests of `kafscale.net.request_memo`, through a connection.
"""

from __future__ import annotations

import struct
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kafscale.interfaces import RequestContext
from kafscale.net.request_memo import MOST_REMEMBERED
from kafscale.wire.messages import FetchRequest, FetchResponse
from tests.net.fakes import Broker, body, framed


class RepeatedTests(SynchronousTestCase):
    """
    A consumer asks the same again.
    """

    def setUp(self) -> None:
        """
        The service answers with what C{response} is.
        """
        self.broker = Broker()
        self.asked: list[tuple[FetchRequest, RequestContext]] = []
        self.response = FetchResponse(responses=[])
        self.broker.service.fetched = self.fetched
        self.client = self.broker.connect()

    def fetched(self, request: FetchRequest, context: RequestContext) -> FetchResponse:
        """
        Answers at once.
        """
        self.asked.append((request, context))
        return self.response

    def ask(
        self, correlation_id: int, version: int = 12, client: Any = None, **fields: Any
    ) -> FetchResponse:
        """
        The answer, whose correlation id must be right.
        """
        fields = {"max_wait_ms": 500, "min_bytes": 1, "topics": [], **fields}
        client = client or self.client
        client.send(framed(FetchRequest(**fields), version, correlation_id))
        (answer,) = client.answers()
        found, response = body(answer, FetchResponse, version)
        self.assertEqual(found, correlation_id)
        self.assertIsInstance(response, FetchResponse)
        made: FetchResponse = response
        return made

    def test_same_objects(self) -> None:
        """
        The service is given the same request with the same context, whatever
        the correlation id.
        """
        for correlation_id in (1, 2, -1):
            self.ask(correlation_id)
        (first, second, third) = self.asked
        self.assertTrue(first[0] is second[0] is third[0])
        self.assertTrue(first[1] is second[1] is third[1])

    def test_other_bytes(self) -> None:
        """
        Another version or another value is another request; only the last one
        is remembered.
        """
        said: list[dict[str, Any]] = [{}, {"version": 11}, {}, {"min_bytes": 2}, {}]
        for number, fields in enumerate(said):
            self.ask(number, **fields)
        self.assertEqual([each[0].min_bytes for each in self.asked], [1, 1, 1, 2, 1])
        self.assertEqual([each[1].api_version for each in self.asked], [12, 11, 12, 12, 12])
        self.assertEqual(len({id(each[1]) for each in self.asked}), 5)

    def test_other_connection(self) -> None:
        """
        Connections have nothing in common.
        """
        self.ask(1)
        self.ask(1, client=self.broker.connect())
        self.assertIsNot(self.asked[0][1], self.asked[1][1])

    def test_large(self) -> None:
        """
        A large request is not remembered.
        """
        for correlation_id in (1, 2):
            self.ask(correlation_id, rack_id="x" * MOST_REMEMBERED)
        self.assertIsNot(self.asked[0][0], self.asked[1][0])

    def test_same_response(self) -> None:
        """
        It is sent with the new correlation id; another one is told as it is,
        also when only the version is another.
        """
        self.response = FetchResponse(session_id=5, error_code=3, responses=[])
        for correlation_id in (1, 2):
            self.assertEqual(self.ask(correlation_id), self.response)
        self.assertEqual(self.broker.dispatch.counts[1].answers, {3: 2})
        self.assertEqual(self.ask(3, version=7), self.response)
        self.response = FetchResponse(session_id=6, responses=[])
        self.assertEqual(self.ask(4, version=7), self.response)
        self.assertEqual(self.broker.dispatch.counts[1].answers, {3: 3, 0: 1})

    def test_response_that_is_not_encoded_again(self) -> None:
        """
        The bytes of the first time are sent: services may not change what they
        have answered.
        """
        self.ask(1)
        self.response.session_id = 7
        self.assertEqual(self.ask(2).session_id, 0)

    def test_length(self) -> None:
        """
        Every answer has its own length in front.
        """
        for correlation_id in (1, 2):
            self.client.send(
                framed(FetchRequest(max_wait_ms=0, min_bytes=1, topics=[]), 12, correlation_id)
            )
        data = self.client.transport.value()
        (size,) = struct.unpack_from(">i", data)
        self.assertEqual(len(data), 2 * (4 + size))
