"""
DescribeCluster: the brokers of the cluster.
"""

from __future__ import annotations

from zope.interface import implementer

from kafscale.errors import MismatchedEndpointType, UnsupportedEndpointType
from kafscale.interfaces import IAdminService, IImage, RequestContext, Serving
from kafscale.services.authorized_operations import CLUSTER_OPERATIONS, NO_OPERATIONS
from kafscale.services.location import addresses
from kafscale.wire.messages import DescribeClusterRequest, DescribeClusterResponse

_BROKERS = 1
_CONTROLLERS = 2


@implementer(IAdminService)
class DescribeClusterService:
    """
    Versions 0 to 2 of DescribeCluster::

        =====  =================================================================
        v1     endpoint type: brokers or controllers (KIP-919)
        v2     fenced brokers, if the request asks for them (there are none)
        =====  =================================================================

    """

    def __init__(self, image: IImage) -> None:
        """
        @param image: Knows the brokers.
        """
        self._image = image

    def serves(self) -> list[Serving]:
        """
        DescribeCluster.
        """
        return [Serving(DescribeClusterRequest, 0, 2, self.describe_cluster, self._failed)]

    async def describe_cluster(
        self, request: DescribeClusterRequest, context: RequestContext
    ) -> DescribeClusterResponse:
        """
        The brokers. There are no controllers besides them.
        """
        if request.endpoint_type == _CONTROLLERS:
            raise MismatchedEndpointType(
                "The request asks for controllers, and was sent to a broker"
            )
        if request.endpoint_type != _BROKERS:
            raise UnsupportedEndpointType(
                f"Endpoint type {request.endpoint_type} is neither brokers nor controllers"
            )
        operations = (
            CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NO_OPERATIONS
        )
        return DescribeClusterResponse(
            cluster_id=self._image.cluster_id,
            controller_id=self._image.brokers()[0].broker_id,
            brokers=[
                DescribeClusterResponse.Broker(
                    broker_id=broker.broker_id,
                    host=host,
                    port=port,
                    rack=broker.rack,
                )
                for broker, host, port in addresses(self._image, context.session.listener.name)
            ],
            cluster_authorized_operations=operations,
        )

    def _failed(
        self, request: DescribeClusterRequest, context: RequestContext, code: int, message: str
    ) -> DescribeClusterResponse:
        return DescribeClusterResponse(
            error_code=code,
            error_message=message,
            cluster_id=self._image.cluster_id,
            brokers=[],
        )
