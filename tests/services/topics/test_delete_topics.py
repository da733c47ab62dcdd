"""
DeleteTopics.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kafscale.services.topics.delete_topics import DeleteTopicsService
from kafscale.wire.messages import DeleteTopicsRequest
from kafscale.wire.schema import NO_UUID
from tests.services.client import ServiceCase


class DeleteTopicsTests(ServiceCase):
    """
    Deletes topics.
    """

    def setUp(self) -> None:
        """
        Create the topics C{a} and C{b}.
        """
        super().setUp()
        for name in ("a", "b"):
            self.cluster.now(self.cluster.topics.create(name, 1, {}))
        self.image = self.cluster.image
        cluster = self.cluster
        self.serve(
            DeleteTopicsService(self.image, cluster.topics, cluster.clock, cluster.quotas)
        )

    def names(self) -> list[str]:
        """
        The topics that exist.
        """
        return [topic.name for topic in self.image.topics()]

    def request(self, version: int, *topics: str | UUID | tuple[str, UUID]) -> DeleteTopicsRequest:
        """
        A request for topics by name, by id, or by both.
        """
        if version < 6:
            return DeleteTopicsRequest(topic_names=[str(each) for each in topics], timeout_ms=1000)
        states = []
        for each in topics:
            if isinstance(each, UUID):
                states.append(DeleteTopicsRequest.Topic(topic_id=each))
            elif isinstance(each, str):
                states.append(DeleteTopicsRequest.Topic(name=each))
            else:
                states.append(DeleteTopicsRequest.Topic(name=each[0], topic_id=each[1]))
        return DeleteTopicsRequest(topics=states, timeout_ms=1000)

    def ask(self, version: int, *topics: str | UUID | tuple[str, UUID]) -> list[Any]:
        """
        The results.
        """
        return list(self.client.now(self.request(version, *topics), version).responses)

    def test_quota(self) -> None:
        """
        Each partition of a topic counts. What exceeds the quota is done once; from
        version 5 on the next topic is refused until the debt is paid.
        """
        topic = self.cluster.now(self.cluster.topics.create("c", 21, {}))
        self.cluster.quotas.change((("user", "ANONYMOUS"),), {"controller_mutation_rate": 1.0})
        lenient = self.client.now(self.request(4, "a", "none"), 4)
        self.assertEqual(lenient.throttle_time_ms, 0)
        response = self.client.now(self.request(6, topic.topic_id), 6)
        self.assertEqual((response.responses[0].error_code, response.throttle_time_ms), (0, 0))
        response = self.client.now(self.request(6, "b"), 6)
        (refused,) = response.responses
        self.assertEqual((refused.error_code, refused.error_message), (89, None))
        self.assertEqual(response.throttle_time_ms, 11_000)
        self.assertEqual(self.names(), ["b"])
        response = self.client.now(self.request(4, "b"), 4)
        self.assertEqual(response.responses[0].error_code, 0)
        self.assertEqual(response.throttle_time_ms, 12_000)

    def test_every_version(self) -> None:
        """
        The topic does not exist any more when it is answered.
        """
        for version in self.client.versions(DeleteTopicsRequest):
            name = f"v{version}"
            topic = self.cluster.now(self.cluster.topics.create(name, 1, {}))
            (result,) = self.ask(version, name)
            self.assertEqual((result.error_code, result.name), (0, name))
            self.assertEqual(result.topic_id, topic.topic_id if version >= 6 else NO_UUID)
            self.assertEqual(self.names(), ["a", "b"])

    def test_by_id(self) -> None:
        """
        The result has the name.
        """
        (result,) = self.ask(6, self.image.topic("a").topic_id)
        self.assertEqual((result.error_code, result.name), (0, "a"))
        self.assertEqual(self.names(), ["b"])

    def test_unknown(self) -> None:
        """
        An unknown name is error 3, an unknown id 100. Other topics are deleted.
        """
        results = self.ask(6, "none", UUID(int=9), "a")
        self.assertEqual([each.error_code for each in results], [3, 100, 0])
        self.assertEqual([each.name for each in results], ["none", None, "a"])

    def test_invalid(self) -> None:
        """
        A topic needs either a name or an id.
        """
        both = ("a", self.image.topic("a").topic_id)
        results = self.ask(6, both, NO_UUID)
        self.assertEqual([each.error_code for each in results], [42, 42])
        self.assertEqual(self.names(), ["a", "b"])

    def test_named_twice(self) -> None:
        """
        A topic that is named twice is not deleted, and has one result.
        """
        results = self.ask(5, "a", "a")
        self.assertEqual([each.error_code for each in results], [42])
        self.assertEqual(self.names(), ["a", "b"])

    def test_failed(self) -> None:
        """
        The error is with each topic, in every version.
        """
        for version in self.client.versions(DeleteTopicsRequest):
            response = self.client.failed(self.request(version, "a"), version, -1)
            self.assertEqual([each.error_code for each in response.responses], [-1])
