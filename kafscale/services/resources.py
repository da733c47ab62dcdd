"""
What has a configuration: topics, and this broker.
"""

from __future__ import annotations

from enum import IntEnum

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
