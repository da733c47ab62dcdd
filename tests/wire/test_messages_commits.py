"""
Frames of commits and of the state of groups.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.wire.messages import (
    DeleteGroupsResponse,
    DescribeGroupsResponse,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
)

from .canonical import CanonicalTestCase


class OffsetCommitTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A commit of a consumer without a group membership.
        """
        frame = bytes.fromhex(
            "0008"  # api key: OffsetCommit
            "0007"  # version 7
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "00026731"  # group_id: "g1"
            "ffffffff"  # generation_id_or_member_epoch: -1
            "0000"  # member_id: ""
            "ffff"  # group_instance_id: null
            "00000001"  # topics: 1
            "00027431"  # topic name: "t1"
            "00000001"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "000000000000002a"  # partition committed_offset: 42
            "ffffffff"  # partition committed_leader_epoch: -1
            "0000"  # partition committed_metadata: ""
        )
        message = OffsetCommitRequest(
            group_id="g1",
            topics=[
                OffsetCommitRequest.Topic(
                    name="t1",
                    partitions=[
                        OffsetCommitRequest.Topic.Partition(
                            partition_index=0, committed_offset=42, committed_metadata=""
                        )
                    ],
                )
            ],
        )
        self.assert_request(frame, 7, message)

    def test_response(self) -> None:
        """
        A successful commit.
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
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = OffsetCommitResponse(
            topics=[
                OffsetCommitResponse.Topic(
                    name="t1", partitions=[OffsetCommitResponse.Topic.Partition(partition_index=0)]
                )
            ]
        )
        self.assert_response(frame, 8, message)


class OffsetFetchTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        Null topics stand for all topics of the group.
        """
        frame = bytes.fromhex(
            "0009"  # api key: OffsetFetch
            "0007"  # version 7
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "036731"  # group_id: "g1"
            "00"  # topics: null
            "01"  # require_stable: true
            "00"  # end: no tagged fields
        )
        message = OffsetFetchRequest(group_id="g1", topics=None, require_stable=True)
        self.assert_request(frame, 7, message)

    def test_newest(self) -> None:
        """
        The newest version names topics by id.
        """
        frame = bytes.fromhex(
            "0009"  # api key: OffsetFetch
            "000a"  # version 10
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # groups: 1
            "036731"  # group group_id: "g1"
            "00"  # group member_id: null
            "ffffffff"  # group member_epoch: -1
            "02"  # group topics: 1
            "0123456789abcdef0123456789abcdef"  # topic topic_id: 01234567-...
            "02"  # topic partition_indexes: 1
            "00000000"  #  : 0
            "00"  # end of topic: no tagged fields
            "00"  # end of group: no tagged fields
            "00"  # require_stable: false
            "00"  # end: no tagged fields
        )
        message = OffsetFetchRequest(
            groups=[
                OffsetFetchRequest.Group(
                    group_id="g1",
                    topics=[
                        OffsetFetchRequest.Group.Topic(
                            topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef"),
                            partition_indexes=[0],
                        )
                    ],
                )
            ]
        )
        self.assert_request(frame, 10, message)

    def test_response(self) -> None:
        """
        Without a commit the offset is -1, without an error.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00000000"  # throttle_time_ms: 0
            "00000001"  # topics: 1
            "00027431"  # topic name: "t1"
            "00000001"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "ffffffffffffffff"  # partition committed_offset: -1
            "ffffffff"  # partition committed_leader_epoch: -1
            "0000"  # partition metadata: ""
            "0000"  # partition error_code: 0
            "0000"  # error_code: 0
        )
        message = OffsetFetchResponse(
            topics=[
                OffsetFetchResponse.Topic(
                    name="t1",
                    partitions=[
                        OffsetFetchResponse.Topic.Partition(
                            partition_index=0, committed_offset=-1, metadata=""
                        )
                    ],
                )
            ]
        )
        self.assert_response(frame, 5, message)


class DescribeGroupsTests(CanonicalTestCase):
    def test_response(self) -> None:
        """
        A response about an unknown group.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # groups: 1
            "0000"  # group error_code: 0
            "036731"  # group group_id: "g1"
            "0544656164"  # group group_state: "Dead"
            "01"  # group protocol_type: ""
            "01"  # group protocol_data: ""
            "01"  # group members: none
            "80000000"  # group authorized_operations: -2147483648
            "00"  # end of group: no tagged fields
            "00"  # end: no tagged fields
        )
        message = DescribeGroupsResponse(
            groups=[
                DescribeGroupsResponse.Group(
                    group_id="g1",
                    group_state="Dead",
                    protocol_type="",
                    protocol_data="",
                    members=[],
                )
            ]
        )
        self.assert_response(frame, 5, message)


class ListGroupsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for groups in one state.
        """
        frame = bytes.fromhex(
            "0010"  # api key: ListGroups
            "0004"  # version 4
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # states_filter: 1
            "06456d707479"  #  : "Empty"
            "00"  # end: no tagged fields
        )
        message = ListGroupsRequest(states_filter=["Empty"])
        self.assert_request(frame, 4, message)


class DeleteGroupsTests(CanonicalTestCase):
    def test_response(self) -> None:
        """
        A response with an error and its message, which version 3 adds.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # results: 1
            "036731"  # result group_id: "g1"
            "0044"  # result error_code: 68
            "046e6f74"  # result error_message: "not"
            "00"  # end of result: no tagged fields
            "00"  # end: no tagged fields
        )
        result = DeleteGroupsResponse.Result(group_id="g1", error_code=68, error_message="not")
        self.assert_response(frame, 3, DeleteGroupsResponse(results=[result]))
