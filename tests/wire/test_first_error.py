"""
Tests of `kafscale.wire.first_error`.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.first_error import first_error
from kafscale.wire.kinds import Field
from kafscale.wire.messages import (
    RESPONSES,
    FetchResponse,
    FindCoordinatorResponse,
    HeartbeatResponse,
    ProduceResponse,
    SaslHandshakeResponse,
)
from tests.wire.error_codes import codes
from tests.wire.strategies import check_with, messages


class FirstErrorTests(SynchronousTestCase):
    """
    The first error code in a response.
    """

    def test_on_top(self) -> None:
        """
        A top-level code is found.
        """
        self.assertEqual(first_error(HeartbeatResponse(error_code=27)), 27)
        self.assertEqual(first_error(HeartbeatResponse(error_code=0)), 0)
        self.assertEqual(first_error(SaslHandshakeResponse(error_code=33, mechanisms=[])), 33)

    def test_with_a_partition(self) -> None:
        """
        A code with a partition is found.
        """
        topic = ProduceResponse.Topic
        parts = [topic.Partition(index=i, error_code=code) for i, code in enumerate((0, 6, 3))]
        response = ProduceResponse(responses=[topic(name="t", partition_responses=parts)])
        self.assertEqual(first_error(response), 6)

    def test_both(self) -> None:
        """
        If a response has both, the top-level code precedes.
        """
        part = FetchResponse.Topic.Partition(
            partition_index=0, error_code=1, high_watermark=-1, records=b""
        )
        topics = [FetchResponse.Topic(topic="t", partitions=[part])]
        self.assertEqual(first_error(FetchResponse(error_code=71, responses=topics)), 71)
        self.assertEqual(first_error(FetchResponse(responses=topics)), 1)
        self.assertEqual(first_error(FetchResponse(responses=[])), 0)

    def test_negative(self) -> None:
        """
        UNKNOWN_SERVER_ERROR, which is -1, is found.
        """
        self.assertEqual(first_error(FindCoordinatorResponse(error_code=-1)), -1)

    def test_every_response(self) -> None:
        """
        In any response of any API an error code is found if there is one.
        """

        def few(field: Field) -> st.SearchStrategy[Any] | None:
            return st.sampled_from([0, 3, -1]) if field.name == "error_code" else None

        for response in RESPONSES.values():
            strategy = messages(response, response.highest, few)
            check_with(5, self.check, strategy)

    def check(self, message: Any) -> None:
        """
        Check that the result is one of the codes in the response.
        """
        expected = [code for code in codes(message) if code] or [0]
        self.assertIn(first_error(message), expected)
