"""
Where in the log: by time, by its ends, and by leader epoch.
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

Place: TypeAlias = ListOffsetsResponse.Topic.Partition
Query: TypeAlias = ListOffsetsRequest.Topic.Partition
End: TypeAlias = OffsetForLeaderEpochResponse.Topic.Partition

_LATEST = -1
_EARLIEST = -2
_MAX_TIMESTAMP = -3
_EARLIEST_LOCAL = -4
_LATEST_TIERED = -5
_EARLIEST_PENDING_UPLOAD = -6

#: The version that brought each special timestamp.
_SINCE = {
    _LATEST: 0,
    _EARLIEST: 0,
    _MAX_TIMESTAMP: 7,
    _EARLIEST_LOCAL: 8,
    _LATEST_TIERED: 9,
    _EARLIEST_PENDING_UPLOAD: 11,
}


@attrs.frozen
class _Found:
    """
    A place in the log; the defaults say that there is none.
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
        v1     one offset with its timestamp, where v0 gives a list of offsets
        v2     isolation level
        v4     leader epoch, in request and answer
        v6     flexible
        v7     the record with the largest timestamp (-3)
        v8     earliest offset on local disks (-4): the earliest, as there are none
        v9     latest offset in a remote tier (-5): never any, as there are no tiers
        v10    time-out for reading from a tier
        v11    earliest offset that waits for its tier (-6): never any
        -----  -----------------------------------------------------------------
               OffsetForLeaderEpoch
        v1     the answer says of which epoch it is the end
        v2     current leader epoch
        v3     replica id
        v4     flexible
        =====  =================================================================

    """

    def __init__(self, image: IImage, log: ILog) -> None:
        self._image = image
        self._log = log

    def serves(self) -> list[Serving]:
        """
        ListOffsets and OffsetForLeaderEpoch.
        """
        return [
            Serving(ListOffsetsRequest, 0, 11, self.list_offsets, refusal()),
            Serving(OffsetForLeaderEpochRequest, 0, 4, self.end_of_epochs, refusal()),
        ]

    # -- ListOffsets ---------------------------------------------------------

    async def list_offsets(
        self, request: ListOffsetsRequest, context: RequestContext
    ) -> ListOffsetsResponse:
        """
        Partitions are looked up together: a timestamp may have to be read from
        the object store.
        """
        asked = Counter(
            (topic.name, query.partition_index)
            for topic in request.topics
            for query in topic.partitions
        )

        async def place(job: tuple[str, Query]) -> Place:
            name, query = job
            try:
                if asked[name, query.partition_index] > 1:
                    raise InvalidRequest("The partition is asked for more than once")
                return await self._place(name, query, context.api_version)
            except Exception as error:
                code, _ = error_fields(error, f"list offsets of {name}")
                return Place(partition_index=query.partition_index, error_code=code)

        jobs = [(topic.name, query) for topic in request.topics for query in topic.partitions]
        places = iter(await map_bounded(place, jobs))
        return ListOffsetsResponse(
            topics=[
                ListOffsetsResponse.Topic(
                    name=topic.name, partitions=[next(places) for _ in topic.partitions]
                )
                for topic in request.topics
            ]
        )

    async def _place(self, name: str, query: Query, version: int) -> Place:
        partition = find_partition(self._log, self._image.topic(name), query.partition_index)
        check_epoch(partition, query.current_leader_epoch)
        # A special value that the version does not have yet, or none at all.
        if query.timestamp < 0 and _SINCE.get(query.timestamp, version + 1) > version:
            raise UnsupportedVersion
        found = await _find(partition, query.timestamp)
        place = Place(partition_index=query.partition_index)
        if version == 0:
            place.old_style_offsets = _old_style(partition, query, found.offset)
        else:
            place.offset = found.offset
            place.timestamp = found.timestamp
            place.leader_epoch = found.leader_epoch
        return place

    # -- OffsetForLeaderEpoch ------------------------------------------------

    async def end_of_epochs(
        self, request: OffsetForLeaderEpochRequest, context: RequestContext
    ) -> OffsetForLeaderEpochResponse:
        """
        By this a consumer finds out whether what it has read is in the log
        still (KIP-320).
        """
        return OffsetForLeaderEpochResponse(
            topics=[
                OffsetForLeaderEpochResponse.Topic(
                    topic=topic.topic,
                    partitions=[self._end(topic.topic, query) for query in topic.partitions],
                )
                for topic in request.topics
            ]
        )

    def _end(self, name: str, query: OffsetForLeaderEpochRequest.Topic.Partition) -> End:
        try:
            partition = find_partition(self._log, self._image.topic(name), query.partition)
            check_epoch(partition, query.current_leader_epoch)
            epoch, end_offset = partition.end_of_epoch(query.leader_epoch)
        except Exception as error:
            code, _ = error_fields(error, f"find the end of an epoch of {name}")
            return End(partition=query.partition, error_code=code)
        return End(partition=query.partition, leader_epoch=epoch, end_offset=end_offset)



async def _find(partition: IPartition, timestamp: int) -> _Found:
    """
    What a timestamp, special or not, means in a partition. Of an end only the
    offset is told; no record need be there.
    """
    if timestamp == _LATEST:
        # For read_committed too: what is durable is stable without transactions.
        return _Found(partition.high_watermark, leader_epoch=partition.leader_epoch)
    if timestamp in (_EARLIEST, _EARLIEST_LOCAL):
        start = partition.log_start
        return _Found(start, leader_epoch=partition.epoch_at(start))
    if timestamp in (_LATEST_TIERED, _EARLIEST_PENDING_UPLOAD):
        return _Found()
    if timestamp == _MAX_TIMESTAMP:
        record = await partition.latest_timestamp()
    else:
        record = await partition.offset_at(timestamp)
    if record is None:
        return _Found()
    return _Found(record[1], record[0], partition.epoch_at(record[1]))


def _old_style(partition: IPartition, query: Query, found: int) -> list[int]:
    """
    Version 0 asks for offsets before a time, the newest first: once these were
    the beginnings of files. Here they are where the time begins, and where the
    log does.
    """
    newest = partition.high_watermark if found < 0 else found
    offsets = [newest] if newest == partition.log_start else [newest, partition.log_start]
    return offsets[: max(0, query.max_num_offsets)]
