"""
Frames of producers.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.wire.messages import (
    DescribeProducersRequest,
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
)

from .canonical import CanonicalTestCase


class ProduceTests(CanonicalTestCase):
    def test_oldest(self) -> None:
        """
        Version 0 has topics, partitions and message sets only.
        """
        frame = bytes.fromhex(
            "0000"  # api key: Produce
            "0000"  # version 0
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "0001"  # acks: 1
            "000005dc"  # timeout_ms: 1500
            "00000001"  # topic_data: 1
            "00027431"  # topic name: "t1"
            "00000001"  # topic partition_data: 1
            "00000000"  # partition index: 0
            "00000003616263"  # partition records: b"abc"
        )
        message = ProduceRequest(
            acks=1,
            timeout_ms=1500,
            topic_data=[
                ProduceRequest.Topic(
                    name="t1",
                    partition_data=[
                        ProduceRequest.Topic.Partition(index=0, records=memoryview(b"abc"))
                    ],
                )
            ],
        )
        self.assert_request(frame, 0, message)

    def test_request(self) -> None:
        """
        Version 9 has compact lengths, which are larger by one.
        """
        frame = bytes.fromhex(
            "0000"  # api key: Produce
            "0009"  # version 9
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "00"  # transactional_id: null
            "ffff"  # acks: -1
            "000005dc"  # timeout_ms: 1500
            "02"  # topic_data: 1
            "037431"  # topic name: "t1"
            "02"  # topic partition_data: 1
            "00000000"  # partition index: 0
            "04616263"  # partition records: b"abc"
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = ProduceRequest(
            acks=-1,
            timeout_ms=1500,
            topic_data=[
                ProduceRequest.Topic(
                    name="t1",
                    partition_data=[
                        ProduceRequest.Topic.Partition(index=0, records=memoryview(b"abc"))
                    ],
                )
            ],
        )
        self.assert_request(frame, 9, message)

    def test_newest(self) -> None:
        """
        Version 13 names topics by id.
        """
        frame = bytes.fromhex(
            "0000"  # api key: Produce
            "000d"  # version 13
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "00"  # transactional_id: null
            "ffff"  # acks: -1
            "000005dc"  # timeout_ms: 1500
            "02"  # topic_data: 1
            "0123456789abcdef0123456789abcdef"  # topic topic_id: 01234567-...
            "02"  # topic partition_data: 1
            "00000000"  # partition index: 0
            "04616263"  # partition records: b"abc"
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = ProduceRequest(
            acks=-1,
            timeout_ms=1500,
            topic_data=[
                ProduceRequest.Topic(
                    topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef"),
                    partition_data=[
                        ProduceRequest.Topic.Partition(index=0, records=memoryview(b"abc"))
                    ],
                )
            ],
        )
        self.assert_request(frame, 13, message)

    def test_response(self) -> None:
        """
        A response with the offset of one partition.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "02"  # responses: 1
            "037431"  # topic name: "t1"
            "02"  # topic partition_responses: 1
            "00000000"  # partition index: 0
            "0000"  # partition error_code: 0
            "000000000000002a"  # partition base_offset: 42
            "ffffffffffffffff"  # partition log_append_time_ms: -1
            "0000000000000000"  # partition log_start_offset: 0
            "01"  # partition record_errors: none
            "00"  # partition error_message: null
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00000000"  # throttle_time_ms: 0
            "00"  # end: no tagged fields
        )
        message = ProduceResponse(
            responses=[
                ProduceResponse.Topic(
                    name="t1",
                    partition_responses=[
                        ProduceResponse.Topic.Partition(index=0, base_offset=42, log_start_offset=0)
                    ],
                )
            ]
        )
        self.assert_response(frame, 9, message)

    def test_response_with_leader(self) -> None:
        """
        From version 10 on an error can name the leader, in tagged fields.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "02"  # responses: 1
            "037431"  # topic name: "t1"
            "02"  # topic partition_responses: 1
            "00000000"  # partition index: 0
            "0006"  # partition error_code: 6
            "ffffffffffffffff"  # partition base_offset: -1
            "ffffffffffffffff"  # partition log_append_time_ms: -1
            "ffffffffffffffff"  # partition log_start_offset: -1
            "01"  # partition record_errors: none
            "00"  # partition error_message: null
            "01"  # tagged fields: 1
            "0009"  # tag 0, 9 bytes
            "00000002"  # partition current_leader leader_id: 2
            "00000005"  # partition current_leader leader_epoch: 5
            "00"  # end of partition current_leader: no tagged fields
            "00"  # end of topic: no tagged fields
            "00000000"  # throttle_time_ms: 0
            "01"  # tagged fields: 1
            "000d"  # tag 0, 13 bytes
            "02"  # node_endpoints: 1
            "00000002"  # node endpoint node_id: 2
            "0268"  # node endpoint host: "h"
            "00002384"  # node endpoint port: 9092
            "00"  # node endpoint rack: null
            "00"  # end of node endpoint: no tagged fields
        )
        message = ProduceResponse(
            responses=[
                ProduceResponse.Topic(
                    name="t1",
                    partition_responses=[
                        ProduceResponse.Topic.Partition(
                            index=0,
                            error_code=6,
                            current_leader=ProduceResponse.Topic.Partition.CurrentLeader(
                                leader_id=2, leader_epoch=5
                            ),
                        )
                    ],
                )
            ],
            node_endpoints=[ProduceResponse.NodeEndpoint(node_id=2, host="h", port=9092)],
        )
        self.assert_response(frame, 10, message)


class InitProducerIdTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request of an idempotent producer without transactions.
        """
        frame = bytes.fromhex(
            "0016"  # api key: InitProducerId
            "0004"  # version 4
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "00"  # transactional_id: null
            "0000ea60"  # transaction_timeout_ms: 60000
            "ffffffffffffffff"  # producer_id: -1
            "ffff"  # producer_epoch: -1
            "00"  # end: no tagged fields
        )
        message = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60000)
        self.assert_request(frame, 4, message)

    def test_response(self) -> None:
        """
        A response with a producer id.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "00000000000003e8"  # producer_id: 1000
            "0000"  # producer_epoch: 0
            "00"  # end: no tagged fields
        )
        message = InitProducerIdResponse(producer_id=1000, producer_epoch=0)
        self.assert_response(frame, 4, message)


class DescribeProducersTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request about one partition.
        """
        frame = bytes.fromhex(
            "003d"  # api key: DescribeProducers
            "0000"  # version 0
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # topics: 1
            "037431"  # topic name: "t1"
            "02"  # topic partition_indexes: 1
            "00000000"  #  : 0
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = DescribeProducersRequest(
            topics=[DescribeProducersRequest.Topic(name="t1", partition_indexes=[0])]
        )
        self.assert_request(frame, 0, message)
