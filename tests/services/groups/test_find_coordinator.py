"""
FindCoordinator.
"""

from __future__ import annotations

from typing import Any

from kafscale.services.groups.find_coordinator import FindCoordinatorService
from kafscale.wire.messages import FindCoordinatorRequest
from kafscale.wire.schema import NOT_TEXT
from tests.services.client import ServiceCase


class FindCoordinatorTests(ServiceCase):
    """
    Finds the coordinator of a group.
    """

    def setUp(self) -> None:
        """
        This broker coordinates all groups.
        """
        super().setUp()
        self.serve(FindCoordinatorService(lambda group: self.cluster.image.brokers()[0]))

    def ask(self, version: int, key_type: int = 0) -> list[Any]:
        """
        The coordinators of a response. Up to version 3 there is one.
        """
        request = FindCoordinatorRequest(key="g1", key_type=key_type, coordinator_keys=["g1", "g2"])
        response = self.client.now(request, version)
        return [response] if version < 4 else list(response.coordinators)

    def test_every_version(self) -> None:
        """
        This broker coordinates every group.
        """
        for version in self.client.versions(FindCoordinatorRequest):
            found = self.ask(version)
            self.assertEqual(len(found), 1 if version < 4 else 2)
            for each in found:
                self.assertEqual(
                    (each.error_code, each.node_id, each.host, each.port),
                    (0, 7, "broker.example", 9092),
                )
            if version >= 4:
                self.assertEqual([each.key for each in found], ["g1", "g2"])

    def test_no_text(self) -> None:
        """
        A name that was not UTF-8 names no group.
        """
        request = FindCoordinatorRequest(key=NOT_TEXT, coordinator_keys=["g1", NOT_TEXT])
        self.assertEqual(self.client.now(request, 3).error_code, 24)
        codes = [each.error_code for each in self.client.now(request, 4).coordinators]
        self.assertEqual(codes, [0, 24])

    def test_transactions(self) -> None:
        """
        Error 53 with a message: after other codes clients retry for ever.
        """
        for version in range(1, 7):
            for each in self.ask(version, key_type=1):
                self.assertEqual((each.error_code, each.node_id), (53, -1))
                self.assertIn("not supported", each.error_message)

    def test_share_groups(self) -> None:
        """
        Share groups and unknown key types have no coordinator.
        """
        for key_type in (2, 3, -1):
            self.assertEqual([each.error_code for each in self.ask(6, key_type)], [42, 42])

    def test_failed(self) -> None:
        """
        The error is with each key, in every version.
        """
        request = FindCoordinatorRequest(key="g", coordinator_keys=["g"])
        for version in self.client.versions(FindCoordinatorRequest):
            response = self.client.failed(request, version, -1)
            found = response if version < 4 else response.coordinators[0]
            self.assertEqual((found.error_code, found.node_id), (-1, -1))
