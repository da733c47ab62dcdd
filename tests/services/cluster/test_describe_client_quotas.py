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
        What each test begins with.
        """
        super().setUp()
        self.serve(DescribeClientQuotasService())

    def request(self, *components: tuple[str, int, str | None]) -> DescribeClientQuotasRequest:
        """
        For entities of which all of these hold: type, kind of match, name.
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
        Whatever is asked for in good order, there is none.
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
        What could match nothing on any broker.
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
        When the request failed, there is no list.
        """
        for version in self.client.versions(DescribeClientQuotasRequest):
            response = self.client.failed(self.request(), version, 42)
            self.assertEqual((response.error_code, response.entries), (42, None))
