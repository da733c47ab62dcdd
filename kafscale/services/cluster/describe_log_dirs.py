"""
DescribeLogDirs: how many bytes are stored of each partition.

In Kafka a broker has log directories. Here the object store is the only one,
and has all partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import ClusterAuthorizationFailed, NotLeaderOrFollower
from kafscale.interfaces import IAdminService, IImage, ILog, RequestContext, Serving, Topic
from kafscale.wire.messages import DescribeLogDirsRequest, DescribeLogDirsResponse

DescribeLogDirsResult: TypeAlias = DescribeLogDirsResponse.Result

#: Size and free space of the directory, in bytes; -1 where that is unknown.
Space: TypeAlias = Callable[[], tuple[int, int]]


@implementer(IAdminService)
class DescribeLogDirsService:
    """
    Versions 0 to 5 of DescribeLogDirs::

        ====  ==================================================================
        v2    flexible
        v3    an error code for the whole response
        v4    size and free space of the directory
        v5    cordoned directories (there are none)
        ====  ==================================================================

    """

    def __init__(self, image: IImage, log: ILog, directory: str, space: Space) -> None:
        """
        @param image: Knows the topics that exist.
        @param log: Knows the sizes of partitions.
        @param directory: The name of the one directory.
        @param space: Its size and free space.
        """
        self._image = image
        self._log = log
        self._directory = directory
        self._space = space

    def serves(self) -> list[Serving]:
        """
        DescribeLogDirs.
        """
        return [Serving(DescribeLogDirsRequest, 0, 5, self.describe, self._failed)]

    async def describe(
        self, request: DescribeLogDirsRequest, context: RequestContext
    ) -> DescribeLogDirsResponse:
        """
        The partitions of the request that this broker leads. The others are left
        out, as in Kafka.
        """
        is_for_all = request.topics is None
        wanted: dict[str, dict[int, None]] = {}
        for each in request.topics or ():
            wanted.setdefault(each.topic, {}).update(dict.fromkeys(each.partitions))
        topics = [
            self._topic(topic, range(topic.partitions) if is_for_all else wanted[topic.name])
            for topic in self._image.topics()
            if is_for_all or topic.name in wanted
        ]
        total, usable = self._space()
        result = DescribeLogDirsResult(
            log_dir=self._directory,
            topics=[topic for topic in topics if topic.partitions],
            total_bytes=total,
            usable_bytes=usable,
        )
        return DescribeLogDirsResponse(results=[result])

    def _topic(self, topic: Topic, indexes: Iterable[int]) -> DescribeLogDirsResult.Topic:
        partitions = []
        for index in indexes:
            try:
                size = self._log.partition(topic.topic_id, index).size()
            except NotLeaderOrFollower:
                continue
            partitions.append(
                DescribeLogDirsResult.Topic.Partition(
                    partition_index=index, partition_size=size, offset_lag=0, is_future_key=False
                )
            )
        return DescribeLogDirsResult.Topic(name=topic.name, partitions=partitions)

    def _failed(
        self, request: DescribeLogDirsRequest, context: RequestContext, code: int, message: str
    ) -> DescribeLogDirsResponse:
        directory = DescribeLogDirsResult(error_code=code, log_dir=self._directory, topics=[])
        hidden = code == ClusterAuthorizationFailed.code
        return DescribeLogDirsResponse(error_code=code, results=[] if hidden else [directory])
