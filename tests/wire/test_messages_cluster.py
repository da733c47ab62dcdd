"""
Frames of APIs about the cluster.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.wire.messages import (
    AddRaftVoterRequest,
    DescribeClientQuotasResponse,
    DescribeClusterRequest,
    DescribeClusterResponse,
    DescribeLogDirsRequest,
    DescribeQuorumRequest,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    ElectLeadersRequest,
)

from .canonical import CanonicalTestCase


class DescribeClusterTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for brokers, without fenced ones.
        """
        frame = bytes.fromhex(
            "003c"  # api key: DescribeCluster
            "0002"  # version 2
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "00"  # include_cluster_authorized_operations: false
            "01"  # endpoint_type: 1
            "00"  # include_fenced_brokers: false
            "00"  # end: no tagged fields
        )
        message = DescribeClusterRequest(include_cluster_authorized_operations=False)
        self.assert_request(frame, 2, message)

    def test_response(self) -> None:
        """
        A response with one broker.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "00"  # error_message: null
            "0263"  # cluster_id: "c"
            "00000001"  # controller_id: 1
            "02"  # brokers: 1
            "00000001"  # broker broker_id: 1
            "0268"  # broker host: "h"
            "00002384"  # broker port: 9092
            "00"  # broker rack: null
            "00"  # end of broker: no tagged fields
            "80000000"  # cluster_authorized_operations: -2147483648
            "00"  # end: no tagged fields
        )
        message = DescribeClusterResponse(
            cluster_id="c",
            controller_id=1,
            brokers=[DescribeClusterResponse.Broker(broker_id=1, host="h", port=9092)],
        )
        self.assert_response(frame, 0, message)


class DescribeTopicPartitionsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for a page from the middle of a topic.
        """
        frame = bytes.fromhex(
            "004b"  # api key: DescribeTopicPartitions
            "0000"  # version 0
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # topics: 1
            "037431"  # topic name: "t1"
            "00"  # end of topic: no tagged fields
            "000007d0"  # response_partition_limit: 2000
            "01"  # cursor: there
            "037431"  # cursor topic_name: "t1"
            "00000003"  # cursor partition_index: 3
            "00"  # end of cursor: no tagged fields
            "00"  # end: no tagged fields
        )
        message = DescribeTopicPartitionsRequest(
            topics=[DescribeTopicPartitionsRequest.Topic(name="t1")],
            cursor=DescribeTopicPartitionsRequest.Cursor(topic_name="t1", partition_index=3),
        )
        self.assert_request(frame, 0, message)

    def test_response(self) -> None:
        """
        The last page has no cursor.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # topics: 1
            "0000"  # topic error_code: 0
            "037431"  # topic name: "t1"
            "0123456789abcdef0123456789abcdef"  # topic topic_id: 01234567-...
            "00"  # topic is_internal: false
            "02"  # topic partitions: 1
            "0000"  # partition error_code: 0
            "00000003"  # partition partition_index: 3
            "00000001"  # partition leader_id: 1
            "00000005"  # partition leader_epoch: 5
            "02"  # partition replica_nodes: 1
            "00000001"  #  : 1
            "02"  # partition isr_nodes: 1
            "00000001"  #  : 1
            "00"  # partition eligible_leader_replicas: null
            "00"  # partition last_known_elr: null
            "01"  # partition offline_replicas: none
            "00"  # end of partition: no tagged fields
            "80000000"  # topic topic_authorized_operations: -2147483648
            "00"  # end of topic: no tagged fields
            "ff"  # next_cursor: null
            "00"  # end: no tagged fields
        )
        message = DescribeTopicPartitionsResponse(
            topics=[
                DescribeTopicPartitionsResponse.Topic(
                    name="t1",
                    topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef"),
                    partitions=[
                        DescribeTopicPartitionsResponse.Topic.Partition(
                            partition_index=3,
                            leader_id=1,
                            leader_epoch=5,
                            replica_nodes=[1],
                            isr_nodes=[1],
                            offline_replicas=[],
                        )
                    ],
                )
            ]
        )
        self.assert_response(frame, 0, message)


class DescribeLogDirsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for all topics.
        """
        frame = bytes.fromhex(
            "0023"  # api key: DescribeLogDirs
            "0002"  # version 2
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "00"  # topics: null
            "00"  # end: no tagged fields
        )
        message = DescribeLogDirsRequest(topics=None)
        self.assert_request(frame, 2, message)


class ElectLeadersTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for the preferred leader of one partition.
        """
        frame = bytes.fromhex(
            "002b"  # api key: ElectLeaders
            "0002"  # version 2
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "00"  # election_type: 0
            "02"  # topic_partitions: 1
            "037431"  # topic partition topic: "t1"
            "02"  # topic partition partitions: 1
            "00000000"  #  : 0
            "00"  # end of topic partition: no tagged fields
            "0000ea60"  # timeout_ms: 60000
            "00"  # end: no tagged fields
        )
        message = ElectLeadersRequest(
            election_type=0,
            topic_partitions=[ElectLeadersRequest.TopicPartition(topic="t1", partitions=[0])],
        )
        self.assert_request(frame, 2, message)


class DescribeQuorumTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for the controllers.
        """
        frame = bytes.fromhex(
            "0037"  # api key: DescribeQuorum
            "0002"  # version 2
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # topics: 1
            "037431"  # topic topic_name: "t1"
            "02"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = DescribeQuorumRequest(
            topics=[
                DescribeQuorumRequest.Topic(
                    topic_name="t1",
                    partitions=[DescribeQuorumRequest.Topic.Partition(partition_index=0)],
                )
            ]
        )
        self.assert_request(frame, 2, message)


class DescribeClientQuotasTests(CanonicalTestCase):
    def test_response(self) -> None:
        """
        A response with one quota.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "00"  # error_message: null
            "02"  # entries: 1
            "02"  # entry entity: 1
            "0575736572"  # entity entity_type: "user"
            "00"  # entity entity_name: null
            "00"  # end of entity: no tagged fields
            "02"  # entry values: 1
            "0572617465"  # value key: "rate"
            "3fe0000000000000"  # value value: 0.5
            "00"  # end of value: no tagged fields
            "00"  # end of entry: no tagged fields
            "00"  # end: no tagged fields
        )
        message = DescribeClientQuotasResponse(
            entries=[
                DescribeClientQuotasResponse.Entry(
                    entity=[
                        DescribeClientQuotasResponse.Entry.Entity(
                            entity_type="user", entity_name=None
                        )
                    ],
                    values=[DescribeClientQuotasResponse.Entry.Value(key="rate", value=0.5)],
                )
            ]
        )
        self.assert_response(frame, 1, message)


class AddRaftVoterTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A voter with one address; version 1 adds when it is answered.
        """
        frame = bytes.fromhex(
            "0050"  # api key: AddRaftVoter
            "0001"  # version 1
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "0263"  # cluster_id: "c"
            "000003e8"  # timeout_ms: 1000
            "00000002"  # voter_id: 2
            "00000000000000000000000000000009"  # voter_directory_id
            "02"  # listeners: 1
            "026c"  # listener name: "l"
            "0268"  # listener host: "h"
            "2384"  # listener port: 9092
            "00"  # end of listener: no tagged fields
            "00"  # ack_when_committed: false
            "00"  # end: no tagged fields
        )
        message = AddRaftVoterRequest(
            cluster_id="c",
            timeout_ms=1000,
            voter_id=2,
            voter_directory_id=UUID(int=9),
            listeners=[AddRaftVoterRequest.Listener(name="l", host="h", port=9092)],
            ack_when_committed=False,
        )
        self.assert_request(frame, 1, message)
