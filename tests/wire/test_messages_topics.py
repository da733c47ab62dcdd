"""
Frames that create, change and delete topics.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.wire.messages import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    IncrementalAlterConfigsRequest,
)

from .canonical import CanonicalTestCase


class CreateTopicsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for one topic with a configuration.
        """
        frame = bytes.fromhex(
            "0013"  # api key: CreateTopics
            "0005"  # version 5
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # topics: 1
            "037431"  # topic name: "t1"
            "00000003"  # topic num_partitions: 3
            "ffff"  # topic replication_factor: -1
            "01"  # topic assignments: none
            "02"  # topic configs: 1
            "0d726574656e74696f6e2e6d73"  # config name: "retention.ms"
            "0531303030"  # config value: "1000"
            "00"  # end of config: no tagged fields
            "00"  # end of topic: no tagged fields
            "000005dc"  # timeout_ms: 1500
            "00"  # validate_only: false
            "00"  # end: no tagged fields
        )
        message = CreateTopicsRequest(
            topics=[
                CreateTopicsRequest.Topic(
                    name="t1",
                    num_partitions=3,
                    replication_factor=-1,
                    assignments=[],
                    configs=[CreateTopicsRequest.Topic.Config(name="retention.ms", value="1000")],
                )
            ],
            timeout_ms=1500,
        )
        self.assert_request(frame, 5, message)

    def test_response(self) -> None:
        """
        The topic already exists.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # topics: 1
            "037431"  # topic name: "t1"
            "0024"  # topic error_code: 36
            "036e6f"  # topic error_message: "no"
            "ffffffff"  # topic num_partitions: -1
            "ffff"  # topic replication_factor: -1
            "00"  # topic configs: null
            "01"  # tagged fields: 1
            "0002"  # tag 0, 2 bytes
            "001d"  # topic topic_config_error_code: 29
            "00"  # end: no tagged fields
        )
        message = CreateTopicsResponse(
            topics=[
                CreateTopicsResponse.Topic(
                    name="t1", error_code=36, error_message="no", topic_config_error_code=29
                )
            ]
        )
        self.assert_response(frame, 5, message)


class DeleteTopicsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request by name.
        """
        frame = bytes.fromhex(
            "0014"  # api key: DeleteTopics
            "0001"  # version 1
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "00000001"  # topic_names: 1
            "00027431"  #  : "t1"
            "000005dc"  # timeout_ms: 1500
        )
        message = DeleteTopicsRequest(topic_names=["t1"], timeout_ms=1500)
        self.assert_request(frame, 1, message)

    def test_newest(self) -> None:
        """
        A request by id.
        """
        frame = bytes.fromhex(
            "0014"  # api key: DeleteTopics
            "0006"  # version 6
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # topics: 1
            "00"  # topic name: null
            "0123456789abcdef0123456789abcdef"  # topic topic_id: 01234567-...
            "00"  # end of topic: no tagged fields
            "000005dc"  # timeout_ms: 1500
            "00"  # end: no tagged fields
        )
        message = DeleteTopicsRequest(
            topics=[
                DeleteTopicsRequest.Topic(
                    name=None, topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef")
                )
            ],
            timeout_ms=1500,
        )
        self.assert_request(frame, 6, message)

    def test_response(self) -> None:
        """
        A successful deletion.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # responses: 1
            "037431"  # topic name: "t1"
            "0123456789abcdef0123456789abcdef"  # topic topic_id: 01234567-...
            "0000"  # topic error_code: 0
            "00"  # topic error_message: null
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = DeleteTopicsResponse(
            responses=[
                DeleteTopicsResponse.Topic(
                    name="t1", topic_id=UUID("01234567-89ab-cdef-0123-456789abcdef")
                )
            ]
        )
        self.assert_response(frame, 6, message)


class CreatePartitionsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for six partitions in total.
        """
        frame = bytes.fromhex(
            "0025"  # api key: CreatePartitions
            "0003"  # version 3
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # topics: 1
            "037431"  # topic name: "t1"
            "00000006"  # topic count: 6
            "00"  # topic assignments: null
            "00"  # end of topic: no tagged fields
            "000005dc"  # timeout_ms: 1500
            "00"  # validate_only: false
            "00"  # end: no tagged fields
        )
        message = CreatePartitionsRequest(
            topics=[CreatePartitionsRequest.Topic(name="t1", count=6, assignments=None)],
            timeout_ms=1500,
            validate_only=False,
        )
        self.assert_request(frame, 3, message)

    def test_response(self) -> None:
        """
        A successful response.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # results: 1
            "037431"  # result name: "t1"
            "0000"  # result error_code: 0
            "00"  # result error_message: null
            "00"  # end of result: no tagged fields
            "00"  # end: no tagged fields
        )
        message = CreatePartitionsResponse(results=[CreatePartitionsResponse.Result(name="t1")])
        self.assert_response(frame, 3, message)


class DescribeConfigsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for all configurations of a topic.
        """
        frame = bytes.fromhex(
            "0020"  # api key: DescribeConfigs
            "0004"  # version 4
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # resources: 1
            "02"  # resource resource_type: 2
            "037431"  # resource resource_name: "t1"
            "00"  # resource configuration_keys: null
            "00"  # end of resource: no tagged fields
            "00"  # include_synonyms: false
            "00"  # include_documentation: false
            "00"  # end: no tagged fields
        )
        message = DescribeConfigsRequest(
            resources=[
                DescribeConfigsRequest.Resource(
                    resource_type=2, resource_name="t1", configuration_keys=None
                )
            ]
        )
        self.assert_request(frame, 4, message)

    def test_response(self) -> None:
        """
        A response with one configuration.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00000000"  # throttle_time_ms: 0
            "00000001"  # results: 1
            "0000"  # result error_code: 0
            "ffff"  # result error_message: null
            "02"  # result resource_type: 2
            "00027431"  # result resource_name: "t1"
            "00000001"  # result configs: 1
            "000c726574656e74696f6e2e6d73"  # config name: "retention.ms"
            "000431303030"  # config value: "1000"
            "00"  # config read_only: false
            "01"  # config config_source: 1
            "00"  # config is_sensitive: false
            "00000000"  # config synonyms: none
        )
        message = DescribeConfigsResponse(
            results=[
                DescribeConfigsResponse.Result(
                    resource_type=2,
                    resource_name="t1",
                    configs=[
                        DescribeConfigsResponse.Result.Config(
                            name="retention.ms",
                            value="1000",
                            read_only=False,
                            config_source=1,
                            is_sensitive=False,
                        )
                    ],
                )
            ]
        )
        self.assert_response(frame, 1, message)


class IncrementalAlterConfigsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request to set one configuration.
        """
        frame = bytes.fromhex(
            "002c"  # api key: IncrementalAlterConfigs
            "0001"  # version 1
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # resources: 1
            "02"  # resource resource_type: 2
            "037431"  # resource resource_name: "t1"
            "02"  # resource configs: 1
            "0d726574656e74696f6e2e6d73"  # config name: "retention.ms"
            "00"  # config config_operation: 0
            "0531303030"  # config value: "1000"
            "00"  # end of config: no tagged fields
            "00"  # end of resource: no tagged fields
            "00"  # validate_only: false
            "00"  # end: no tagged fields
        )
        message = IncrementalAlterConfigsRequest(
            resources=[
                IncrementalAlterConfigsRequest.Resource(
                    resource_type=2,
                    resource_name="t1",
                    configs=[
                        IncrementalAlterConfigsRequest.Resource.Config(
                            name="retention.ms", config_operation=0, value="1000"
                        )
                    ],
                )
            ],
            validate_only=False,
        )
        self.assert_request(frame, 1, message)
