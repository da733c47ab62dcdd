"""
What the broker serves to its clients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from zope.interface import Interface


@attrs.define(eq=False)
class RequestContext:
    """
    Where a request came from.

    @ivar api_version: The version in which it came, and is answered.
    @ivar client_id: As the client calls itself, or None.
    @ivar host: The address that the client's connection comes from.
    @ivar connection: Identifies the connection: requests of one connection
        have the same object here.
    @ivar kept: Where a service keeps what it found, for when the same request
        comes again (see L{Serving.repeats}).
    """

    api_version: int
    client_id: str | None
    host: str
    connection: object
    kept: Any = None


@attrs.frozen
class Serving:
    """
    One API as a service serves it; what is advertised, decoded and
    dispatched follows from these alone.

    @ivar request: The request's class (its C{key} is the API key).
    @ivar lowest: The lowest version that is served.
    @ivar highest: The highest.
    @ivar answer: Called with (request, context); returns the response, or None
        when none is owed (acks=0), or a coroutine or Deferred of it.
    @ivar failed: Called with (request, context, code, message): the response
        that says so in the API's own schema, when C{answer} raised.
    @ivar overlaps: Whether it may be under way together with earlier ones of
        its kind on one connection (Produce).
    @ivar abandoned: Whether it is cancelled when the client goes away or the
        broker stops: it may wait long, and changes nothing (Fetch).
    @ivar repeats: Whether clients ask the same again and again (Fetch). A
        request that is, byte for byte, the one before it on its connection is
        given to C{answer} as the same object with the same context; and a
        response that is the same object as the one before is not encoded anew.
    """

    request: type[Any]
    lowest: int
    highest: int
    answer: Callable[[Any, RequestContext], Any]
    failed: Callable[[Any, RequestContext, int, str], Any]
    overlaps: bool = False
    abandoned: bool = False
    repeats: bool = False


class IService(Interface):
    """
    A family of APIs.
    """

    def serves() -> Sequence[Serving]:
        """
        The APIs of this family.
        """


class IProduceService(IService):
    """
    Produce and InitProducerId.
    """


class IFetchService(IService):
    """
    Fetch, ListOffsets and OffsetForLeaderEpoch.
    """


class ICoordinationService(IService):
    """
    FindCoordinator and all of groups.
    """


class IAdminService(IService):
    """
    Metadata, topics, configurations, the cluster.
    """
