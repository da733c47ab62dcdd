"""
ListOffsets and OffsetForLeaderEpoch: finding offsets in the log.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

import attrs
from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import InvalidRequest, UnsupportedVersion
from kafscale.interfaces import IFetchService, IImage, ILog, IPartition, RequestContext, Serving
from kafscale.services.location import check_epoch, find_partition
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    ListOffsetsRequest,
    ListOffsetsResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
)

ListOffsetsPartition: TypeAlias = ListOffsetsRequest.Topic.Partition
ListOffsetsPartitionResponse: TypeAlias = ListOffsetsResponse.Topic.Partition
EpochEndOffset: TypeAlias = OffsetForLeaderEpochResponse.Topic.Partition

_READ_COMMITTED = 1

_LATEST = -1
_EARLIEST = -2
_MAX_TIMESTAMP = -3
_EARLIEST_LOCAL = -4
_LATEST_TIERED = -5
_EARLIEST_PENDING_UPLOAD = -6

#: The first version of ListOffsets that has each special timestamp.
_FIRST_VERSION = {
    _LATEST: 0,
    _EARLIEST: 0,
    _MAX_TIMESTAMP: 7,
    _EARLIEST_LOCAL: 8,
    _LATEST_TIERED: 9,
    _EARLIEST_PENDING_UPLOAD: 11,
}


@attrs.frozen
class _FoundOffset:
    """
    An offset in the log. The defaults mean that there is none.
    """

    offset: int = -1
    timestamp: int = -1
    leader_epoch: int = -1


@implementer(IFetchService)
class ListOffsetsService:
    """
    Versions 0 to 11 of ListOffsets, and 0 to 4 of OffsetForLeaderEpoch::

        =====  =================================================================
               ListOffsets
        v1     one offset with its timestamp; v0 has a list of offsets
        v2     isolation level
        v4     leader epoch, in request and response
        v6     flexible
        v7     the record with the largest timestamp (-3)
        v8     the earliest local offset (-4): the earliest of all
        v9     the latest tiered offset (-5): none, as there is no tiered storage
        v10    timeout for reading from tiered storage
        v11    the earliest offset to be uploaded to tiered storage (-6): none
        -----  -----------------------------------------------------------------
               OffsetForLeaderEpoch
        v1     the response has the epoch whose end it is
        v2     current leader epoch
        v3     replica id
        v4     flexible
        =====  =================================================================

    """

    def __init__(self, image: IImage, log: ILog) -> None:
        """
        @param image: Knows the topics that exist.
        @param log: Has the partitions.
        """
        self._image = image
        self._log = log

    def serves(self) -> list[Serving]:
        """
        ListOffsets and OffsetForLeaderEpoch.
        """
        return [
            Serving(ListOffsetsRequest, 0, 11, self.list_offsets, refusal()),
            Serving(OffsetForLeaderEpochRequest, 0, 4, self.offsets_for_epochs, refusal()),
        ]

    # -- ListOffsets ---------------------------------------------------------

    async def list_offsets(
        self, request: ListOffsetsRequest, context: RequestContext
    ) -> ListOffsetsResponse:
        """
        An offset for each partition of the request. Several are found at a time,
        because finding a timestamp may need reads from the object store.
        """
        times = Counter(
            (topic.name, query.partition_index)
            for topic in request.topics
            for query in topic.partitions
        )

        async def find(named: tuple[str, ListOffsetsPartition]) -> ListOffsetsPartitionResponse:
            name, query = named
            try:
                if times[name, query.partition_index] > 1:
                    raise InvalidRequest("The partition is named more than once")
                return await self._find(
                    name, query, context.api_version, request.isolation_level == _READ_COMMITTED
                )
            except Exception as error:
                code, _ = error_fields(error, f"list offsets of {name}")
                return ListOffsetsPartitionResponse(
                    partition_index=query.partition_index, error_code=code
                )

        queries = [(topic.name, query) for topic in request.topics for query in topic.partitions]
        found = iter(await map_bounded(find, queries))
        return ListOffsetsResponse(
            topics=[
                ListOffsetsResponse.Topic(
                    name=topic.name, partitions=[next(found) for _ in topic.partitions]
                )
                for topic in request.topics
            ]
        )

    async def _find(
        self, name: str, query: ListOffsetsPartition, version: int, committed: bool
    ) -> ListOffsetsPartitionResponse:
        partition = find_partition(self._log, self._image.topic(name), query.partition_index)
        check_epoch(partition, query.current_leader_epoch)
        # The version does not have this special timestamp, or none has it.
        if query.timestamp < 0 and _FIRST_VERSION.get(query.timestamp, version + 1) > version:
            raise UnsupportedVersion
        found = await _offset_for(partition, query.timestamp, committed)
        response = ListOffsetsPartitionResponse(partition_index=query.partition_index)
        if version == 0:
            response.old_style_offsets = _old_style_offsets(partition, query, found.offset)
        else:
            response.offset = found.offset
            response.timestamp = found.timestamp
            response.leader_epoch = found.leader_epoch
        return response

    # -- OffsetForLeaderEpoch ------------------------------------------------

    async def offsets_for_epochs(
        self, request: OffsetForLeaderEpochRequest, context: RequestContext
    ) -> OffsetForLeaderEpochResponse:
        """
        The end offset of a leader epoch in each partition. A consumer compares it
        with its position, to find out whether the log was truncated (KIP-320).
        """
        return OffsetForLeaderEpochResponse(
            topics=[
                OffsetForLeaderEpochResponse.Topic(
                    topic=topic.topic,
                    partitions=[self._epoch_end(topic.topic, query) for query in topic.partitions],
                )
                for topic in request.topics
            ]
        )

    def _epoch_end(
        self, name: str, query: OffsetForLeaderEpochRequest.Topic.Partition
    ) -> EpochEndOffset:
        try:
            partition = find_partition(self._log, self._image.topic(name), query.partition)
            check_epoch(partition, query.current_leader_epoch)
            epoch, end_offset = partition.end_of_epoch(query.leader_epoch)
        except Exception as error:
            code, _ = error_fields(error, f"find the end of an epoch of {name}")
            return EpochEndOffset(partition=query.partition, error_code=code)
        return EpochEndOffset(partition=query.partition, leader_epoch=epoch, end_offset=end_offset)



async def _offset_for(
    partition: IPartition, timestamp: int, committed: bool
) -> _FoundOffset:
    """
    The offset for a timestamp, special or not. The earliest and the latest
    offset have no timestamp, as no record need be there.

    @param committed: Whether records count only below the last stable offset.
    """
    if timestamp == _LATEST:
        end = await _stable_end(partition) if committed else partition.high_watermark
        return _FoundOffset(end, leader_epoch=partition.leader_epoch)
    if timestamp in (_EARLIEST, _EARLIEST_LOCAL):
        start = partition.log_start
        return _FoundOffset(start, leader_epoch=partition.epoch_at(start))
    if timestamp in (_LATEST_TIERED, _EARLIEST_PENDING_UPLOAD):
        return _FoundOffset()
    if timestamp == _MAX_TIMESTAMP:
        record = await partition.latest_timestamp()
    else:
        record = await partition.offset_at(timestamp)
    if record is None or (committed and record[1] >= await _stable_end(partition)):
        return _FoundOffset()
    return _FoundOffset(record[1], record[0], partition.epoch_at(record[1]))


async def _stable_end(partition: IPartition) -> int:
    """
    The last stable offset.
    """
    if partition.last_stable_offset < 0:
        await partition.opened()  # before that it is not known
    stable: int = partition.last_stable_offset
    return stable


def _old_style_offsets(
    partition: IPartition, query: ListOffsetsPartition, found: int
) -> list[int]:
    """
    Version 0 lists offsets before a timestamp, the latest first. In Kafka these
    were the base offsets of segment files. Here they are the offset for the
    timestamp, and the log start offset.
    """
    newest = partition.high_watermark if found < 0 else found
    offsets = [newest] if newest == partition.log_start else [newest, partition.log_start]
    return offsets[: max(0, query.max_num_offsets)]
