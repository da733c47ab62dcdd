"""
What the broker serves to its clients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from zope.interface import Interface


@attrs.frozen
class RequestContext:
    """
    Where a request came from.

    @ivar api_version: The version in which it came, and is answered.
    @ivar client_id: As the client calls itself, or None.
    @ivar host: The address that the client's connection comes from.
    @ivar connection: Identifies the connection: requests of one connection
        have the same object here.
    """

    api_version: int
    client_id: str | None
    host: str
    connection: object


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
    """

    request: type[Any]
    lowest: int
    highest: int
    answer: Callable[[Any, RequestContext], Any]
    failed: Callable[[Any, RequestContext, int, str], Any]
    overlaps: bool = False


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
