"""
The topics that the members of a group subscribe to.

Only the metadata of protocol type C{consumer} is decoded
(C{ConsumerProtocolSubscription}). Connect, Schema Registry and others have
formats of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from kafscale.group.group import Group
from kafscale.wire.messages import ConsumerProtocolSubscription
from kafscale.wire.schema import MalformedMessage

CONSUMER = "consumer"


def subscribed(group: Group) -> frozenset[str] | None:
    """
    The names of the topics; None if the metadata cannot be decoded.
    """
    members = group.members.all()
    if not members:
        return frozenset()
    if group.protocol_type != CONSUMER or group.protocol is None:
        return None
    try:
        return frozenset(_topics(member.metadata(group.protocol) for member in members))
    except MalformedMessage:
        return None


def _topics(metadata: Iterable[bytes]) -> Iterable[str]:
    for data in metadata:
        version = int.from_bytes(data[:2], "big", signed=True)
        if version < 0 or len(data) < 2:
            raise MalformedMessage("A subscription begins with its version")
        kind = ConsumerProtocolSubscription
        yield from kind.decode_some(min(version, kind.highest), data, 2)[0].topics
