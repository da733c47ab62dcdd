"""
What brokers have of one another beyond what the stores hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Interface

from kafscale.errors import KafkaError
from kafscale.format.partition import TopicIdPartition

R = TypeVar("R")


class PeerUnavailable(Exception):
    """
    Another broker did not answer; it can be asked again.
    """


class PeerRefused(Exception):
    """
    Another broker answered a request as a whole with an error.
    """

    def __init__(self, code: int) -> None:
        """
        @param code: Kafka's code of the error.
        """
        super().__init__(f"error code {code}")
        self.code = code


class IPeerLogin(Interface):
    """
    How this broker logs in to others.
    """

    def log_in(ask: Callable[[Any, int], Awaitable[Any]]) -> Awaitable[float]:
        """
        Log in on a new connection.

        @param ask: Sends a request in a version, and returns the response.
        @return: After how many seconds the other broker asks for another login; 0: never.
        @raise PeerUnavailable: The login failed.
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
        Close the connection; pending requests fail.
        """


@attrs.frozen
class LeaderRecords:
    """
    What a leader has answered for one of its partitions.

    @ivar error: None if it answered without one; then the rest is as it says.
    @ivar high_watermark: Offset after its last durable record.
    @ivar log_start: Offset of the first record that can be read.
    @ivar records: Whole batches, the first of which contains the offset that
        was asked for. Empty if there is none.
    """

    where: TopicIdPartition
    error: type[KafkaError] | None
    high_watermark: int
    log_start: int
    records: bytes | memoryview


class IFetchClient(Interface):
    """
    Reads what another broker leads, with Kafka's Fetch API.
    """

    def poll(
        positions: Mapping[TopicIdPartition, int], wait: float, seconds: float
    ) -> Awaitable[Sequence[LeaderRecords]]:
        """
        Ask for all these partitions, each from an offset on. Partitions
        that have not changed since the last poll are left out of the answer.

        @param positions: One partition at least.
        @param wait: Seconds that the broker may wait for records.
        @param seconds: How long to wait for the answer.
        @raise PeerUnavailable: there was no answer. L{restart} before the next
            poll.
        @raise PeerRefused: the broker does not know the session any more, for
            instance. The next poll begins another one.
        """

    def knows(where: TopicIdPartition) -> bool:
        """
        Whether the last poll asked for this partition. If it did, the broker
        returns only what has changed since then. A poll without the partition,
        followed by a poll with it, returns everything again.
        """

    def restart() -> None:
        """
        Begin a new session with the next poll, which is answered in full.
        """

    def read(
        where: TopicIdPartition, offset: int, max_bytes: int, seconds: float
    ) -> Awaitable[LeaderRecords]:
        """
        Read once from C{offset} on, at once, whatever L{poll} waits for.

        @param max_bytes: How many bytes of batches, but one batch at least.
        @param seconds: How long to wait for the answer.
        @raise PeerUnavailable: there was no answer.
        @raise PeerRefused: there was none for this partition.
        """

    def close() -> None:
        """
        Close the connections. Polls and reads that are under way fail.
        """
