"""
What the parts of the log share for as long as the process lives.
"""

from __future__ import annotations

from collections.abc import Callable

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
    counts: LogCounts = attrs.field(factory=LogCounts)
