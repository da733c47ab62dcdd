"""
A client of another broker's Fetch API.

It follows many partitions with one long poll, in a fetch session (KIP-227): a
request names only what differs from the one before it, and a response only
the partitions that have something new. Where the broker has no room for a
session each request names everything. Single reads go over a connection of
their own, so that none waits for a poll.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

from zope.interface import implementer

from kafscale.errors import BY_CODE, UnknownServerError
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import IFetchClient, IPeer, LeaderRecords, PeerRefused
from kafscale.wire.messages import FetchRequest, FetchResponse

VERSION: Final = 13
"""Of Fetch: the first that names topics by their ids (KIP-516)."""

MAX_BYTES: Final = 8 << 20
"""Bytes of records in one response to a poll, about."""

PARTITION_MAX_BYTES: Final = 1 << 20
"""Bytes of one partition in it, about."""

_LAST_EPOCH: Final = 2**31 - 1


@implementer(IFetchClient)
class FetchClient:
    """
    See L{IFetchClient}.
    """

    def __init__(self, polls: IPeer, reads: IPeer, broker_id: int) -> None:
        """
        @param polls: The other broker, for L{poll}.
        @param reads: The same broker on another connection, for L{read}.
        @param broker_id: The id of this broker: a broker needs the right to act for the
            cluster, and none on topics.
        """
        self._broker_id = broker_id
        self._polls = polls
        self._reads = reads
        self._session = 0, 0  # id and epoch of the next request
        self._known: Mapping[TopicIdPartition, int] = {}  # what the session has

    def knows(self, where: TopicIdPartition) -> bool:
        """
        See L{IFetchClient.knows}.
        """
        return where in self._known

    async def poll(
        self, positions: Mapping[TopicIdPartition, int], wait: float, seconds: float
    ) -> Sequence[LeaderRecords]:
        """
        See L{IFetchClient.poll}.
        """
        known, self._known = self._known, positions
        session_id, epoch = self._session
        request = FetchRequest(
            replica_id=self._broker_id,
            max_wait_ms=int(wait * 1000),
            min_bytes=1,
            max_bytes=MAX_BYTES,
            session_id=session_id,
            session_epoch=epoch,
            topics=_topics(
                {where: at for where, at in positions.items() if known.get(where) != at},
                PARTITION_MAX_BYTES,
            ),
            forgotten_topics_data=[
                FetchRequest.ForgottenTopic(topic_id=where[0], partitions=[where[1]])
                for where in known
                if where not in positions
            ],
        )
        response: FetchResponse = await self._polls.ask(request, VERSION, seconds)
        if response.error_code or not response.session_id:
            self.restart()
        else:
            self._session = response.session_id, epoch + 1 if epoch < _LAST_EPOCH else 1
        if response.error_code:
            raise PeerRefused(response.error_code)
        return [each for each in _records(response) if each.where in positions]

    def restart(self) -> None:
        """
        See L{IFetchClient.restart}.
        """
        self._session = 0, 0
        self._known = {}

    async def read(
        self, where: TopicIdPartition, offset: int, max_bytes: int, seconds: float
    ) -> LeaderRecords:
        """
        See L{IFetchClient.read}.
        """
        topics = _topics({where: offset}, max_bytes)
        request = FetchRequest(
            replica_id=self._broker_id,
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=max_bytes,
            topics=topics,
        )
        response: FetchResponse = await self._reads.ask(request, VERSION, seconds)
        for found in _records(response):
            return found
        raise PeerRefused(response.error_code)

    def close(self) -> None:
        """
        See L{IFetchClient.close}.
        """
        self._polls.close()
        self._reads.close()


def _topics(
    positions: Mapping[TopicIdPartition, int], max_bytes: int
) -> list[FetchRequest.Topic]:
    topics: dict[UUID, FetchRequest.Topic] = {}
    for (topic_id, index), offset in positions.items():
        topic = topics.get(topic_id)
        if topic is None:
            topic = topics[topic_id] = FetchRequest.Topic(topic_id=topic_id, partitions=[])
        topic.partitions.append(
            FetchRequest.Topic.Partition(
                partition=index, fetch_offset=offset, partition_max_bytes=max_bytes
            )
        )
    return list(topics.values())


def _records(response: FetchResponse) -> Iterator[LeaderRecords]:
    for topic in response.responses:
        for found in topic.partitions:
            code = found.error_code
            yield LeaderRecords(
                where=(topic.topic_id, found.partition_index),
                error=BY_CODE.get(code, UnknownServerError) if code else None,
                high_watermark=found.high_watermark,
                log_start=found.log_start_offset,
                records=found.records if isinstance(found.records, memoryview) else b"",
            )
