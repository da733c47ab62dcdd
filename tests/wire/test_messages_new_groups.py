"""
Frames of consumer groups (KIP-848), share groups and streams groups.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.wire.messages import (
    AlterShareGroupOffsetsRequest,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    ShareAcknowledgeRequest,
    ShareGroupHeartbeatRequest,
    StreamsGroupDescribeRequest,
)

from .canonical import CanonicalTestCase


class ConsumerGroupHeartbeatTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        Null stands for an unchanged value.
        """
        frame = bytes.fromhex(
            "0044"  # api key: ConsumerGroupHeartbeat
            "0001"  # version 1
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "036731"  # group_id: "g1"
            "036d31"  # member_id: "m1"
            "00000004"  # member_epoch: 4
            "00"  # instance_id: null
            "00"  # rack_id: null
            "ffffffff"  # rebalance_timeout_ms: -1
            "00"  # subscribed_topic_names: null
            "00"  # subscribed_topic_regex: null
            "00"  # server_assignor: null
            "00"  # topic_partitions: null
            "00"  # end: no tagged fields
        )
        message = ConsumerGroupHeartbeatRequest(group_id="g1", member_id="m1", member_epoch=4)
        self.assert_request(frame, 1, message)

    def test_response(self) -> None:
        """
        A nullable structure begins with a byte.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "00"  # error_message: null
            "036d31"  # member_id: "m1"
            "00000004"  # member_epoch: 4
            "00001388"  # heartbeat_interval_ms: 5000
            "01"  # assignment: there
            "02"  # assignment topic_partitions: 1
            "0123456789abcdef0123456789abcdef"  # topic partition topic_id: 01234567-...
            "02"  # topic partition partitions: 1
            "00000000"  #  : 0
            "00"  # end of topic partition: no tagged fields
            "00"  # end of assignment: no tagged fields
            "00"  # end: no tagged fields
        )
        message = ConsumerGroupHeartbeatResponse(
            member_id="m1",
            member_epoch=4,
            heartbeat_interval_ms=5000,
            assignment=ConsumerGroupHeartbeatResponse.Assignment(
                topic_partitions=[
                    ConsumerGroupHeartbeatResponse.Assignment.TopicPartition(
                        topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef"), partitions=[0]
                    )
                ]
            ),
        )
        self.assert_response(frame, 0, message)


class ShareGroupHeartbeatTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A member joins.
        """
        frame = bytes.fromhex(
            "004c"  # api key: ShareGroupHeartbeat
            "0001"  # version 1
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "036731"  # group_id: "g1"
            "036d31"  # member_id: "m1"
            "00000000"  # member_epoch: 0
            "00"  # rack_id: null
            "02"  # subscribed_topic_names: 1
            "037431"  #  : "t1"
            "00"  # end: no tagged fields
        )
        message = ShareGroupHeartbeatRequest(
            group_id="g1", member_id="m1", member_epoch=0, subscribed_topic_names=["t1"]
        )
        self.assert_request(frame, 1, message)


class ShareAcknowledgeTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        Two records are accepted.
        """
        frame = bytes.fromhex(
            "004f"  # api key: ShareAcknowledge
            "0001"  # version 1
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "036731"  # group_id: "g1"
            "036d31"  # member_id: "m1"
            "00000001"  # share_session_epoch: 1
            "02"  # topics: 1
            "0123456789abcdef0123456789abcdef"  # topic topic_id: 01234567-...
            "02"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "02"  # partition acknowledgement_batches: 1
            "0000000000000005"  # acknowledgement batch first_offset: 5
            "0000000000000006"  # acknowledgement batch last_offset: 6
            "02"  # acknowledgement batch acknowledge_types: 1
            "01"  #  : 1
            "00"  # end of acknowledgement batch: no tagged fields
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = ShareAcknowledgeRequest(
            group_id="g1",
            member_id="m1",
            share_session_epoch=1,
            topics=[
                ShareAcknowledgeRequest.Topic(
                    topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef"),
                    partitions=[
                        ShareAcknowledgeRequest.Topic.Partition(
                            partition_index=0,
                            acknowledgement_batches=[
                                ShareAcknowledgeRequest.Topic.Partition.AcknowledgementBatch(
                                    first_offset=5, last_offset=6, acknowledge_types=[1]
                                )
                            ],
                        )
                    ],
                )
            ],
        )
        self.assert_request(frame, 1, message)


class AlterShareGroupOffsetsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A start offset is set to 5.
        """
        frame = bytes.fromhex(
            "005b"  # api key: AlterShareGroupOffsets
            "0000"  # version 0
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "036731"  # group_id: "g1"
            "02"  # topics: 1
            "037431"  # topic topic_name: "t1"
            "02"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "0000000000000005"  # partition start_offset: 5
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = AlterShareGroupOffsetsRequest(
            group_id="g1",
            topics=[
                AlterShareGroupOffsetsRequest.Topic(
                    topic_name="t1",
                    partitions=[
                        AlterShareGroupOffsetsRequest.Topic.Partition(
                            partition_index=0, start_offset=5
                        )
                    ],
                )
            ],
        )
        self.assert_request(frame, 0, message)


class StreamsGroupDescribeTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request about one group.
        """
        frame = bytes.fromhex(
            "0059"  # api key: StreamsGroupDescribe
            "0000"  # version 0
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # group_ids: 1
            "036731"  #  : "g1"
            "00"  # include_authorized_operations: false
            "00"  # end: no tagged fields
        )
        message = StreamsGroupDescribeRequest(group_ids=["g1"], include_authorized_operations=False)
        self.assert_request(frame, 0, message)
