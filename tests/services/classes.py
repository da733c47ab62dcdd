"""
The services, found in their packages.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import kafscale.services
from kafscale.interfaces import IService


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
