"""
DeleteRecords.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from kafscale.services.records.delete_records import DeleteRecordsService
from kafscale.wire.messages import DeleteRecordsRequest
from tests.log.fakes import FakePartition
from tests.services.records.offsets import OffsetsCase


class DeleteRecordsTests(OffsetsCase):
    """
    Raises the log start offset.
    """

    def setUp(self) -> None:
        """
        A service for the partition.
        """
        super().setUp()
        cluster = self.cluster
        self.serve(
            DeleteRecordsService(cluster.image, self.log, cluster.configs, cluster.clock)
        )

    def request(
        self, offset: int, index: int = 0, name: str = "orders", timeout_ms: int = 1000
    ) -> DeleteRecordsRequest:
        """
        A request for one partition.
        """
        asked = DeleteRecordsRequest.Topic.Partition(partition_index=index, offset=offset)
        topic = DeleteRecordsRequest.Topic(name=name, partitions=[asked])
        return DeleteRecordsRequest(topics=[topic], timeout_ms=timeout_ms)

    def ask(self, offset: int, version: int = 2, **fields: Any) -> tuple[int, int]:
        """
        Error code and new log start offset.
        """
        response = self.client.now(self.request(offset, **fields), version)
        deleted = response.topics[0].partitions[0]
        return deleted.error_code, deleted.low_watermark

    def test_every_version(self) -> None:
        """
        The response has the new log start offset.
        """
        for version in self.client.versions(DeleteRecordsRequest):
            self.assertEqual(self.ask(version + 1, version), (0, version + 1))

    def test_all(self) -> None:
        """
        -1 stands for the high watermark.
        """
        self.assertEqual(self.ask(-1), (0, 4))

    def test_out_of_range(self) -> None:
        """
        An offset past the high watermark, or negative, is refused.
        """
        for offset in (5, -2):
            self.assertEqual(self.ask(offset), (1, -1))

    def test_deleted_before(self) -> None:
        """
        An offset below the log start is no error: these records are deleted.
        """
        self.assertEqual(self.ask(0), (0, 1))

    def test_refused(self) -> None:
        """
        Each error has its code.
        """
        self.log.elsewhere.add((self.topic.topic_id, 1))
        self.assertEqual(self.ask(2, name="other"), (3, -1))
        self.assertEqual(self.ask(2, index=7), (3, -1))
        self.assertEqual(self.ask(2, index=1), (6, -1))

    def test_compacted(self) -> None:
        """
        Records of a topic that is only compacted cannot be deleted, as in
        Kafka; those of a topic without a policy can.
        """
        for policy, code in (("compact", 44), ("compact,delete", 0), ("", 0)):
            name = policy.replace(",", "-") or "none"
            self.cluster.now(self.cluster.topics.create(name, 1, {"cleanup.policy": policy}))
            self.assertEqual(self.ask(0, name=name)[0], code)

    def test_timeout(self) -> None:
        """
        A request whose time is over gets REQUEST_TIMED_OUT; the deletion
        continues.
        """
        deleting: Deferred[int] = Deferred()

        class Slow(FakePartition):
            async def delete_before(self, offset: int) -> int:
                return await deleting

        self.log.partitions[self.topic.topic_id, 0] = Slow(self.topic.topic_id, 0, [])
        answer = self.client.start(self.request(2, timeout_ms=100), 2)
        self.cluster.clock.advance(0.1)
        response = self.successResultOf(answer)
        self.assertEqual(response.topics[0].partitions[0].error_code, 7)
        deleting.callback(2)

    def test_failed(self) -> None:
        """
        The error is with each partition, in every version.
        """
        for version in self.client.versions(DeleteRecordsRequest):
            response = self.client.failed(self.request(2), version, -1)
            self.assertEqual(response.topics[0].partitions[0].error_code, -1)
