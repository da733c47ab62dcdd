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
    StreamsGroupDescribeResponse,
    StreamsGroupHeartbeatResponse,
    StreamsGroupTopologyDescriptionUpdateRequest,
    TopologyDescription,
    TopologyNode,
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

    def test_response(self) -> None:
        """
        A response with a described topology, which version 1 adds.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # groups: 1
            "0000"  # group error_code: 0
            "00"  # group error_message: null
            "036731"  # group group_id: "g1"
            "01"  # group group_state: ""
            "00000001"  # group group_epoch: 1
            "00000001"  # group assignment_epoch: 1
            "ff"  # group topology: null
            "01"  # group members: none
            "80000000"  # group authorized_operations: -2147483648
            "01"  # group topology_description: present
            "02"  # subtopologies: 1
            "0230"  # subtopology subtopology_id: "0"
            "02"  # subtopology nodes: 1
            "026e"  # node name: "n"
            "03"  # node node_type: 3
            "01"  # node source_topics: none
            "037431"  # node sink_topic: "t1"
            "01"  # node stores: none
            "01"  # node successors: none
            "00"  # end of node: no tagged fields
            "00"  # end of subtopology: no tagged fields
            "01"  # global_stores: none
            "00"  # end of topology_description: no tagged fields
            "03"  # group topology_description_status: 3
            "0261"  # group assignor_name: "a"
            "00"  # end of group: no tagged fields
            "00"  # end: no tagged fields
        )
        node = TopologyNode(
            name="n", node_type=3, source_topics=[], sink_topic="t1", stores=[], successors=[]
        )
        described = TopologyDescription(
            subtopologies=[TopologyDescription.Subtopology(subtopology_id="0", nodes=[node])],
            global_stores=[],
        )
        group = StreamsGroupDescribeResponse.Group(
            group_id="g1",
            group_state="",
            group_epoch=1,
            assignment_epoch=1,
            members=[],
            topology_description=described,
            topology_description_status=3,
            assignor_name="a",
        )
        self.assert_response(frame, 1, StreamsGroupDescribeResponse(groups=[group]))


class StreamsGroupHeartbeatTests(CanonicalTestCase):
    def test_response(self) -> None:
        """
        A response of version 1, in which the lag has 64 bits and another place.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "00"  # error_message: null
            "026d"  # member_id: "m"
            "00000001"  # member_epoch: 1
            "00001388"  # heartbeat_interval_ms: 5000
            "0000ea60"  # task_offset_interval_ms: 60000
            "0000000000002710"  # acceptable_recovery_lag: 10000
            "00"  # status: null
            "00"  # active_tasks: null
            "00"  # standby_tasks: null
            "00"  # warmup_tasks: null
            "01"  # topology_description_required: true
            "00000002"  # endpoint_information_epoch: 2
            "00"  # partitions_by_user_endpoint: null
            "00"  # end: no tagged fields
        )
        message = StreamsGroupHeartbeatResponse(
            member_id="m",
            member_epoch=1,
            heartbeat_interval_ms=5000,
            task_offset_interval_ms=60000,
            acceptable_recovery_lag=10000,
            status=None,
            topology_description_required=True,
            endpoint_information_epoch=2,
        )
        self.assert_response(frame, 1, message)


class StreamsGroupTopologyDescriptionUpdateTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A description without contents.
        """
        frame = bytes.fromhex(
            "005d"  # api key: StreamsGroupTopologyDescriptionUpdate
            "0000"  # version 0
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "036731"  # group_id: "g1"
            "026d"  # member_id: "m"
            "00000005"  # topology_epoch: 5
            "01"  # subtopologies: none
            "01"  # global_stores: none
            "00"  # end of topology_description: no tagged fields
            "00"  # end: no tagged fields
        )
        message = StreamsGroupTopologyDescriptionUpdateRequest(
            group_id="g1",
            member_id="m",
            topology_epoch=5,
            topology_description=TopologyDescription(subtopologies=[], global_stores=[]),
        )
        self.assert_request(frame, 0, message)
