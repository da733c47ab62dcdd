"""
Frames of Fetch.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.wire.messages import (
    FetchRequest,
    FetchResponse,
)

from .canonical import CanonicalTestCase


class FetchTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A full fetch, as librdkafka sends it.
        """
        frame = bytes.fromhex(
            "0001"  # api key: Fetch
            "000b"  # version 11
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "ffffffff"  # replica_id: -1
            "000001f4"  # max_wait_ms: 500
            "00000001"  # min_bytes: 1
            "03200000"  # max_bytes: 52428800
            "01"  # isolation_level: 1
            "00000000"  # session_id: 0
            "ffffffff"  # session_epoch: -1
            "00000001"  # topics: 1
            "00027431"  # topic topic: "t1"
            "00000001"  # topic partitions: 1
            "00000000"  # partition partition: 0
            "ffffffff"  # partition current_leader_epoch: -1
            "000000000000002a"  # partition fetch_offset: 42
            "ffffffffffffffff"  # partition log_start_offset: -1
            "00100000"  # partition partition_max_bytes: 1048576
            "00000000"  # forgotten_topics_data: none
            "0000"  # rack_id: ""
        )
        message = FetchRequest(
            max_wait_ms=500,
            min_bytes=1,
            max_bytes=52428800,
            isolation_level=1,
            session_id=0,
            session_epoch=-1,
            topics=[
                FetchRequest.Topic(
                    topic="t1",
                    partitions=[
                        FetchRequest.Topic.Partition(
                            partition=0, fetch_offset=42, partition_max_bytes=1048576
                        )
                    ],
                )
            ],
        )
        self.assert_request(frame, 11, message)

    def test_newest(self) -> None:
        """
        Version 18 has the fields of followers among the tagged fields.
        """
        frame = bytes.fromhex(
            "0001"  # api key: Fetch
            "0012"  # version 18
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "000001f4"  # max_wait_ms: 500
            "00000001"  # min_bytes: 1
            "03200000"  # max_bytes: 52428800
            "01"  # isolation_level: 1
            "00000009"  # session_id: 9
            "00000003"  # session_epoch: 3
            "02"  # topics: 1
            "0123456789abcdef0123456789abcdef"  # topic topic_id: 01234567-...
            "02"  # topic partitions: 1
            "00000000"  # partition partition: 0
            "ffffffff"  # partition current_leader_epoch: -1
            "000000000000002a"  # partition fetch_offset: 42
            "ffffffff"  # partition last_fetched_epoch: -1
            "ffffffffffffffff"  # partition log_start_offset: -1
            "00100000"  # partition partition_max_bytes: 1048576
            "01"  # tagged fields: 1
            "0108"  # tag 1, 8 bytes
            "0000000000000028"  # partition high_watermark: 40
            "00"  # end of topic: no tagged fields
            "02"  # forgotten_topics_data: 1
            "0123456789abcdef0123456789abcdef"  # forgotten topic topic_id: 01234567-...
            "03"  # forgotten topic partitions: 2
            "00000001"  #  : 1
            "00000002"  #  : 2
            "00"  # end of forgotten topic: no tagged fields
            "01"  # rack_id: ""
            "00"  # end: no tagged fields
        )
        message = FetchRequest(
            max_wait_ms=500,
            min_bytes=1,
            max_bytes=52428800,
            isolation_level=1,
            session_id=9,
            session_epoch=3,
            topics=[
                FetchRequest.Topic(
                    topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef"),
                    partitions=[
                        FetchRequest.Topic.Partition(
                            partition=0,
                            fetch_offset=42,
                            partition_max_bytes=1048576,
                            high_watermark=40,
                        )
                    ],
                )
            ],
            forgotten_topics_data=[
                FetchRequest.ForgottenTopic(
                    topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef"), partitions=[1, 2]
                )
            ],
        )
        self.assert_request(frame, 18, message)

    def test_response(self) -> None:
        """
        A response with records of one partition.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "00000000"  # session_id: 0
            "00000001"  # responses: 1
            "00027431"  # topic topic: "t1"
            "00000001"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "0000"  # partition error_code: 0
            "000000000000002b"  # partition high_watermark: 43
            "000000000000002b"  # partition last_stable_offset: 43
            "0000000000000000"  # partition log_start_offset: 0
            "ffffffff"  # partition aborted_transactions: null
            "ffffffff"  # partition preferred_read_replica: -1
            "00000003616263"  # partition records: b"abc"
        )
        message = FetchResponse(
            session_id=0,
            responses=[
                FetchResponse.Topic(
                    topic="t1",
                    partitions=[
                        FetchResponse.Topic.Partition(
                            partition_index=0,
                            high_watermark=43,
                            last_stable_offset=43,
                            log_start_offset=0,
                            records=b"abc",
                        )
                    ],
                )
            ],
        )
        self.assert_response(frame, 11, message)

    def test_response_diverging(self) -> None:
        """
        The diverging epoch is a tagged field.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "00000000"  # session_id: 0
            "02"  # responses: 1
            "037431"  # topic topic: "t1"
            "02"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "0000"  # partition error_code: 0
            "000000000000002b"  # partition high_watermark: 43
            "000000000000002b"  # partition last_stable_offset: 43
            "0000000000000000"  # partition log_start_offset: 0
            "00"  # partition aborted_transactions: null
            "ffffffff"  # partition preferred_read_replica: -1
            "01"  # partition records: b""
            "01"  # tagged fields: 1
            "000d"  # tag 0, 13 bytes
            "00000003"  # partition diverging_epoch epoch: 3
            "0000000000000028"  # partition diverging_epoch end_offset: 40
            "00"  # end of partition diverging_epoch: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = FetchResponse(
            session_id=0,
            responses=[
                FetchResponse.Topic(
                    topic="t1",
                    partitions=[
                        FetchResponse.Topic.Partition(
                            partition_index=0,
                            high_watermark=43,
                            last_stable_offset=43,
                            log_start_offset=0,
                            diverging_epoch=FetchResponse.Topic.Partition.DivergingEpoch(
                                epoch=3, end_offset=40
                            ),
                        )
                    ],
                )
            ],
        )
        self.assert_response(frame, 12, message)
