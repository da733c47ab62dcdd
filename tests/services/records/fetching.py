"""
A fetch service, and requests to it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, execute

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import ConversionCounts
from kafscale.services.records.fetch import FetchService
from kafscale.services.records.message_set_conversion import DownConverter
from kafscale.wire.messages import FetchRequest
from tests.log.fakes import FakeLog, FakePartition
from tests.services.client import ServiceCase

Partition = FetchRequest.Topic.Partition


class FetchCase(ServiceCase):
    """
    A topic C{orders} of four partitions, and a consumer.
    """

    def setUp(self) -> None:
        """
        Create the topic and the service.
        """
        super().setUp()
        self.clock = self.cluster.clock
        self.topic = self.cluster.now(self.cluster.topics.create("orders", 4, {}))
        self.log = FakeLog()
        self.ids = iter(range(100, 10_000))
        self.make()

    def make(self, **limits: Any) -> None:
        """
        Let a service with these limits serve from now on.
        """
        self.conversions = ConversionCounts()
        down_converter = DownConverter(
            self.cluster.image,
            lambda configs: configs.get("message.downconversion.enable") != "false",
            WorkQueue(self.clock, execute),
            self.conversions,
        )
        self.service = FetchService(
            self.cluster.image,
            self.log,
            self.clock,
            lambda: next(self.ids),
            down_converter,
            self.cluster.quotas,
            **limits,
        )
        self.serve(self.service)

    def partition(self, index: int = 0) -> FakePartition:
        """
        A partition of the topic.
        """
        return self.log.partition(self.topic.topic_id, index)

    def request(
        self,
        *parts: Partition,
        max_wait_ms: int = 500,
        min_bytes: int = 1,
        name: str = "orders",
        topic_id: UUID | None = None,
        **fields: Any,
    ) -> FetchRequest:
        """
        A request for partitions of one topic, or for none.
        """
        topic = FetchRequest.Topic(
            topic=name, topic_id=topic_id or self.topic.topic_id, partitions=list(parts)
        )
        return FetchRequest(
            max_wait_ms=max_wait_ms,
            min_bytes=min_bytes,
            topics=[topic] if parts else [],
            **fields,
        )

    def start(self, *parts: Partition, version: int = 12, **fields: Any) -> Deferred[Any]:
        """
        Send a fetch.
        """
        return self.client.start(self.request(*parts, **fields), version)

    def fetch(self, *parts: Partition, version: int = 12, **fields: Any) -> list[Any]:
        """
        The partitions of a response that must come at once.
        """
        response = self.successResultOf(self.start(*parts, version=version, **fields))
        self.assertEqual(response.error_code, 0)
        return [part for topic in response.responses for part in topic.partitions]


def at(index: int, offset: int, max_bytes: int = 1 << 20, **fields: Any) -> Partition:
    """
    A partition of a request.
    """
    return Partition(partition=index, fetch_offset=offset, partition_max_bytes=max_bytes, **fields)
