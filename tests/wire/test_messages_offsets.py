"""
Frames of look-ups of offsets, and of the deletion of records.
"""

from __future__ import annotations

from kafscale.wire.messages import (
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
)

from .canonical import CanonicalTestCase


class ListOffsetsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for the end of one partition, with read_committed.
        """
        frame = bytes.fromhex(
            "0002"  # api key: ListOffsets
            "0004"  # version 4
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "ffffffff"  # replica_id: -1
            "01"  # isolation_level: 1
            "00000001"  # topics: 1
            "00027431"  # topic name: "t1"
            "00000001"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "ffffffff"  # partition current_leader_epoch: -1
            "ffffffffffffffff"  # partition timestamp: -1
        )
        message = ListOffsetsRequest(
            isolation_level=1,
            topics=[
                ListOffsetsRequest.Topic(
                    name="t1",
                    partitions=[
                        ListOffsetsRequest.Topic.Partition(partition_index=0, timestamp=-1)
                    ],
                )
            ],
        )
        self.assert_request(frame, 4, message)

    def test_oldest_response(self) -> None:
        """
        The response of version 0 has a list.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00000001"  # topics: 1
            "00027431"  # topic name: "t1"
            "00000001"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "0000"  # partition error_code: 0
            "00000002"  # partition old_style_offsets: 2
            "000000000000002b"  #  : 43
            "0000000000000000"  #  : 0
        )
        message = ListOffsetsResponse(
            topics=[
                ListOffsetsResponse.Topic(
                    name="t1",
                    partitions=[
                        ListOffsetsResponse.Topic.Partition(
                            partition_index=0, old_style_offsets=[43, 0]
                        )
                    ],
                )
            ]
        )
        self.assert_response(frame, 0, message)

    def test_response(self) -> None:
        """
        A response with a timestamp and its offset.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # topics: 1
            "037431"  # topic name: "t1"
            "02"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "0000"  # partition error_code: 0
            "00000000000003e8"  # partition timestamp: 1000
            "000000000000002a"  # partition offset: 42
            "00000001"  # partition leader_epoch: 1
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = ListOffsetsResponse(
            topics=[
                ListOffsetsResponse.Topic(
                    name="t1",
                    partitions=[
                        ListOffsetsResponse.Topic.Partition(
                            partition_index=0, timestamp=1000, offset=42, leader_epoch=1
                        )
                    ],
                )
            ]
        )
        self.assert_response(frame, 6, message)


class OffsetForLeaderEpochTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for the end of epoch 3.
        """
        frame = bytes.fromhex(
            "0017"  # api key: OffsetForLeaderEpoch
            "0004"  # version 4
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "ffffffff"  # replica_id: -1
            "02"  # topics: 1
            "037431"  # topic topic: "t1"
            "02"  # topic partitions: 1
            "00000000"  # partition partition: 0
            "00000005"  # partition current_leader_epoch: 5
            "00000003"  # partition leader_epoch: 3
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = OffsetForLeaderEpochRequest(
            replica_id=-1,
            topics=[
                OffsetForLeaderEpochRequest.Topic(
                    topic="t1",
                    partitions=[
                        OffsetForLeaderEpochRequest.Topic.Partition(
                            partition=0, current_leader_epoch=5, leader_epoch=3
                        )
                    ],
                )
            ],
        )
        self.assert_request(frame, 4, message)

    def test_response(self) -> None:
        """
        The epoch ended at 40.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00000000"  # throttle_time_ms: 0
            "00000001"  # topics: 1
            "00027431"  # topic topic: "t1"
            "00000001"  # topic partitions: 1
            "0000"  # partition error_code: 0
            "00000000"  # partition partition: 0
            "00000003"  # partition leader_epoch: 3
            "0000000000000028"  # partition end_offset: 40
        )
        message = OffsetForLeaderEpochResponse(
            topics=[
                OffsetForLeaderEpochResponse.Topic(
                    topic="t1",
                    partitions=[
                        OffsetForLeaderEpochResponse.Topic.Partition(
                            partition=0, leader_epoch=3, end_offset=40
                        )
                    ],
                )
            ]
        )
        self.assert_response(frame, 3, message)


class DeleteRecordsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request to delete all records below 40.
        """
        frame = bytes.fromhex(
            "0015"  # api key: DeleteRecords
            "0002"  # version 2
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # topics: 1
            "037431"  # topic name: "t1"
            "02"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "0000000000000028"  # partition offset: 40
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "000005dc"  # timeout_ms: 1500
            "00"  # end: no tagged fields
        )
        message = DeleteRecordsRequest(
            topics=[
                DeleteRecordsRequest.Topic(
                    name="t1",
                    partitions=[DeleteRecordsRequest.Topic.Partition(partition_index=0, offset=40)],
                )
            ],
            timeout_ms=1500,
        )
        self.assert_request(frame, 2, message)

    def test_response(self) -> None:
        """
        The log begins at 40.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00000000"  # throttle_time_ms: 0
            "00000001"  # topics: 1
            "00027431"  # topic name: "t1"
            "00000001"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "0000000000000028"  # partition low_watermark: 40
            "0000"  # partition error_code: 0
        )
        message = DeleteRecordsResponse(
            topics=[
                DeleteRecordsResponse.Topic(
                    name="t1",
                    partitions=[
                        DeleteRecordsResponse.Topic.Partition(partition_index=0, low_watermark=40)
                    ],
                )
            ]
        )
        self.assert_response(frame, 1, message)
