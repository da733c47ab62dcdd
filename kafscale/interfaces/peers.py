"""
What brokers have of one another beyond what the stores hold.
"""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Interface

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
