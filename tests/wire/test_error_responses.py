"""
Tests of `kafscale.wire.error_responses`.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.error_responses import error_response
from kafscale.wire.messages import (
    REQUESTS,
    RESPONSES,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteTopicsRequest,
    DescribeConfigsRequest,
    FetchRequest,
    OffsetFetchRequest,
    ProduceRequest,
)
from kafscale.wire.schema import NO_UUID, Request
from tests.wire.error_codes import codes
from tests.wire.strategies import check_with, messages

ID = UUID(int=7)


class ErrorResponseTests(SynchronousTestCase):
    """
    Responses made of a request and an error.
    """

    def error(self, request: Request, version: int, **values: Any) -> Any:
        """
        Return the response with error 42, as a client decodes it.
        """
        response = error_response(request, version, 42, "words", **values)
        return type(response).decode(version, b"".join(response.encode(version)))

    def test_plain_values(self) -> None:
        """
        Plain values that the request lists become names in the response.
        """
        response = self.error(DeleteGroupsRequest(groups_names=["a", "b"]), 2)
        found = [(each.group_id, each.error_code) for each in response.results]
        self.assertEqual(found, [("a", 42), ("b", 42)])

    def test_several_identities(self) -> None:
        """
        All fields that identify an element are repeated, and no others.
        """
        resource = DescribeConfigsRequest.Resource(
            resource_type=2, resource_name="t", configuration_keys=["retention.ms"]
        )
        (found,) = self.error(DescribeConfigsRequest(resources=[resource]), 4).results
        self.assertEqual((found.resource_type, found.resource_name), (2, "t"))
        self.assertEqual((found.error_code, found.error_message), (42, "words"))
        self.assertEqual(found.configs, [])

    def test_partitions(self) -> None:
        """
        Topics and partitions are repeated if the code is with each partition. Other fields
        have the values that stand for "none".
        """
        partition = ProduceRequest.Topic.Partition(index=3, records=None)
        topic = ProduceRequest.Topic(name="t", topic_id=ID, partition_data=[partition])
        for version in range(14):
            request = ProduceRequest(acks=1, timeout_ms=0, topic_data=[topic])
            (found,) = self.error(request, version).responses
            names = ("", ID) if version >= 13 else ("t", NO_UUID)
            self.assertEqual((found.name, found.topic_id), names)
            (answer,) = found.partition_responses
            self.assertEqual((answer.index, answer.error_code, answer.base_offset), (3, 42, -1))

    def test_code_on_top(self) -> None:
        """
        In versions with a top-level code, lists are empty.
        """
        partition = FetchRequest.Topic.Partition(
            partition=3, fetch_offset=0, partition_max_bytes=1
        )
        topic = FetchRequest.Topic(topic="t", partitions=[partition])
        request = FetchRequest(max_wait_ms=0, min_bytes=0, topics=[topic])
        (found,) = self.error(request, 6).responses
        (answer,) = found.partitions
        self.assertEqual((found.topic, answer.partition_index, answer.error_code), ("t", 3, 42))
        self.assertEqual(answer.high_watermark, -1)
        response = self.error(request, 7)
        self.assertEqual((response.error_code, response.responses), (42, []))

    def test_lists_of_the_version(self) -> None:
        """
        The list of the request may differ between versions.
        """
        topics = [DeleteTopicsRequest.Topic(name=None, topic_id=ID)]
        request = DeleteTopicsRequest(topics=topics, topic_names=["a"], timeout_ms=0)
        (found,) = self.error(request, 5).responses
        self.assertEqual((found.name, found.error_code), ("a", 42))
        (found,) = self.error(request, 6).responses
        self.assertEqual((found.name, found.topic_id, found.error_code), (None, ID, 42))

    def test_null_list(self) -> None:
        """
        A request with a null list gets an empty list.
        """
        response = self.error(OffsetFetchRequest(group_id="g", topics=None), 7)
        self.assertEqual((response.error_code, response.topics), (42, []))

    def test_values(self) -> None:
        """
        Further values apply at any level.
        """
        partitions = [OffsetFetchRequest.Topic(name="t", partition_indexes=[4])]
        request = OffsetFetchRequest(group_id="g", topics=partitions)
        (topic,) = self.error(request, 1, committed_offset=-1, metadata="").topics
        (found,) = topic.partitions
        self.assertEqual((found.partition_index, found.error_code), (4, 42))
        self.assertEqual((found.committed_offset, found.metadata), (-1, ""))

    def test_defaults(self) -> None:
        """
        A field that the request has, too, but that identifies no element, has its default.
        """
        topic = CreateTopicsRequest.Topic(
            name="t", num_partitions=12, replication_factor=3, assignments=[], configs=[]
        )
        (found,) = self.error(CreateTopicsRequest(topics=[topic], timeout_ms=0), 7).topics
        self.assertEqual((found.name, found.num_partitions), ("t", -1))

    def test_every_request(self) -> None:
        """
        The response to any request of any version can be encoded. If it has a top-level
        code, that is the error, and there are no other codes.
        """
        for key, request in REQUESTS.items():
            if key in RESPONSES:
                for version in range(request.lowest, request.highest + 1):
                    check = partial(self.check_codes, version)
                    check_with(2, check, messages(request, version))

    def check_codes(self, version: int, request: Request) -> None:
        """
        Check that the response has the top-level code, if it has that field.
        """
        response = self.error(request, version)
        for field in response.fields:
            if field.name == "error_code" and version in field.versions:
                self.assertEqual(response.error_code, 42)
        self.assertLessEqual(set(codes(response)), {0, 42})
