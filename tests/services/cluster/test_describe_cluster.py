"""
DescribeCluster.
"""

from __future__ import annotations

from kafscale import errors
from kafscale.services.cluster.describe_cluster import DescribeClusterService
from kafscale.wire.messages import DescribeClusterRequest
from tests.cluster.small import CLUSTER_ID
from tests.services.client import ServiceCase

#: The value of the operations if the request does not ask for them.
NO_OPERATIONS = -(2**31)



class DescribeClusterTests(ServiceCase):
    """
    Describes the brokers.
    """

    def setUp(self) -> None:
        """
        There is one broker.
        """
        super().setUp()
        self.serve(DescribeClusterService(self.cluster.image))

    def test_every_version(self) -> None:
        """
        The response has brokers, controller and cluster.
        """
        for version in self.client.versions(DescribeClusterRequest):
            request = DescribeClusterRequest(include_cluster_authorized_operations=False)
            response = self.client.now(request, version)
            self.assertEqual(
                (response.error_code, response.cluster_id, response.controller_id),
                (0, CLUSTER_ID, 7),
            )
            (broker,) = response.brokers
            self.assertEqual((broker.broker_id, broker.port), (7, 9092))
            self.assertEqual(response.cluster_authorized_operations, NO_OPERATIONS)

    def test_operations(self) -> None:
        """
        On request all authorized operations.
        """
        request = DescribeClusterRequest(include_cluster_authorized_operations=True)
        self.assertEqual(self.client.now(request, 2).cluster_authorized_operations, 8096)

    def test_endpoint_types(self) -> None:
        """
        A broker has no controllers to describe; other endpoint types are
        unknown. The answer is of the type of brokers.
        """
        for kind, error in (
            (2, errors.MismatchedEndpointType),
            (0, errors.UnsupportedEndpointType),
            (3, errors.UnsupportedEndpointType),
        ):
            request = DescribeClusterRequest(
                include_cluster_authorized_operations=False, endpoint_type=kind
            )
            self.failureResultOf(self.client.start(request, 1), error)
            response = self.client.failed(request, 1, error.code)
            self.assertEqual((response.error_code, response.endpoint_type), (error.code, 1))
            self.assertEqual(response.error_message, "words")
