"""
What has a configuration: topics, and this broker.
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


class Resource(Protocol):
    """
    What requests say of one.
    """

    resource_type: int
    resource_name: str


R = TypeVar("R", bound=Resource)


def unique(resources: Sequence[R]) -> list[R]:
    """
    Each resource once, where it is named first.
    """
    found: dict[tuple[int, str], R] = {}
    for one in resources:
        found.setdefault((one.resource_type, one.resource_name), one)
    return list(found.values())


def check_broker(image: IImage, name: str) -> None:
    """
    @raise InvalidRequest: it is not the name of this broker: only a broker
        itself knows how it was started.
    """
    if name != str(image.broker_id):
        raise InvalidRequest(
            f"Unexpected broker id: this is broker {image.broker_id}, not {name[:20]!r}"
        )


def not_known(kind: int) -> KafkaError:
    """
    What is told of resources that have no configuration here: the loggers of
    brokers, client metrics, groups.
    """
    return InvalidRequest(f"Resources of type {kind} have no configuration here")
