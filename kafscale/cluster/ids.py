"""
Ids of topics and clusters: random, and fit for everything that prints them.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from uuid import UUID

#: Kafka gives these two a meaning of their own: no topic, and the metadata log.
RESERVED = frozenset({UUID(int=0), UUID(int=1)})


def base64_of(value: UUID) -> str:
    """
    An id as Kafka's tools print it: 22 characters of base64url.
    """
    return urlsafe_b64encode(value.bytes).rstrip(b"=").decode()


def fresh(new_id: Callable[[], UUID]) -> UUID:
    """
    The first id of C{new_id} that is not reserved and whose text cannot be
    taken for an option of a command line (``org.apache.kafka.common.Uuid``).
    """
    while True:
        value = new_id()
        if value not in RESERVED and not base64_of(value).startswith("-"):
            return value
