"""
Frames by which a client bootstraps.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    MetadataRequest,
    MetadataResponse,
)

from .canonical import CanonicalTestCase


class ApiVersionsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        The first request on a connection.
        """
        frame = bytes.fromhex(
            "0012"  # api key: ApiVersions
            "0003"  # version 3
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "036d65"  # client_software_name: "me"
            "0231"  # client_software_version: "1"
            "00"  # end: no tagged fields
        )
        message = ApiVersionsRequest(client_software_name="me", client_software_version="1")
        self.assert_request(frame, 3, message)

    def test_oldest_response(self) -> None:
        """
        The response to an unknown version: an error with the supported versions.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "0023"  # error_code: 35
            "00000001"  # api_keys: 1
            "0012"  # api key api_key: 18
            "0000"  # api key min_version: 0
            "0004"  # api key max_version: 4
        )
        message = ApiVersionsResponse(
            error_code=35,
            api_keys=[ApiVersionsResponse.ApiKey(api_key=18, min_version=0, max_version=4)],
        )
        self.assert_response(frame, 0, message)

    def test_response(self) -> None:
        """
        The header has no tagged fields, although the body is flexible.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "0000"  # error_code: 0
            "03"  # api_keys: 2
            "0000"  # api key api_key: 0
            "0000"  # api key min_version: 0
            "000d"  # api key max_version: 13
            "00"  # end of api key: no tagged fields
            "0012"  # api key api_key: 18
            "0000"  # api key min_version: 0
            "0004"  # api key max_version: 4
            "00"  # end of api key: no tagged fields
            "00000000"  # throttle_time_ms: 0
            "01"  # tagged fields: 1
            "0108"  # tag 1, 8 bytes
            "0000000000000001"  # finalized_features_epoch: 1
        )
        message = ApiVersionsResponse(
            api_keys=[
                ApiVersionsResponse.ApiKey(api_key=0, min_version=0, max_version=13),
                ApiVersionsResponse.ApiKey(api_key=18, min_version=0, max_version=4),
            ],
            finalized_features_epoch=1,
        )
        self.assert_response(frame, 3, message)


    def test_request_to_one_broker(self) -> None:
        """
        From version 5 on the client names the cluster and the broker that it means.
        """
        frame = bytes.fromhex(
            "0012"  # api key: ApiVersions
            "0005"  # version 5
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "036d65"  # client_software_name: "me"
            "0231"  # client_software_version: "1"
            "0263"  # cluster_id: "c"
            "00000002"  # node_id: 2
            "00"  # end: no tagged fields
        )
        message = ApiVersionsRequest(
            client_software_name="me", client_software_version="1", cluster_id="c", node_id=2
        )
        self.assert_request(frame, 5, message)


class MetadataTests(CanonicalTestCase):
    def test_oldest(self) -> None:
        """
        In version 0 an empty list stands for all topics.
        """
        frame = bytes.fromhex(
            "0003"  # api key: Metadata
            "0000"  # version 0
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "00000000"  # topics: none
        )
        message = MetadataRequest(topics=[])
        self.assert_request(frame, 0, message)

    def test_request(self) -> None:
        """
        A request for a topic by name.
        """
        frame = bytes.fromhex(
            "0003"  # api key: Metadata
            "000c"  # version 12
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # topics: 1
            "00000000000000000000000000000000"  # topic topic_id: zero
            "037431"  # topic name: "t1"
            "00"  # end of topic: no tagged fields
            "00"  # allow_auto_topic_creation: false
            "00"  # include_topic_authorized_operations: false
            "00"  # end: no tagged fields
        )
        message = MetadataRequest(
            topics=[MetadataRequest.Topic(name="t1")], allow_auto_topic_creation=False
        )
        self.assert_request(frame, 12, message)

    def test_response(self) -> None:
        """
        A response with one broker, one topic and one partition.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00000001"  # brokers: 1
            "00000001"  # broker node_id: 1
            "000168"  # broker host: "h"
            "00002384"  # broker port: 9092
            "ffff"  # broker rack: null
            "00000001"  # controller_id: 1
            "00000001"  # topics: 1
            "0000"  # topic error_code: 0
            "00027431"  # topic name: "t1"
            "00"  # topic is_internal: false
            "00000001"  # topic partitions: 1
            "0000"  # partition error_code: 0
            "00000000"  # partition partition_index: 0
            "00000001"  # partition leader_id: 1
            "00000001"  # partition replica_nodes: 1
            "00000001"  #  : 1
            "00000001"  # partition isr_nodes: 1
            "00000001"  #  : 1
        )
        message = MetadataResponse(
            brokers=[MetadataResponse.Broker(node_id=1, host="h", port=9092)],
            controller_id=1,
            topics=[
                MetadataResponse.Topic(
                    name="t1",
                    partitions=[
                        MetadataResponse.Topic.Partition(
                            partition_index=0, leader_id=1, replica_nodes=[1], isr_nodes=[1]
                        )
                    ],
                )
            ],
        )
        self.assert_response(frame, 1, message)

    def test_newest_response(self) -> None:
        """
        The same response in the newest version.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # brokers: 1
            "00000001"  # broker node_id: 1
            "0268"  # broker host: "h"
            "00002384"  # broker port: 9092
            "0272"  # broker rack: "r"
            "00"  # end of broker: no tagged fields
            "0263"  # cluster_id: "c"
            "00000001"  # controller_id: 1
            "02"  # topics: 1
            "0000"  # topic error_code: 0
            "037431"  # topic name: "t1"
            "0123456789abcdef0123456789abcdef"  # topic topic_id: 01234567-...
            "00"  # topic is_internal: false
            "02"  # topic partitions: 1
            "0000"  # partition error_code: 0
            "00000000"  # partition partition_index: 0
            "00000001"  # partition leader_id: 1
            "00000005"  # partition leader_epoch: 5
            "02"  # partition replica_nodes: 1
            "00000001"  #  : 1
            "02"  # partition isr_nodes: 1
            "00000001"  #  : 1
            "01"  # partition offline_replicas: none
            "00"  # end of partition: no tagged fields
            "80000000"  # topic topic_authorized_operations: -2147483648
            "00"  # end of topic: no tagged fields
            "0000"  # error_code: 0
            "00"  # end: no tagged fields
        )
        message = MetadataResponse(
            brokers=[MetadataResponse.Broker(node_id=1, host="h", port=9092, rack="r")],
            cluster_id="c",
            controller_id=1,
            topics=[
                MetadataResponse.Topic(
                    name="t1",
                    topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef"),
                    partitions=[
                        MetadataResponse.Topic.Partition(
                            partition_index=0,
                            leader_id=1,
                            leader_epoch=5,
                            replica_nodes=[1],
                            isr_nodes=[1],
                        )
                    ],
                )
            ],
        )
        self.assert_response(frame, 13, message)


class FindCoordinatorTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for one group.
        """
        frame = bytes.fromhex(
            "000a"  # api key: FindCoordinator
            "0002"  # version 2
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "00026731"  # key: "g1"
            "00"  # key_type: 0
        )
        message = FindCoordinatorRequest(key="g1", key_type=0)
        self.assert_request(frame, 2, message)

    def test_newest(self) -> None:
        """
        A request for several groups.
        """
        frame = bytes.fromhex(
            "000a"  # api key: FindCoordinator
            "0004"  # version 4
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "00"  # key_type: 0
            "03"  # coordinator_keys: 2
            "036731"  #  : "g1"
            "036732"  #  : "g2"
            "00"  # end: no tagged fields
        )
        message = FindCoordinatorRequest(key_type=0, coordinator_keys=["g1", "g2"])
        self.assert_request(frame, 4, message)

    def test_response(self) -> None:
        """
        A response with one broker.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00000000"  # throttle_time_ms: 0
            "0000"  # error_code: 0
            "ffff"  # error_message: null
            "00000001"  # node_id: 1
            "000168"  # host: "h"
            "00002384"  # port: 9092
        )
        message = FindCoordinatorResponse(node_id=1, host="h", port=9092)
        self.assert_response(frame, 1, message)

    def test_newest_response(self) -> None:
        """
        A response with a broker for each group.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # coordinators: 1
            "036731"  # coordinator key: "g1"
            "00000001"  # coordinator node_id: 1
            "0268"  # coordinator host: "h"
            "00002384"  # coordinator port: 9092
            "0000"  # coordinator error_code: 0
            "00"  # coordinator error_message: null
            "00"  # end of coordinator: no tagged fields
            "00"  # end: no tagged fields
        )
        message = FindCoordinatorResponse(
            coordinators=[
                FindCoordinatorResponse.Coordinator(key="g1", node_id=1, host="h", port=9092)
            ]
        )
        self.assert_response(frame, 4, message)
