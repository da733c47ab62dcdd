"""
What brokers have of one another beyond what the stores hold.
"""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from twisted.internet.defer import Deferred
from zope.interface import Interface

from kafscale.interfaces.log import IPartitions, IReadable

R = TypeVar("R")


class PeerUnavailable(Exception):
    """
    Another broker did not answer; it can be asked again.
    """


class IPeer(Interface):
    """
    Another broker, to be asked in Kafka's protocol over one connection, which
    is made when it is needed. What is asked is answered in its order.
    """

    def ask(request: Any, version: int, seconds: float) -> Deferred[Any]:
        """
        The response.

        @param seconds: How long to wait for it, beyond what the other broker
            has to do for those before it.
        @raise PeerUnavailable: there was none.
        """

    def close() -> None:
        """
        Let go of the connection; who waits is told so.
        """


class IReplicas(IPartitions):
    """
    The partitions that other brokers lead, for readers who are nearer to this
    broker.
    """

    def partition(topic_id: UUID, index: int) -> IReadable:
        """
        One of them, of which only what a reader asks for can be asked:
        everything below the leader's high watermark, as far as it is known
        here.
        """
