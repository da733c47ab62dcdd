"""
Tests of the speed of compiled encoders and decoders.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.messages import ProduceRequest, ProduceResponse


class SpeedTests(SynchronousTestCase):
    """
    The speed of hot messages. The bounds are ten times above the needs of a slow machine:
    they detect a compiler that has stopped compiling.
    """

    def fastest(self, call: Callable[[], object]) -> float:
        """
        Return the seconds of the fastest of several calls.
        """
        best = 1.0
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(200):
                call()
            best = min(best, (time.perf_counter() - began) / 200)
        return best

    def test_produce(self) -> None:
        """
        A produce request with one partition, and its response.
        """
        topic = ProduceRequest.Topic
        partition = topic.Partition(index=0, records=memoryview(bytes(1000)))
        request = ProduceRequest(
            acks=-1, timeout_ms=1, topic_data=[topic(name="t", partition_data=[partition])]
        )
        frame = memoryview(b"".join(request.encode(9)))
        self.assertLess(self.fastest(lambda: ProduceRequest.decode(9, frame)), 50e-6)
        answered = ProduceResponse.Topic
        response = ProduceResponse(
            responses=[
                answered(
                    name="t", partition_responses=[answered.Partition(index=0, base_offset=1)]
                )
            ]
        )
        self.assertLess(self.fastest(lambda: response.encode(9)), 50e-6)
