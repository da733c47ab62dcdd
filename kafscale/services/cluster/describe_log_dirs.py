"""
DescribeLogDirs: how much is stored of each partition.

Kafka answers for each directory of a broker. There is one place here, the
object store, and it holds everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import NotLeaderOrFollower
from kafscale.interfaces import IAdminService, IImage, ILog, RequestContext, Serving, Topic
from kafscale.wire.messages import DescribeLogDirsRequest, DescribeLogDirsResponse

Directory: TypeAlias = DescribeLogDirsResponse.Result

#: Size of the place and what is free of it, in bytes; -1 if nobody knows.
Room: TypeAlias = Callable[[], tuple[int, int]]


@implementer(IAdminService)
class LogDirsService:
    """
    Versions 0 to 5 of DescribeLogDirs.

    ====  ==================================================================
    v2    flexible
    v3    one error code for everything
    v4    the size of the place, and what is free of it
    v5    cordoned directories (there are none)
    ====  ==================================================================

    """

    def __init__(self, image: IImage, log: ILog, place: str, room: Room) -> None:
        """
        @param place: What the one directory is called.
        """
        self._image = image
        self._log = log
        self._place = place
        self._room = room

    def serves(self) -> list[Serving]:
        """
        DescribeLogDirs.
        """
        return [Serving(DescribeLogDirsRequest, 0, 5, self.describe, self._failed)]

    async def describe(
        self, request: DescribeLogDirsRequest, context: RequestContext
    ) -> DescribeLogDirsResponse:
        """
        What this broker leads of the topics asked for; what it does not is
        left out, as in Kafka.
        """
        everything = request.topics is None
        wanted: dict[str, dict[int, None]] = {}
        for asked in request.topics or ():
            wanted.setdefault(asked.topic, {}).update(dict.fromkeys(asked.partitions))
        topics = [
            self._topic(topic, range(topic.partitions) if everything else wanted[topic.name])
            for topic in self._image.topics()
            if everything or topic.name in wanted
        ]
        total, usable = self._room()
        directory = Directory(
            log_dir=self._place,
            topics=[topic for topic in topics if topic.partitions],
            total_bytes=total,
            usable_bytes=usable,
        )
        return DescribeLogDirsResponse(results=[directory])

    def _topic(self, topic: Topic, indexes: Iterable[int]) -> Directory.Topic:
        partitions = []
        for index in indexes:
            try:
                size = self._log.partition(topic.topic_id, index).size()
            except NotLeaderOrFollower:
                continue
            partitions.append(
                Directory.Topic.Partition(
                    partition_index=index, partition_size=size, offset_lag=0, is_future_key=False
                )
            )
        return Directory.Topic(name=topic.name, partitions=partitions)

    def _failed(
        self, request: DescribeLogDirsRequest, context: RequestContext, code: int, message: str
    ) -> DescribeLogDirsResponse:
        return DescribeLogDirsResponse(
            error_code=code,
            results=[Directory(error_code=code, log_dir=self._place, topics=[])],
        )
