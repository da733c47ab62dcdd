"""
Resources that have a configuration: topics, and this broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol, TypeVar

from kafscale.errors import InvalidRequest, KafkaError
from kafscale.interfaces import IImage


class ResourceType(IntEnum):
    """
    C{ConfigResource.Type}.
    """

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


#: The codes of C{DescribeConfigsResponse.ConfigSource}, by L{TopicConfig.source}.
CONFIG_SOURCES = {"topic": 1, "broker": 4, "default": 5}


class Resource(Protocol):
    """
    A resource, as requests name it.
    """

    resource_type: int
    resource_name: str


R = TypeVar("R", bound=Resource)


def unique(resources: Sequence[R]) -> list[R]:
    """
    Each resource once, in the order in which they are named first.
    """
    found: dict[tuple[int, str], R] = {}
    for resource in resources:
        found.setdefault((resource.resource_type, resource.resource_name), resource)
    return list(found.values())


def check_broker(image: IImage, name: str) -> None:
    """
    Check that a resource is this broker: a broker knows its own settings only.

    @raise InvalidRequest: it is another one.
    """
    if name != str(image.broker_id):
        raise InvalidRequest(
            f"Unexpected broker id: this is broker {image.broker_id}, not {name[:20]!r}"
        )


def unsupported(resource_type: int) -> KafkaError:
    """
    The error for resources that have no configuration here: loggers of brokers,
    client metrics and groups.
    """
    return InvalidRequest(f"This broker has no configurations of resource type {resource_type}")
