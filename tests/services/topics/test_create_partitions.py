"""
CreatePartitions.
"""

from __future__ import annotations

from typing import Any

from kafscale.services.topics.create_partitions import CreatePartitionsService
from kafscale.wire.messages import CreatePartitionsRequest
from tests.services.client import ServiceCase


class CreatePartitionsTests(ServiceCase):
    """
    Adds partitions to topics.
    """

    def setUp(self) -> None:
        """
        Create the topic C{orders}, with two partitions.
        """
        super().setUp()
        self.cluster.now(self.cluster.topics.create("orders", 2, {}))
        self.image = self.cluster.image
        cluster = self.cluster
        self.serve(
            CreatePartitionsService(self.image, cluster.topics, cluster.clock, cluster.quotas)
        )

    def request(
        self,
        *names: str,
        count: int,
        assigned: list[list[int]] | None = None,
        validate_only: bool = False,
    ) -> CreatePartitionsRequest:
        """
        A request for this number of partitions for each topic.

        @param assigned: The replicas of the new partitions.
        """
        kind = CreatePartitionsRequest.Topic
        assignments = None
        if assigned is not None:
            assignments = [kind.Assignment(broker_ids=each) for each in assigned]
        topics = [kind(name=name, count=count, assignments=assignments) for name in names]
        return CreatePartitionsRequest(topics=topics, timeout_ms=1000, validate_only=validate_only)

    def ask(self, *names: str, version: int = 3, **fields: Any) -> list[int]:
        """
        The error codes. Each error has a message.
        """
        response = self.client.now(self.request(*names, **fields), version)
        for result in response.results:
            self.assertEqual(bool(result.error_message), result.error_code != 0)
        return [result.error_code for result in response.results]

    def test_quota(self) -> None:
        """
        New partitions count. What exceeds the quota is done once; from version 3 on the
        next topic is refused.
        """
        self.cluster.quotas.change((("client-id", None),), {"controller_mutation_rate": 1.0})

        def ask(version: int, count: int, **fields: Any) -> tuple[int, str | None, int]:
            response = self.client.now(self.request("orders", count=count, **fields), version)
            (result,) = response.results
            return result.error_code, result.error_message, response.throttle_time_ms

        self.assertEqual(ask(3, 100, validate_only=True), (0, None, 0))
        self.assertEqual(ask(3, 23), (0, None, 0))
        self.assertEqual(ask(3, 24), (89, None, 10_000))
        self.assertEqual(ask(3, 1)[0], 37)
        self.assertEqual(ask(2, 24), (0, None, 11_000))
        self.assertEqual(self.image.topic("orders").partitions, 24)

    def test_every_version(self) -> None:
        """
        The count is that of all partitions.
        """
        for version in self.client.versions(CreatePartitionsRequest):
            self.assertEqual(self.ask("orders", version=version, count=3 + version), [0])
            self.assertEqual(self.image.topic("orders").partitions, 3 + version)

    def test_refused(self) -> None:
        """
        Each error has its code, and no partition is added.
        """
        for names, fields, code in (
            (["none"], {"count": 3}, 3),
            (["orders"], {"count": 2}, 37),
            (["orders"], {"count": 1}, 37),
            (["orders"], {"count": 0}, 37),
            (["orders"], {"count": 2**31 - 1}, 44),
            (["orders"], {"count": 3, "assigned": []}, 39),
            (["orders"], {"count": 3, "assigned": [[99999]]}, 39),
            (["orders"], {"count": 3, "assigned": [[7, 7]]}, 39),
            (["orders"], {"count": 3, "assigned": [[7], [7]]}, 39),
            (["orders"], {"count": 2, "assigned": []}, 37),
            (["orders", "orders"], {"count": 3}, 42),
        ):
            self.assertEqual(self.ask(*names, **fields), [code])
        self.assertEqual(self.image.topic("orders").partitions, 2)

    def test_assigned(self) -> None:
        """
        The replicas of the new partitions may be assigned.
        """
        self.assertEqual(self.ask("orders", count=4, assigned=[[7], [7]], validate_only=True), [0])
        self.assertEqual(self.image.topic("orders").replicas, {})
        self.assertEqual(self.ask("orders", count=4, assigned=[[7], [7]]), [0])
        self.assertEqual(self.image.topic("orders").replicas, {2: (7,), 3: (7,)})

    def test_validate_only(self) -> None:
        """
        The request is checked, and no partition is added.
        """
        self.assertEqual(self.ask("orders", count=3, validate_only=True), [0])
        self.assertEqual(self.ask("orders", count=2, validate_only=True), [37])
        self.assertEqual(self.image.topic("orders").partitions, 2)

    def test_failed(self) -> None:
        """
        The error is with each topic, in every version.
        """
        for version in self.client.versions(CreatePartitionsRequest):
            response = self.client.failed(self.request("orders", count=3), version, -1)
            self.assertEqual([each.error_code for each in response.results], [-1])
