"""
The four families of services.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from kafscale.interfaces import (
    APIS,
    IAdminService,
    ICoordinationService,
    IFetchService,
    IProduceService,
)
from tests.services.classes import service_classes

FAMILIES = [IProduceService, IFetchService, ICoordinationService, IAdminService]


class FamilyTests(SynchronousTestCase):
    """
    Each service belongs to one family, and so does each API.
    """

    def test_apis(self) -> None:
        """
        The tagged values of the families are the APIs that their services
        serve.
        """
        served: dict[object, list[str]] = {family: [] for family in FAMILIES}
        for service in service_classes():
            (family,) = [each for each in FAMILIES if each.implementedBy(service)]
            self.assertTrue(verifyClass(family, service))
            for serving in object.__new__(service).serves():  # it needs no constructor for that
                served[family].append(serving.request.__name__.removesuffix("Request"))
        for family in FAMILIES:
            self.assertEqual(sorted(served[family]), sorted(family.getTaggedValue(APIS)))
