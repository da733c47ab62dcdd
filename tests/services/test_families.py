"""
The four families of services.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

import kafscale.services
from kafscale.interfaces import (
    APIS,
    IAdminService,
    ICoordinationService,
    IFetchService,
    IProduceService,
    IService,
)

FAMILIES = [IProduceService, IFetchService, ICoordinationService, IAdminService]


def service_classes() -> Iterator[type[Any]]:
    """
    All classes of services.
    """
    for found in walk_packages(kafscale.services.__path__, "kafscale.services."):
        module = import_module(found.name)
        for value in vars(module).values():
            is_here = isinstance(value, type) and value.__module__ == found.name
            if is_here and IService.implementedBy(value):
                yield value


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
