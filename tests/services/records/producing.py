"""
A produce service, and requests to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, execute

from kafscale.counts import ConversionCounts
from kafscale.interfaces import AppendRules
from kafscale.services.records.produce import ProduceService
from kafscale.wire.messages import ProduceRequest
from kafscale.wire.records import Record, build_batch
from tests.log.fakes import FakeLog, FakePartition
from tests.services.client import CONNECTION, Connection, ServiceCase

BATCH = build_batch([Record(0, 1, b"key", b"value")])


class ProduceCase(ServiceCase):
    """
    A topic C{orders} of three partitions.
    """

    def setUp(self) -> None:
        """
        Create the topic and the service.
        """
        super().setUp()
        self.topic = self.cluster.now(self.cluster.topics.create("orders", 3, {}))
        self.log = FakeLog()
        self.made_rules: list[Mapping[str, str]] = []
        self.held: list[int] = []
        self.claims: dict[tuple[UUID, int], Deferred[None]] = {}
        self.conversions = ConversionCounts()
        self.run_blocking: Callable[[Callable[[], Any]], Deferred[Any]] = execute
        self.service = ProduceService(
            self.cluster.image,
            self.log,
            self.rules,
            self.cluster.clock,
            lambda function: self.run_blocking(function),
            self.held.append,
            self.conversions,
            lambda topic_id, index: self.claims.get((topic_id, index)),
        )
        self.serve(self.service)

    def rules(self, configs: Mapping[str, str]) -> AppendRules:
        """
        The rules of a topic. The call is recorded.
        """
        self.made_rules.append(configs)
        return self.cluster.configs.append_rules(configs)

    def partition(self, index: int = 0) -> FakePartition:
        """
        A partition of the topic.
        """
        return self.log.partition(self.topic.topic_id, index)

    def request(
        self,
        *parts: tuple[int, bytes | None],
        acks: int = -1,
        name: str = "orders",
        topic_id: UUID | None = None,
        transactional_id: str | None = None,
    ) -> ProduceRequest:
        """
        A request with batches for partitions of one topic.
        """
        return ProduceRequest(
            transactional_id=transactional_id,
            acks=acks,
            timeout_ms=1000,
            topic_data=[
                ProduceRequest.Topic(
                    name=name,
                    topic_id=topic_id or self.topic.topic_id,
                    partition_data=[
                        ProduceRequest.Topic.Partition(
                            index=index, records=None if data is None else memoryview(data)
                        )
                        for index, data in parts
                    ],
                )
            ],
        )

    def produce(
        self,
        *parts: tuple[int, bytes | None],
        version: int = 9,
        connection: Connection = CONNECTION,
        **kw: Any,
    ) -> Any:
        """
        Send a produce. The result is the responses of the partitions.
        """
        answer = self.client.start(self.request(*parts, **kw), version, connection)
        return answer.addCallback(lambda response: response.responses[0].partition_responses)

    def refused(self, *parts: tuple[int, bytes | None], **kw: Any) -> tuple[int, str | None]:
        """
        Error code and message of the first partition, which must come at once.
        """
        first = self.successResultOf(self.produce(*parts, **kw))[0]
        self.assertEqual((first.base_offset, first.log_start_offset), (-1, -1))
        return first.error_code, first.error_message
