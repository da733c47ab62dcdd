"""
DescribeClientQuotas.
"""

from __future__ import annotations

from kafscale.services.cluster.describe_client_quotas import DescribeClientQuotasService
from kafscale.wire.messages import DescribeClientQuotasRequest
from tests.services.client import ServiceCase

EXACT, DEFAULT, ANY = range(3)


class QuotasTests(ServiceCase):
    """
    Tests of L{DescribeClientQuotasService}.
    """

    def setUp(self) -> None:
        """
        The service needs nothing.
        """
        super().setUp()
        self.serve(DescribeClientQuotasService())

    def request(self, *components: tuple[str, int, str | None]) -> DescribeClientQuotasRequest:
        """
        A request with these components: entity type, match type and name.
        """
        component = DescribeClientQuotasRequest.Component
        return DescribeClientQuotasRequest(
            components=[
                component(entity_type=entity, match_type=kind, match=name)
                for entity, kind, name in components
            ],
            strict=False,
        )

    def test_none(self) -> None:
        """
        A valid filter matches nothing.
        """
        for components in (
            (),
            (("user", ANY, None),),
            (("user", EXACT, "ann"), ("client-id", DEFAULT, None)),
            (("ip", EXACT, "10.0.0.1"),),
        ):
            for version in self.client.versions(DescribeClientQuotasRequest):
                response = self.client.now(self.request(*components), version)
                self.assertEqual((response.error_code, response.entries), (0, []))

    def test_refusals(self) -> None:
        """
        Filters that Kafka refuses are refused.
        """
        for components, code in (
            ((("", ANY, None),), 42),
            ((("user", ANY, None), ("user", ANY, None)), 42),
            ((("user", 3, None),), 42),
            ((("user", EXACT, None),), 42),
            ((("user", ANY, "ann"),), 42),
            ((("user", DEFAULT, "ann"),), 42),
            ((("ip", ANY, None), ("user", ANY, None)), 42),
            ((("topic", ANY, None),), 35),
        ):
            failure = self.failureResultOf(self.client.start(self.request(*components), 1))
            self.assertEqual(failure.value.code, code, components)

    def test_failed(self) -> None:
        """
        The error is on top of the response, and entries are null.
        """
        for version in self.client.versions(DescribeClientQuotasRequest):
            response = self.client.failed(self.request(), version, 42)
            self.assertEqual((response.error_code, response.entries), (42, None))
