"""
Client quotas, as the rooms that keep to them see them.
"""

from __future__ import annotations

from typing import Final, Protocol

from zope.interface import Attribute, Interface

from kafscale.wire.messages import FetchRequest

USER: Final = "user"
CLIENT_ID: Final = "client-id"
IP: Final = "ip"
"""The types of the parts of an entity, see L{kafscale.format.quota.QuotaEntity}."""

PRODUCE_RATE: Final = "producer_byte_rate"
FETCH_RATE: Final = "consumer_byte_rate"
REQUEST_PERCENTAGE: Final = "request_percentage"
MUTATION_RATE: Final = "controller_mutation_rate"
CONNECTION_RATE: Final = "connection_creation_rate"


def is_of_broker(request: FetchRequest) -> bool:
    """
    Whether another broker fetches, for which there are no quotas. With an authorizer this
    takes the right C{ClusterAction}.
    """
    return request.replica_id >= 0 or request.replica_state is not None


class IMutationQuota(Protocol):
    """
    What one request may change of the number of partitions.
    """

    @property
    def throttle_ms(self) -> int:
        """
        For how long the client is slowed down; 0 if it is within its quota.
        """

    def use(self, partitions: int) -> None:
        """
        Partitions are created or deleted.

        @raise ThrottlingQuotaExceeded: The quota was used up before, and the
            request is of a version that knows this error: nothing is to be done.
        """


class IQuotas(Interface):
    """
    Keeps account of what clients use, and says for how long each is slowed down.

    A user is the name of a principal; a client id may be None. What is returned is
    C{throttle_time_ms}, and 0 for a client that is within its quota or has none.
    """

    active = Attribute(
        "Whether any user or client has a quota. While none has, the others are not called"
        " for a request."
    )

    def produced(user: str, client_id: str | None, size: int) -> int:
        """
        A produce request of C{size} bytes came.
        """

    def most_fetched(user: str, client_id: str | None) -> float:
        """
        The most bytes of one response to a fetch; infinite without a quota.
        """

    def fetched(user: str, client_id: str | None, size: int) -> int:
        """
        A fetch is about to be answered with C{size} bytes. If it is throttled they do
        not count: the answer is to be empty.
        """

    def handled(user: str, client_id: str | None, seconds: float) -> int:
        """
        The broker has worked on a request for C{seconds}. The time is at most a second.
        """

    def mutation(user: str, client_id: str | None, strict: bool) -> IMutationQuota:
        """
        For a request that creates or deletes partitions.

        @param strict: Whether it is refused, instead of slowed down, if the quota is
            used up.
        """

    def connected(host: str) -> int:
        """
        A client connects. If it is to be refused the time is for how long its
        connection is held open before, at most a second; then it does not count.
        """
