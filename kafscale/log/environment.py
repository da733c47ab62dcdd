"""
What the parts of the log share for as long as the process lives.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import attrs
from twisted.internet.interfaces import IReactorTime

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import LogCounts
from kafscale.format.levels import highest_level
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.log.reading.cache import BlockCache
from kafscale.log.settings import LogSettings


@attrs.frozen(eq=False)
class LogEnvironment:
    """
    The stores, the clock and the bounds of a broker's log.

    @ivar broker_id: The id of this broker.
    @ivar objects: The object store. It retries by itself
        (`kafscale.store.retry`).
    @ivar metadata: The metadata store. It retries reads by itself, and commits
        never.
    @ivar cache: A cache of blocks of segments.
    @ivar clock: The time, in seconds since 1970.
    @ivar settings: The bounds of the log.
    @ivar work: Does what takes long, such as looking into many records.
    @ivar level_of: Returns the level at which a stored format is written.
    @ivar topic_name: Returns the name of a topic, for the broker's log; if that is not
        known, the topic's id.
    @ivar counts: The counters of the log, through all incarnations.
    """

    broker_id: int
    objects: IObjectStore
    metadata: IMetadataStore
    cache: BlockCache
    clock: IReactorTime
    settings: LogSettings
    work: WorkQueue
    level_of: Callable[[str], int] = highest_level
    topic_name: Callable[[UUID], str] = str
    counts: LogCounts = attrs.field(factory=LogCounts)

    def name_of(self, topic_id: UUID, index: int) -> str:
        """
        Return a partition's name for the broker's log, such as C{orders-0}.
        """
        return f"{self.topic_name(topic_id)}-{index}"
