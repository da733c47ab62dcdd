"""
Ids of topics and clusters: random UUIDs that are safe to print.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from uuid import UUID

#: Kafka's C{Uuid.ZERO_UUID} (no topic) and C{Uuid.METADATA_TOPIC_ID}.
RESERVED = frozenset({UUID(int=0), UUID(int=1)})


def base64_of(value: UUID) -> str:
    """
    Return an id as Kafka's tools print it: 22 characters of base64url.
    """
    return urlsafe_b64encode(value.bytes).rstrip(b"=").decode()


def fresh(new_id: Callable[[], UUID]) -> UUID:
    """
    Return a new id that is not reserved and whose text does not look like an option of
    a command line, as Kafka's C{org.apache.kafka.common.Uuid.randomUuid} does.

    @param new_id: Creates random UUIDs.
    """
    while True:
        value = new_id()
        if value not in RESERVED and not base64_of(value).startswith("-"):
            return value
