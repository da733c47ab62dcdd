"""
Tests of `kafscale.services.location`: the addresses that clients are given.
"""

from __future__ import annotations

from typing import Any

from kafscale.access.open_sessions import OpenSession
from kafscale.interfaces import Broker, Listener, SecurityProtocol
from kafscale.services.cluster.describe_cluster import DescribeClusterService
from kafscale.services.groups.find_coordinator import FindCoordinatorService
from kafscale.services.location import endpoints
from kafscale.services.topics.metadata import MetadataService
from kafscale.wire.messages import (
    DescribeClusterRequest,
    FetchResponse,
    FindCoordinatorRequest,
    MetadataRequest,
)
from tests.services.client import ServiceCase


class AddressTests(ServiceCase):
    """
    Each client is given the addresses of the listener that it has connected to.
    """

    def setUp(self) -> None:
        """
        Broker 7 has one listener without a name, 8 has two, and 9 has one.
        """
        super().setUp()
        both = ("PLAINTEXT", "inside", 1), ("OUTSIDE", "outside", 2)
        self.cluster.put_broker(Broker(8, "inside", 1, listeners=both))
        self.cluster.put_broker(Broker(9, "nine", 3, listeners=(("OUTSIDE", "nine", 3),)))
        self.serve(
            MetadataService(self.cluster.image, self.cluster.topics, False, 1),
            DescribeClusterService(self.cluster.image),
            FindCoordinatorService(
                lambda group: self.cluster.image.brokers()[int(group)]
            ),
        )

    def come_by(self, name: str) -> None:
        """
        The client comes by this listener from now on.
        """
        self.client.session = OpenSession(Listener(name, SecurityProtocol.PLAINTEXT))

    def test_lists(self) -> None:
        """
        Metadata and DescribeCluster list the brokers that have the listener.
        """
        for listener, expected in (
            ("PLAINTEXT", [(7, "broker.example", 9092), (8, "inside", 1)]),
            ("SSL", [(7, "broker.example", 9092)]),
            ("OUTSIDE", [(8, "outside", 2), (9, "nine", 3)]),
            ("NEW", []),
        ):
            self.come_by(listener)
            for version in (0, 13):
                metadata = self.client.now(MetadataRequest(topics=[]), version)
                found = [(each.node_id, each.host, each.port) for each in metadata.brokers]
                self.assertEqual(found, expected)
            request = DescribeClusterRequest(include_cluster_authorized_operations=False)
            cluster = self.client.now(request, 2)
            found = [(each.broker_id, each.host, each.port) for each in cluster.brokers]
            self.assertEqual(found, expected)

    def test_coordinator(self) -> None:
        """
        A coordinator without the listener is not available to its clients.
        """

        def found(listener: str) -> list[tuple[Any, ...]]:
            self.come_by(listener)
            request = FindCoordinatorRequest(coordinator_keys=["0", "1", "2"])
            answers = self.client.now(request, 6).coordinators
            return [(each.error_code, each.host, each.port) for each in answers]

        self.assertEqual(
            found("PLAINTEXT"), [(0, "broker.example", 9092), (0, "inside", 1), (15, "", -1)]
        )
        self.assertEqual(found("OUTSIDE"), [(15, "", -1), (0, "outside", 2), (0, "nine", 3)])

    def test_endpoints(self) -> None:
        """
        Of the brokers that a response names, those that have the listener.
        """
        made = endpoints(self.cluster.image, FetchResponse.NodeEndpoint, [7, 8], "OUTSIDE")
        found = [(each.node_id, each.host, each.port) for each in made]
        self.assertEqual(found, [(8, "outside", 2)])
