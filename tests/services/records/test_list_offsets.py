"""
ListOffsets and OffsetForLeaderEpoch.
"""

from __future__ import annotations

from typing import Any

from kafscale import errors
from kafscale.services.records.list_offsets import ListOffsetsService
from kafscale.wire.messages import (
    ListOffsetsRequest,
    OffsetForLeaderEpochRequest,
)
from tests.services.records.offsets import OffsetsCase


class ListOffsetsTests(OffsetsCase):
    """
    ListOffsets.

    @ivar isolation_level: Of the requests.
    """

    isolation_level = 1

    def setUp(self) -> None:
        """
        A service for the partition.
        """
        super().setUp()
        self.serve(ListOffsetsService(self.cluster.image, self.log))

    def request(
        self, timestamp: int, index: int = 0, name: str = "orders", times: int = 1, **fields: Any
    ) -> ListOffsetsRequest:
        """
        A request for one partition, or for the same several times.
        """
        query = ListOffsetsRequest.Topic.Partition(
            partition_index=index, timestamp=timestamp, **fields
        )
        topic = ListOffsetsRequest.Topic(name=name, partitions=[query] * times)
        return ListOffsetsRequest(topics=[topic], isolation_level=self.isolation_level)

    def ask(self, timestamp: int, version: int = 11, **fields: Any) -> Any:
        """
        The response for that partition.
        """
        response = self.client.now(self.request(timestamp, **fields), version)
        return response.topics[0].partitions[0]

    def place(self, timestamp: int, version: int = 11) -> tuple[int, int, int]:
        """
        Offset, timestamp and epoch of a response without error.
        """
        found = self.ask(timestamp, version)
        self.assertEqual(found.error_code, 0)
        return found.offset, found.timestamp, found.leader_epoch

    def test_ends(self) -> None:
        """
        The latest offset is the high watermark, also for read_committed, and
        the earliest the log start offset.
        """
        self.assertEqual(self.place(-1), (4, -1, 3))
        self.assertEqual(self.place(-2), (1, -1, 2))
        self.assertEqual(self.place(-4), (1, -1, 2))

    def test_committed(self) -> None:
        """
        For read_committed the log ends at the last stable offset, and records from there
        on are not found.
        """
        self.log.partition(self.topic.topic_id, 0).stable = 2
        for level, expected in (
            (1, [(2, -1, 3), (1, -1, 2), (1, 100, 2), (-1, -1, -1), (-1, -1, -1)]),
            (0, [(4, -1, 3), (1, -1, 2), (1, 100, 2), (2, 300, 2), (2, 300, 2)]),
        ):
            self.isolation_level = level
            places = [self.place(each) for each in (-1, -2, 0, 150, -3)]
            self.assertEqual(places, expected)

    def test_not_known(self) -> None:
        """
        If the last stable offset is not known the partition is opened first, but not for
        those who read uncommitted records.
        """
        partition = self.log.partition(self.topic.topic_id, 0)
        partition.stable = -1
        answer = self.client.start(self.request(-1), 11)
        self.assertNoResult(answer)
        partition.stable = 3
        partition.open()
        self.assertEqual(self.successResultOf(answer).topics[0].partitions[0].offset, 3)
        partition.stable = -1
        self.isolation_level = 0
        self.assertEqual(self.place(-1), (4, -1, 3))

    def test_largest_timestamp(self) -> None:
        """
        The first record with the largest timestamp is found.
        """
        self.assertEqual(self.place(-3), (2, 300, 2))

    def test_tiers(self) -> None:
        """
        No offset is in tiered storage, or waits for it.
        """
        self.assertEqual(self.place(-5), (-1, -1, -1))
        self.assertEqual(self.place(-6), (-1, -1, -1))

    def test_time(self) -> None:
        """
        The first record with this timestamp or a later one is found; -1 if
        there is none.
        """
        self.assertEqual(self.place(0), (1, 100, 2))  # that at 0 is below the log start
        self.assertEqual(self.place(150), (2, 300, 2))
        self.assertEqual(self.place(301), (-1, -1, -1))

    def test_empty(self) -> None:
        """
        An empty partition has no largest timestamp.
        """
        found = self.ask(-3, index=1)
        self.assertEqual((found.error_code, found.offset, found.timestamp), (0, -1, -1))

    def test_since(self) -> None:
        """
        A special timestamp that the version does not have, or that none has, is
        refused.
        """
        for timestamp, since in ((-3, 7), (-4, 8), (-5, 9), (-6, 11)):
            self.assertEqual(self.ask(timestamp, since).error_code, 0)
            self.assertEqual(self.ask(timestamp, since - 1).error_code, 35)
        for timestamp in (-7, -(2**63)):
            self.assertEqual(self.ask(timestamp).error_code, 35)

    def test_every_version(self) -> None:
        """
        From version 1 on there is one offset, from 4 on with its epoch.
        """
        for version in range(1, 12):
            found = self.place(-1, version)
            self.assertEqual(found, (4, -1, 3 if version >= 4 else -1))

    def test_old_style(self) -> None:
        """
        Version 0 has a list of offsets, the latest first, as many as requested.
        """
        for timestamp, most, offsets in (
            (-1, 1, [4]),
            (-1, 9, [4, 1]),
            (-2, 9, [1]),
            (150, 9, [2, 1]),
            (-1, 0, []),
            (-1, -5, []),
        ):
            found = self.ask(timestamp, 0, max_num_offsets=most)
            self.assertEqual(found.old_style_offsets, offsets)
        self.assertEqual(self.ask(-1, 0, index=9).old_style_offsets, [])

    def test_refused(self) -> None:
        """
        Each error has its code, and no offset.
        """
        self.log.elsewhere.add((self.topic.topic_id, 1))
        for fields, code in (
            ({"name": "other"}, 3),
            ({"index": 2}, 3),
            ({"index": -1}, 3),
            ({"index": 1}, 6),
            ({"current_leader_epoch": 2}, 74),
            ({"current_leader_epoch": 4}, 75),
            ({"times": 2}, 42),
        ):
            found = self.ask(-1, **fields)
            self.assertEqual((found.error_code, found.offset, found.timestamp), (code, -1, -1))

    def test_store_fails(self) -> None:
        """
        If the store fails, the client may retry.
        """
        self.partition.error = errors.StoreUnavailable()
        self.assertEqual(self.ask(150).error_code, 56)

    def test_failed(self) -> None:
        """
        The error is with each partition, in every version.
        """
        for version in self.client.versions(ListOffsetsRequest):
            response = self.client.failed(self.request(-1), version, -1)
            self.assertEqual(response.topics[0].partitions[0].error_code, -1)


class EpochTests(OffsetsCase):
    """
    OffsetForLeaderEpoch.
    """

    def setUp(self) -> None:
        """
        A service for the partition.
        """
        super().setUp()
        self.serve(ListOffsetsService(self.cluster.image, self.log))

    def request(
        self, epoch: int, index: int = 0, name: str = "orders", current: int = -1
    ) -> OffsetForLeaderEpochRequest:
        """
        A request for one partition.
        """
        query = OffsetForLeaderEpochRequest.Topic.Partition(
            partition=index, current_leader_epoch=current, leader_epoch=epoch
        )
        topic = OffsetForLeaderEpochRequest.Topic(topic=name, partitions=[query])
        return OffsetForLeaderEpochRequest(replica_id=-1, topics=[topic])

    def ask(self, epoch: int, version: int = 4, **fields: Any) -> tuple[int, int, int]:
        """
        Error code, epoch and end offset.
        """
        response = self.client.now(self.request(epoch, **fields), version)
        end = response.topics[0].partitions[0]
        return end.error_code, end.leader_epoch, end.end_offset

    def test_every_version(self) -> None:
        """
        The end offset is that of the log's history. From version 1 on the
        response has the epoch.
        """
        self.partition.epochs = {2: (1, 3)}
        for version in self.client.versions(OffsetForLeaderEpochRequest):
            self.assertEqual(self.ask(2, version), (0, 1 if version else -1, 3))

    def test_unknown_epoch(self) -> None:
        """
        An unknown epoch has neither an error nor an offset.
        """
        self.assertEqual(self.ask(9), (0, -1, -1))

    def test_refused(self) -> None:
        """
        Each error has its code, and no offset.
        """
        self.log.elsewhere.add((self.topic.topic_id, 1))
        self.assertEqual(self.ask(2, name="other"), (3, -1, -1))
        self.assertEqual(self.ask(2, index=2), (3, -1, -1))
        self.assertEqual(self.ask(2, index=1), (6, -1, -1))
        self.assertEqual(self.ask(2, current=2), (74, -1, -1))
        self.assertEqual(self.ask(2, current=4), (75, -1, -1))

    def test_failed(self) -> None:
        """
        The error is with each partition, in every version.
        """
        for version in self.client.versions(OffsetForLeaderEpochRequest):
            response = self.client.failed(self.request(2), version, -1)
            self.assertEqual(response.topics[0].partitions[0].error_code, -1)
