"""
The APIs that the broker serves to its clients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import Interface, taggedValue

from kafscale.interfaces.access import ISession
from kafscale.interfaces.log import ISettlement
from kafscale.wire.schema import Request, Response

Repeated: TypeAlias = tuple[list[Any], Any]
"""What a service keeps of a request for when the same comes again: what it found
for each part of the request, of its own kind, and the response, which is the same
as long as nothing of that has changed."""


@attrs.define(eq=False)
class RequestContext:
    """
    Where a request came from.

    @ivar api_version: The version of the request, and of its response.
    @ivar client_id: The client id in the request's header; None if it is null.
    @ivar host: The address of the client.
    @ivar connection: Identifies the connection: requests of one connection have
        the same object here.
    @ivar session: Of the connection: its principal and its listener.
    @ivar repeated: Where a service keeps what it found, if its requests are
        repeated (see L{Serving.repeats}): the same request comes again with the
        same context.
    """

    api_version: int
    client_id: str | None
    host: str
    connection: object
    session: ISession
    repeated: Repeated | None = None


class Settling:
    """
    The answer to a request whose records are appended, and not durable yet. There is no
    Deferred for each: the requests of a connection that share a settlement are
    answered together when it fires.

    @ivar settlement: What the request waits for.
    @ivar response: The response once C{settlement} has succeeded.
    @ivar end: Set by what waits: called to end the wait before C{settlement} fires,
        with the reason. L{refused} is called with it in turn.
    """

    settlement: ISettlement
    response: Response
    end: Callable[[Failure], object]

    def refused(self, failure: Failure) -> Deferred[Response]:
        """
        Return the response that comes in place of L{response}.

        @param failure: Of C{settlement}, or the reason for the early end.
        @raise Exception: it is none that a response reports.
        """
        raise NotImplementedError

    def deferred(self) -> Deferred[Response]:
        """
        Return the answer as a Deferred, for a request that has waited for something else,
        too.
        """
        ended: Deferred[None] = Deferred()

        def end(outcome: Failure | None) -> None:
            if ended.called:
                return
            if outcome is None:
                ended.callback(None)
            else:
                ended.errback(outcome)

        self.end = end
        self.settlement.wait().addBoth(end)
        return ended.addCallbacks(lambda _: self.response, self.refused)


@attrs.frozen
class Serving:
    """
    One API that a service serves. What is advertised, decoded and dispatched
    follows from these.

    @ivar request: The class of the request. Its C{key} is the API key.
    @ivar lowest: The lowest version that is served.
    @ivar highest: The highest.
    @ivar answer: Called with the request and its context. Returns the response,
        or None if the client expects none (acks=0), or a coroutine or Deferred of
        either; or a L{Settling}.
    @ivar failed: Called with the request, its context, an error code and an
        error message if C{answer} raised. Returns the response with that error,
        or None if the connection is to be closed instead.
    @ivar overlaps: Whether a request may be served before earlier ones of its
        kind on the same connection are answered (Produce).
    @ivar abandoned: Whether a request is cancelled when its client goes away or the
        broker stops: it may wait long, and changes nothing (Fetch).
    @ivar repeats: Whether clients send the same request again and again (Fetch).
        A request that is equal, byte for byte, to the one before it on its
        connection is given to C{answer} as the same object with the same
        context; and a response that is the same object as the one before is not
        encoded again.
    @ivar long: Whether responses may be so long that they are encoded in several turns
        of the reactor. C{answer} returns a coroutine then.
    """

    request: type[Request]
    lowest: int
    highest: int
    answer: Callable[[Any, RequestContext], Any]
    failed: Callable[[Any, RequestContext, int, str], Response | None]
    overlaps: bool = False
    abandoned: bool = False
    repeats: bool = False
    long: bool = False


class IService(Interface):
    """
    A service for some APIs.

    Each service provides one of the interfaces below, which divide the APIs into
    families, and serves APIs of that family. The APIs of a family are its tagged
    value L{APIS}.
    """

    def serves() -> Sequence[Serving]:
        """
        The APIs that this service serves.
        """


APIS = "apis"


class IProduceService(IService):
    """
    Writes records.
    """

    taggedValue(APIS, ("Produce", "InitProducerId"))


class IFetchService(IService):
    """
    Reads records, and finds offsets in the log.
    """

    taggedValue(APIS, ("Fetch", "ListOffsets", "OffsetForLeaderEpoch"))


class ICoordinationService(IService):
    """
    Coordinates consumer groups, and keeps their committed offsets.
    """

    taggedValue(
        APIS,
        (
            "FindCoordinator",
            "JoinGroup",
            "SyncGroup",
            "Heartbeat",
            "LeaveGroup",
            "OffsetCommit",
            "OffsetFetch",
            "OffsetDelete",
            "DescribeGroups",
            "ListGroups",
            "DeleteGroups",
        ),
    )


class IAdminService(IService):
    """
    Describes and alters topics, configurations and the cluster.
    """

    taggedValue(
        APIS,
        (
            "Metadata",
            "CreateTopics",
            "DeleteTopics",
            "CreatePartitions",
            "DeleteRecords",
            "DescribeTopicPartitions",
            "DescribeProducers",
            "DescribeConfigs",
            "AlterConfigs",
            "IncrementalAlterConfigs",
            "ListConfigResources",
            "DescribeCluster",
            "DescribeLogDirs",
            "DescribeClientQuotas",
            "AlterClientQuotas",
            "ElectLeaders",
            "AlterPartitionReassignments",
            "ListPartitionReassignments",
            "DescribeAcls",
            "CreateAcls",
            "DeleteAcls",
            "DescribeUserScramCredentials",
            "AlterUserScramCredentials",
            "CreateDelegationToken",
            "RenewDelegationToken",
            "ExpireDelegationToken",
            "DescribeDelegationToken",
        ),
    )
